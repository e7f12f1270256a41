"""Content by digest, on disk or in memory, verified on the way in."""
