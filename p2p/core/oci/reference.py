"""Repositories and references: what a user types, and what a request's path may name.

Grammar of names and tags: OCI distribution-spec, "Pulling manifests". Normalisation ("alpine" is
``docker.io/library/alpine:latest``) is what Docker does. Everything is ASCII, matched against a closed
grammar: dots alone, percent signs, backslashes, NUL and look-alike letters are in no alternative.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError

DOCKER_HUB: Final = "docker.io"
DEFAULT_TAG: Final = "latest"

MAX_NAME = 255
"""Characters of "registry/path" together; many clients can't take more (distribution-spec)."""
MAX_TAG = 128

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_TAG - 1}}}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
# A host, an IPv6 address in brackets, or (an upstream's alias) a component of a name; then a port.
_HOST = rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]|{_COMPONENT}"
_REGISTRY: Final = re.compile(rf"(?:{_HOST})(?::(?P<port>[0-9]{{1,5}}))?")


def validate_path(name: str) -> str:
    """Give ``name`` back if it is a repository's path; RegistryError (NAME_INVALID) otherwise."""
    if len(name) > MAX_NAME:
        raise RegistryError.name_invalid(name, f"is longer than {MAX_NAME} characters")
    if _PATH.fullmatch(name) is None:
        if name.isascii() and _PATH.fullmatch(name.lower()) is not None:
            raise RegistryError.name_invalid(name, "must be lower case")
        raise RegistryError.name_invalid(name, "is not a repository name")
    return name


def validate_tag(tag: str) -> str:
    """Give ``tag`` back if it is one; RegistryError (TAG_INVALID, status 400) otherwise."""
    if _TAG.fullmatch(tag) is None:
        raise RegistryError.tag_invalid(tag, "is not a tag")
    return tag


def validate_registry(name: str) -> str:
    """Give a registry's name (``host``, ``host:port``, or an alias) in lower case; else NAME_INVALID."""
    lower = name.lower() if name.isascii() else name
    match = _REGISTRY.fullmatch(lower) if len(name) <= MAX_NAME else None
    if match is None:
        raise RegistryError.name_invalid(name, "is not a registry")
    if match["port"] is not None and int(match["port"]) > 65535:
        raise RegistryError.name_invalid(name, "has a port above 65535")
    return lower


def _is_registry(component: str) -> bool:
    # Docker's rule: the part before the first slash is a host if it could not be a user's name.
    return component == "localhost" or "." in component or ":" in component


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository: ``registry`` is its host (or an upstream's alias), ``path`` its name there."""

    registry: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read "registry/path"; the registry is never implied. RegistryError (NAME_INVALID) otherwise."""
        registry, _, path = text.partition("/")
        return cls(*_checked(registry, path))

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


def _checked(registry: str, path: str) -> tuple[str, str]:
    registry, path = validate_registry(registry), validate_path(path)
    if len(registry) + 1 + len(path) > MAX_NAME:
        raise RegistryError.name_invalid(f"{registry}/{path}", f"is longer than {MAX_NAME} characters")
    return registry, path


@dataclass(frozen=True, slots=True)
class Reference:
    """What names an image: a tag, a digest, or both (then the digest decides)."""

    registry: str
    path: str
    tag: str | None
    digest: Digest | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what users type: ``[registry/]path[:tag][@digest]``, with Docker's defaults.

        No registry: Docker Hub, where one component means ``library/``. Neither tag nor digest:
        ``latest``. RegistryError (NAME_INVALID, TAG_INVALID or DIGEST_INVALID) otherwise.
        """
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        first, slash, remainder = rest.partition("/")
        if slash and _is_registry(first):
            registry, rest = first, remainder
        else:
            registry = DOCKER_HUB
        path, colon, tag_text = rest.rpartition(":")
        if not colon:
            path = rest
        if registry.lower() in (DOCKER_HUB, "index.docker.io"):
            registry = DOCKER_HUB
            if "/" not in path:
                path = f"library/{path}"
        registry, path = _checked(registry, path)
        tag = validate_tag(tag_text) if colon else None
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(registry, path, tag, digest)

    @property
    def repository(self) -> Repository:
        """Where it lives."""
        return Repository(self.registry, self.path)

    @property
    def identifier(self) -> str:
        """What the manifests endpoint is asked for: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest is not None else self.tag or DEFAULT_TAG

    def familiar(self) -> str:
        """Give the short form that users know; ``Reference.parse`` gives the same reference back."""
        name = f"{self.registry}/{self.path}"
        if self.registry == DOCKER_HUB:
            short = self.path.removeprefix("library/")
            name = self.path if "/" in short else short
            first, slash, _ = name.partition("/")
            if slash and _is_registry(first):
                name = f"{self.registry}/{self.path}"
        return name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}{self._suffix()}"
