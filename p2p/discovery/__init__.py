"""Finding the nodes that hold a digest, and who may ask the origin."""
