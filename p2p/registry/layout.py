"""OCI layout directories as values: which images they hold, and what these are to be called.

Source: OCI image-spec, "Image Layout". Pure: the files are read elsewhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import OCI_INDEX, parse_manifest
from p2p.core.oci.reference import DEFAULT_TAG, validate_path, validate_tag
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Descriptor

REF_NAME: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class LayoutEntry:
    """One image of a layout: its manifest or index, the repository it goes to, and its tag if it has one."""

    top: Descriptor
    path: str
    tag: str | None


def parse_layout(directory: str, marker: bytes, index: bytes) -> tuple[LayoutEntry, ...]:
    """Read ``oci-layout`` and ``index.json`` of a directory, whose path is named in errors.

    The last component of ``directory`` is the repository of images that are named by a tag alone.
    Raises ConfigError for what is no layout, and for names that no repository can have.
    """
    _check_marker(directory, marker)
    subject = f"{directory}/index.json"
    try:
        descriptors = parse_manifest(index, OCI_INDEX).manifests
    except RegistryError as error:
        raise ConfigError(subject, error.message, error.mend) from error
    if not descriptors:
        raise ConfigError(subject, "it lists no image", "Copy one there: skopeo copy … oci:DIRECTORY:TAG")
    return tuple(_entry(subject, directory, each) for each in descriptors)


def _check_marker(directory: str, marker: bytes) -> None:
    try:
        document = json.loads(marker)
    except (ValueError, RecursionError):
        document = None
    version = document.get("imageLayoutVersion") if isinstance(document, dict) else None
    if not isinstance(version, str) or not version.startswith("1."):
        raise ConfigError(
            f"{directory}/oci-layout",
            "it holds no imageLayoutVersion of 1.x",
            "Name a directory in OCI layout, as skopeo copy … oci:DIRECTORY:TAG makes one",
        )


def _entry(subject: str, directory: str, top: Descriptor) -> LayoutEntry:
    annotations = dict(top.annotations)
    names = (annotations.get(REF_NAME, ""), annotations.get(CONTAINERD_NAME, ""))
    full = next((name for name in names if "/" in name or ":" in name), "")
    try:
        if full:
            return LayoutEntry(top, *_full_name(full))
        tag = next((name for name in names if name), None)
        if tag is not None:
            validate_tag(tag)
        return LayoutEntry(top, _directory_name(directory), tag)
    except RegistryError as error:
        raise ConfigError(subject, error.message, f"Correct the annotation {REF_NAME}") from error


def _full_name(name: str) -> tuple[str, str]:
    """Split ``[registry/]path[:tag][@digest]``; the registry is dropped, as a push to here would."""
    name = name.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        name = rest
    path, colon, tag = name.rpartition(":")
    return (validate_path(path), validate_tag(tag)) if colon else (validate_path(name), DEFAULT_TAG)


def _directory_name(directory: str) -> str:
    """Make a repository name of a directory's: lower case, and a dash for what no name may hold."""
    last = directory.rstrip("/").rpartition("/")[2]
    try:
        return validate_path(last)
    except RegistryError:
        return validate_path(_NOT_IN_NAMES.sub("-", last.lower()).strip("-"))
