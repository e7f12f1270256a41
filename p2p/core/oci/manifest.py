"""Manifests and indexes: OCI image-spec and Docker schema 2, read without room for a second reading.

What one client takes for an image and another for an index is an attack (CVE-2021-41190), so anything
that could be read in two ways is refused: a content type that disagrees with the document, an index
with layers, a key that occurs twice or in another case (Go's JSON ignores case), one digest with two
sizes. The bytes themselves are never rewritten; this is only our reading of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from p2p.core.oci.descriptor import (
    Descriptor,
    Platform,
    json_annotations,
    json_object,
    json_text,
    validate_media_type,
)
from p2p.core.oci.error import RegistryError, shown

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

IMAGE_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES: Final = (OCI_INDEX, DOCKER_LIST)
MANIFEST_TYPES: Final = (*IMAGE_TYPES, *INDEX_TYPES)
"""All that we read, and what to send as ``Accept``."""

_SAYS_NOTHING: Final = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_KEYS: Final = frozenset(
    {
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "digest",
        "size",
        "urls",
        "platform",
        "fsLayers",
    }
)
_FOLDED: Final = {key.casefold(): key for key in _KEYS}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image (``config`` and ``layers``) or one index (``manifests``), as ``media_type`` says.

    ``subject`` is what it refers to; that need not exist. ``annotations`` keep their order.
    """

    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether the children are manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """The config and the layers, or the manifests, as they stand: a digest may occur twice."""
        return (*(() if self.config is None else (self.config,)), *self.layers, *self.manifests)

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """All that it is made of, each digest once: the config and the layers, or the manifests.

        Foreign layers are among them, to be had from the registry or not at all: never from their urls.
        """
        return tuple({child.digest: child for child in self.descriptors}.values())

    def select(self, platform: Platform) -> Descriptor | None:
        """Choose the manifest that fits a platform best, the first of equals; None where none does.

        An index with one manifest that names no platform means that one.
        """
        fits = [
            (fit, position)
            for position, child in enumerate(self.manifests)
            if child.platform is not None and (fit := child.platform.fit(platform)) is not None
        ]
        if fits:
            return self.manifests[min(fits)[1]]
        silent = [child for child in self.manifests if child.platform is None]
        return silent[0] if len(silent) == 1 else None


def parse_manifest(data: bytes, content_type: str | None) -> Manifest:
    """Read a manifest or an index that came with ``content_type`` (None where it came with none).

    RegistryError: UNSUPPORTED (status 400) for Docker schema 1, otherwise MANIFEST_INVALID,
    DIGEST_INVALID or SIZE_INVALID.
    """
    document = _load(data)
    media_type = _media_type(document, content_type)
    is_index = media_type in INDEX_TYPES
    _refuse_members(document, *(("config", "layers") if is_index else ("manifests",)))
    subject = document.get("subject")
    manifest = Manifest(
        media_type,
        config=None if is_index else _descriptor(document.get("config")),
        layers=() if is_index else _descriptors(document, "layers"),
        manifests=_descriptors(document, "manifests") if is_index else (),
        subject=None if subject is None else _descriptor(subject),
        artifact_type=json_text(document, "artifactType"),
        annotations=json_annotations(document),
    )
    _refuse_two_sizes(manifest)
    return manifest


def _load(data: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise RegistryError.manifest_invalid("is nested too deep") from error
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise RegistryError.manifest_invalid("is not JSON") from error
    document = json_object(value, "document")
    _refuse_other_case(document)
    return document


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RegistryError.manifest_invalid("has an object with a key that occurs twice")
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _refuse_other_case(entry: Mapping[str, object]) -> None:
    for key in entry:
        meant = _FOLDED.get(key.casefold(), key)
        if meant != key:
            raise RegistryError.manifest_invalid(f"has a key {shown(key)} that is nearly {meant}")


def _media_type(document: Mapping[str, object], content_type: str | None) -> str:
    sent = (content_type or "").partition(";")[0].strip().lower()
    stated = json_text(document, "mediaType")
    version = document.get("schemaVersion")
    if (
        sent in DOCKER_SCHEMA1
        or stated in DOCKER_SCHEMA1
        or version == 1
        or document.get("fsLayers") is not None
    ):
        raise RegistryError(
            "UNSUPPORTED",
            "the manifest is of Docker schema 1, which is unsupported",
            status=400,
            mend="Push the image again with a current client",
        )
    if version is not None and (version != 2 or not isinstance(version, int)):
        raise RegistryError.manifest_invalid("has a schemaVersion that is not 2")
    if sent in _SAYS_NOTHING:
        sent = ""
    if sent and stated and sent != stated:
        raise RegistryError.manifest_invalid(
            f"came as {shown(sent)} and says that it is {shown(stated)}",
            {"contentType": sent, "mediaType": stated},
        )
    media_type = stated or sent
    if not media_type:
        media_type = OCI_INDEX if document.get("manifests") is not None else OCI_MANIFEST
    if validate_media_type(media_type) not in MANIFEST_TYPES:
        raise RegistryError.manifest_invalid(f"is of the type {shown(media_type)}, which we don't read")
    return media_type


def _refuse_members(document: Mapping[str, object], *keys: str) -> None:
    for key in keys:
        if document.get(key) is not None:
            raise RegistryError.manifest_invalid(f"has {key}, which its type has not")


def _descriptor(value: object) -> Descriptor:
    _refuse_other_case(json_object(value, "descriptor"))
    return Descriptor.from_json(value)


def _descriptors(document: Mapping[str, object], key: str) -> tuple[Descriptor, ...]:
    value = document.get(key)
    if value is None and key in document:
        return ()  # what Go writes for a list that was never filled
    if not isinstance(value, list):
        raise RegistryError.manifest_invalid(f"has no list of {key}")
    return tuple(map(_descriptor, value))


def _refuse_two_sizes(manifest: Manifest) -> None:
    sizes: dict[Digest, int] = {}
    for child in manifest.descriptors:
        if sizes.setdefault(child.digest, child.size) != child.size:
            raise RegistryError.manifest_invalid(f"gives two sizes for {child.digest}")
