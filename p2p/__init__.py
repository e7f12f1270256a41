"""Remora: a registry front end on localhost over a peer-to-peer transfer of OCI blobs; and its toolkit.

``from p2p import Client`` pulls, pushes, copies and inspects images from Python (docs/toolkit.md);
`p2p.blocking` has the same without trio. The names are loaded when they are first asked for; their types are
in the stub beside this file.

Layers, top to bottom: cli, node and toolkit, registry, transfer, discovery and origin, store and metadata and
net, core, config and errors. A layer imports only those below it; ``core`` does no I/O.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "BlobAdvanced": "p2p.toolkit.api",
    "BlobBegan": "p2p.toolkit.api",
    "Client": "p2p.toolkit.client",
    "ConfigSummary": "p2p.toolkit.inspecting",
    "Credentials": "p2p.toolkit.client",
    "Descriptor": "p2p.core.oci.descriptor",
    "Digest": "p2p.core.oci.digest",
    "Event": "p2p.toolkit.api",
    "Inspected": "p2p.toolkit.inspecting",
    "Listener": "p2p.toolkit.api",
    "Part": "p2p.toolkit.inspecting",
    "Platform": "p2p.core.oci.descriptor",
    "Pulled": "p2p.toolkit.pulling",
    "Pushed": "p2p.toolkit.pushing",
    "Reference": "p2p.core.oci.reference",
    "RegistryError": "p2p.core.oci.error",
    "RemoraError": "p2p.errors",
}
"""Public name → the module that it is loaded from: by name, so that no layer seems to import one above."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
