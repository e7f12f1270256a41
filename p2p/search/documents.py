"""From a manifest's bytes to what is kept of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from p2p.core.oci.descriptor import Platform
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import parse_manifest
from p2p.search.api import Document

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.manifest import Manifest
    from p2p.core.oci.reference import Repository
    from p2p.search.api import Catalog

CONFIG_TYPES: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
MANIFEST_BYTES: Final = 32 << 20
CONFIG_BYTES: Final = 1 << 20
"""A larger config is not looked at: the image's platform stays unknown."""
MAX_ANNOTATIONS: Final = 64
MAX_TEXT: Final = 4096
"""Characters of an annotation's value that are kept."""


def read_manifest(data: bytes, media_type: str) -> Manifest | None:
    """Read a manifest; None where it is none that we read."""
    try:
        return parse_manifest(data, media_type)
    except RegistryError:
        return None


async def read_document(catalog: Catalog, repository: Repository, target: Descriptor) -> Document | None:
    """Read a manifest, and its config; None where it is deleted by now, or none that we read.

    RemoraError where either can't be read now.
    """
    data = await catalog.read(repository, target.digest, MANIFEST_BYTES)
    manifest = None if data is None else read_manifest(data, target.media_type)
    if manifest is None:
        return None
    config = config_of(manifest)
    told = None if config is None else await catalog.read(repository, config.digest, CONFIG_BYTES)
    return describe(repository, target, manifest, told)


def config_of(manifest: Manifest) -> Descriptor | None:
    """Give the config that names the image's platform, if it is worth reading."""
    config = manifest.config
    if config is None or config.media_type not in CONFIG_TYPES or config.size > CONFIG_BYTES:
        return None
    return config


def describe(
    repository: Repository, target: Descriptor, manifest: Manifest, config: bytes | None
) -> Document:
    """Make the document of a manifest; ``config`` holds the bytes of ``config_of``, where they are there."""
    platforms = [child.platform for child in manifest.manifests if child.platform is not None]
    if config is not None and (own := _platform(config)) is not None:
        platforms.append(own)
    artifact_type = manifest.artifact_type or ("" if manifest.config is None else manifest.config.media_type)
    return Document(
        repository=repository,
        digest=str(target.digest),
        media_type=manifest.media_type,
        artifact_type=artifact_type,
        size=min((1 << 63) - 1, target.size + sum(child.size for child in manifest.children)),
        platforms=tuple(dict.fromkeys(str(platform).lower() for platform in platforms if str(platform))),
        annotations=tuple(
            (_storable(key), _storable(value)[:MAX_TEXT])
            for key, value in manifest.annotations[:MAX_ANNOTATIONS]
            if len(key) <= MAX_TEXT
        ),
        subject="" if manifest.subject is None else str(manifest.subject.digest),
    )


def _platform(config: bytes) -> Platform | None:
    try:
        return Platform.from_json(json.loads(config))
    except (RegistryError, ValueError, RecursionError):
        return None


def _storable(text: str) -> str:
    r"""Replace what SQLite can't keep as text: JSON may hold NUL and lone surrogates, as ``\u0000``."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
