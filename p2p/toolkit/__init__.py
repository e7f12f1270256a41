"""Images from Python: pull, push, copy and inspect, with the engine of the commands."""
