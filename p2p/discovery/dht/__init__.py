"""The DHT's shell: UDP sockets, seals and signatures, contacts on disk, and the way of discovery over it."""
