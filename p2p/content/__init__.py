"""Content that all front ends of one database share: objects by key, outside of any node's store."""
