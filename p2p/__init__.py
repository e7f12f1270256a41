"""Remora's node: a registry front end on localhost over a peer-to-peer transfer of OCI blobs.

Layers, top to bottom: cli, node, registry, transfer, discovery and origin, store and metadata and net,
core, config and errors. A layer imports only those below it; ``core`` does no I/O.
"""

__version__ = "0.1.0"
