"""What an image is, without pulling it: its manifest, platforms, sizes, configuration, referrers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from p2p.core.oci.digest import Digest
from p2p.errors import RemoteError, VerificationError
from p2p.toolkit.pulling import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.manifest import Manifest
    from p2p.toolkit.api import FetchedManifest, Source

CONFIG_TYPES: Final = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
CONFIG_LIMIT: Final = 4 << 20
"""Longest configuration that is read, in bytes."""


@dataclass(frozen=True, slots=True)
class ConfigSummary:
    """What of an image's configuration people ask for; empty where it says nothing."""

    os: str
    architecture: str
    variant: str
    created: str
    user: str
    working_dir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    env: tuple[str, ...]
    ports: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One image: its manifest, and ``config`` where it is an image's and no other artifact's."""

    descriptor: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str
    annotations: tuple[tuple[str, str], ...]
    config: ConfigSummary | None
    size: int
    """Bytes of the configuration and the layers, each once."""

    @property
    def platform(self) -> str:
        """``os/architecture[/variant]``, of the index or else of the configuration; "" if neither says."""
        if self.descriptor.platform is not None:
            return str(self.descriptor.platform)
        if self.config is None:
            return ""
        return "/".join(
            part for part in (self.config.os, self.config.architecture, self.config.variant) if part
        )


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image as a registry has it. ``parts`` has one entry for each platform, one for a single image."""

    image: str
    descriptor: Descriptor
    manifest: Manifest
    data: bytes
    """The manifest, byte for byte."""
    parts: tuple[Part, ...]
    referrers: tuple[Descriptor, ...]

    @property
    def digest(self) -> Digest:
        """The manifest's."""
        return self.descriptor.digest

    @property
    def platforms(self) -> tuple[str, ...]:
        """Those that are known, in the index's order."""
        return tuple(part.platform for part in self.parts if part.platform)


async def inspect_image(source: Source, reference: str, text: str) -> Inspected:
    """Ask for what a reference names. Raises RemoraError, of the parts in an ExceptionGroup."""
    root = await source.manifest(reference)
    children = root.manifest.manifests if root.manifest.is_index else (root.descriptor,)
    parts: dict[int, Part] = {}
    limit = trio.CapacityLimiter(STREAMS)
    referrers: tuple[Descriptor, ...] = ()

    async def one(position: int, child: Descriptor) -> None:
        async with limit:
            fetched = root if child is root.descriptor else await source.manifest(str(child.digest), child)
            parts[position] = await _part(source, fetched, text)

    async with trio.open_nursery() as nursery:
        for position, child in enumerate(children):
            nursery.start_soon(one, position, child)
        referrers = await source.referrers(root.descriptor.digest)
    ordered = tuple(parts[position] for position in sorted(parts))
    return Inspected(text, root.descriptor, root.manifest, root.data, ordered, referrers)


async def _part(source: Source, fetched: FetchedManifest, text: str) -> Part:
    manifest = fetched.manifest
    config = manifest.config
    summary = None
    if config is not None and config.media_type in CONFIG_TYPES:
        summary = summarise(await _small_blob(source, config, text), text)
    kind = manifest.artifact_type or ("" if config is None or summary else config.media_type)
    size = 0 if manifest.is_index else sum(child.size for child in manifest.children)
    return Part(fetched.descriptor, manifest.layers, kind, manifest.annotations, summary, size)


async def _small_blob(source: Source, blob: Descriptor, text: str) -> bytes:
    if blob.size > CONFIG_LIMIT:
        raise RemoteError(f"image {text}", f"its configuration is longer than {CONFIG_LIMIT} bytes")
    data = bytearray()
    async with source.blob(blob.digest, 0) as (_, parts):
        async for part in parts:
            data += part
            if len(data) > blob.size:
                break
    if Digest.of(data, blob.digest.algorithm) != blob.digest:
        raise VerificationError(str(blob.digest), "the bytes that came do not match it")
    return bytes(data)


def summarise(data: bytes, text: str) -> ConfigSummary:
    """Read an image's configuration; RemoteError where it is none. Values of a wrong type count as absent."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"image {text}", "its configuration is not JSON") from error
    if not isinstance(document, dict):
        raise RemoteError(f"image {text}", "its configuration is no JSON object")
    inner = document.get("config")
    config: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    return ConfigSummary(
        os=_text(document, "os"),
        architecture=_text(document, "architecture"),
        variant=_text(document, "variant"),
        created=_text(document, "created"),
        user=_text(config, "User"),
        working_dir=_text(config, "WorkingDir"),
        entrypoint=_texts(config.get("Entrypoint")),
        command=_texts(config.get("Cmd")),
        env=_texts(config.get("Env")),
        ports=_texts(list(_mapping(config.get("ExposedPorts")))),
        labels=tuple((key, str(value)) for key, value in _mapping(config.get("Labels")).items()),
    )


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
