"""The daemon: composition root, health, metrics, admin socket."""
