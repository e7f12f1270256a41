"""Descriptors and platforms of the OCI image-spec, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError, shown

MAX_SIZE = (1 << 63) - 1
"""The image-spec's sizes are int64."""

FOREIGN_TYPES: Final = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)
"""Layers that clients fetch from their ``urls``, not from a registry."""

_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE: Final = re.compile(rf"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}")
_PLATFORM_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_ARCHITECTURES: Final = {"aarch64": "arm64", "x86_64": "amd64", "x86-64": "amd64", "i386": "386"}
_SAME_VARIANT: Final = {("arm64", "v8"): "", ("arm64", "8"): "", ("amd64", "v1"): ""}
_ARM: Final = ("v5", "v6", "v7", "v8")


def validate_media_type(text: str) -> str:
    """Give a media type back if it is one without parameters (RFC 6838 §4.2); else MANIFEST_INVALID."""
    if _MEDIA_TYPE.fullmatch(text) is None:
        raise RegistryError.manifest_invalid(f"has the media type {shown(text)}, which is none")
    return text


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in Go's names: ``linux``, ``arm64``, variant ``v8``."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]``; RegistryError (PLATFORM_INVALID) otherwise."""
        os, _, rest = text.lower().partition("/")
        architecture, slash, variant = rest.partition("/")
        parts = (os, architecture, variant) if slash else (os, architecture)
        if not all(map(_PLATFORM_PART.fullmatch, parts)):
            raise RegistryError(
                "PLATFORM_INVALID",
                f"platform {shown(text)} is malformed",
                mend="Give os/architecture or os/architecture/variant, as in linux/arm64/v8",
            )
        return cls(os, architecture, variant)

    @classmethod
    def from_json(cls, value: object) -> Platform:
        """Read a descriptor's ``platform`` object; RegistryError (MANIFEST_INVALID) otherwise."""
        entry = json_object(value, "platform")
        return cls(
            os=json_text(entry, "os"),
            architecture=json_text(entry, "architecture"),
            variant=json_text(entry, "variant"),
            os_version=json_text(entry, "os.version"),
            os_features=json_texts(entry, "os.features"),
        )

    def to_json(self) -> dict[str, object]:
        """Write the object, without what is empty."""
        entry: dict[str, object] = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            entry["variant"] = self.variant
        if self.os_version:
            entry["os.version"] = self.os_version
        if self.os_features:
            entry["os.features"] = list(self.os_features)
        return entry

    def fit(self, wanted: Platform) -> int | None:
        """How well what is built for this platform runs on ``wanted``: 0 best, None not at all.

        No wanted variant: the common one, else any. 32-bit arm runs lower variants too. A wanted
        ``os_version`` is a prefix by dots.
        """
        os, architecture, variant = _normal(self)
        wanted_os, wanted_architecture, wanted_variant = _normal(wanted)
        if (os, architecture) != (wanted_os, wanted_architecture):
            return None
        if wanted.os_version and not f"{self.os_version}.".startswith(f"{wanted.os_version}."):
            return None
        if variant == wanted_variant:
            return 0
        if architecture == "arm" and variant in _ARM and wanted_variant in _ARM:
            steps = _ARM.index(wanted_variant) - _ARM.index(variant)
            if steps > 0:
                return steps
        return None if wanted.variant else len(_ARM)

    def matches(self, wanted: Platform) -> bool:
        """Whether what is built for this platform runs on ``wanted``."""
        return self.fit(wanted) is not None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _normal(platform: Platform) -> tuple[str, str, str]:
    architecture = platform.architecture.lower()
    architecture = _ARCHITECTURES.get(architecture, architecture)
    variant = platform.variant.lower()
    if architecture == "arm" and not variant:
        variant = "v7"  # what a bare "arm" means to containerd and Docker
    return platform.os.lower(), architecture, _SAME_VARIANT.get((architecture, variant), variant)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content by type, digest and size (bytes); the rest as the image-spec has it.

    ``urls`` are shown to whoever asks and never fetched from. ``annotations`` keep their order.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str = ""
    urls: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether a registry need not have it: a layer whose licence forbids to distribute it."""
        return self.media_type in FOREIGN_TYPES

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Read a descriptor object; RegistryError (MANIFEST_INVALID, DIGEST_INVALID or SIZE_INVALID)."""
        entry = json_object(value, "descriptor")
        size = entry.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
            raise RegistryError("SIZE_INVALID", "a descriptor's size is not a count of bytes")
        platform = entry.get("platform")
        return cls(
            media_type=validate_media_type(json_text(entry, "mediaType")),
            digest=Digest.parse(json_text(entry, "digest")),
            size=size,
            platform=None if platform is None else Platform.from_json(platform),
            annotations=json_annotations(entry),
            artifact_type=json_text(entry, "artifactType"),
            urls=json_texts(entry, "urls"),
        )

    def to_json(self) -> dict[str, object]:
        """Write the object, without what is empty."""
        entry: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform is not None:
            entry["platform"] = self.platform.to_json()
        if self.artifact_type:
            entry["artifactType"] = self.artifact_type
        if self.annotations:
            entry["annotations"] = dict(self.annotations)
        if self.urls:
            entry["urls"] = list(self.urls)
        return entry


def json_object(value: object, what: str) -> Mapping[str, object]:
    """Take a JSON object; ``what`` names it in the error."""
    if not isinstance(value, dict):
        raise RegistryError.manifest_invalid(f"has a {what} that is not an object")
    return value


def json_text(entry: Mapping[str, object], key: str) -> str:
    """Take a member that is text, absent or null; the latter two give ""."""
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RegistryError.manifest_invalid(f"has a {key} that is not text")
    return value


def json_texts(entry: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Take a member that is a list of texts, absent or null."""
    value = entry.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RegistryError.manifest_invalid(f"has {key} that are not a list of texts")
    return tuple(value)


def json_annotations(entry: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Take ``annotations``, an object of texts, as pairs."""
    value = entry.get("annotations")
    if value is None:
        return ()
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise RegistryError.manifest_invalid("has annotations that are not texts by name")
    return tuple(value.items())
