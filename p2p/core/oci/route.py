"""Requests of the /v2/ API as values: OCI distribution-spec, "Endpoints".

A path is split at its slashes first and each part percent-decoded exactly once after, so that an
encoded slash can't move a boundary; what is left must match the closed grammars of ``reference``.
Shapes are matched from the right, because a repository may be called ``a/manifests`` or ``a/tags``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from p2p.core.oci.descriptor import validate_media_type
from p2p.core.oci.digest import ALGORITHMS, Digest
from p2p.core.oci.error import RegistryError, shown
from p2p.core.oci.reference import validate_path, validate_registry, validate_tag

MAX_PAGE = 1000
"""Entries of one page of a list; a larger ``n`` gets as many."""

MAX_TAGS = 48
"""Tags that one push may give."""

_MAX_DIGITS = 10_000
_MAX_FIELDS = 64
_MAX_LAST = 512

_NUMBER: Final = re.compile(r"[0-9]+")
_ENCODED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_SAFE: Final = re.compile(r"[!-$&-.0-\[\]-~]*")
"""Printable ASCII but ``%``, ``/`` and backslash: what a decoded part may hold at all."""
_PRINTABLE: Final = re.compile(r"[ -~]*")
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_EXTENSION: Final = re.compile(r"_[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_EXTENSION_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]{0,255}")


@dataclass(frozen=True, slots=True)
class VersionRoute:
    """``/v2/``: whether this is a registry."""

    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class BlobRoute:
    """``/v2/<name>/blobs/<digest>``."""

    name: str
    digest: Digest
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ManifestRoute:
    """``/v2/<name>/manifests/<tag or digest>``: exactly one of the two is set.

    ``more_tags``: those of the query, which a push by digest may give.
    """

    name: str
    tag: str | None
    digest: Digest | None
    namespace: str | None = None
    more_tags: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """The tag or the digest, as text."""
        return str(self.digest) if self.digest is not None else self.tag or ""


@dataclass(frozen=True, slots=True)
class TagsRoute:
    """``/v2/<name>/tags/list``: at most ``n`` (None: as many as there are) tags after ``last``."""

    name: str
    n: int | None = None
    last: str | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ReferrersRoute:
    """``/v2/<name>/referrers/<digest>``, of one artifact type where one is asked for, after ``last``."""

    name: str
    digest: Digest
    artifact_type: str | None = None
    namespace: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class UploadsRoute:
    """``/v2/<name>/blobs/uploads/``: begin an upload.

    ``mount`` a blob, from repository ``source`` where one is named; or take the whole body as ``digest``; or
    begin a session whose digest will be one of ``algorithm``.
    """

    name: str
    namespace: str | None = None
    mount: Digest | None = None
    source: str | None = None
    digest: Digest | None = None
    algorithm: str = "sha256"


@dataclass(frozen=True, slots=True)
class UploadRoute:
    """``/v2/<name>/blobs/uploads/<session>``: go on with an upload; ``digest`` (PUT) ends it."""

    name: str
    session: str
    namespace: str | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class CatalogRoute:
    """``/v2/_catalog``: at most ``n`` repositories after ``last``."""

    n: int | None = None
    last: str | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ExtensionRoute:
    """``/v2/[<name>/]_<extension>/<component>/<module>[/<rest>]``; ``name`` None for the registry's own.

    ``extension`` keeps its underscore: ``_oci``. ``rest`` is decoded, parts joined by slashes.
    """

    extension: str
    component: str
    module: str
    rest: str = ""
    name: str | None = None
    namespace: str | None = None


Route = (
    VersionRoute
    | BlobRoute
    | ManifestRoute
    | TagsRoute
    | ReferrersRoute
    | UploadsRoute
    | UploadRoute
    | CatalogRoute
    | ExtensionRoute
)

METHODS: Final[Mapping[type[Route], tuple[str, ...]]] = MappingProxyType(
    {
        VersionRoute: ("GET", "HEAD"),
        BlobRoute: ("GET", "HEAD", "DELETE"),
        ManifestRoute: ("GET", "HEAD", "PUT", "DELETE"),
        TagsRoute: ("GET", "HEAD"),
        ReferrersRoute: ("GET", "HEAD"),
        UploadsRoute: ("POST",),
        UploadRoute: ("GET", "PATCH", "PUT", "DELETE"),
        CatalogRoute: ("GET", "HEAD"),
        ExtensionRoute: ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    }
)
"""What each kind of route may be asked, for a 405's ``Allow``."""


def parse_route(method: str, path: str, query: str) -> Route:
    """Read a request line: ``path`` and ``query`` raw, without the question mark.

    RegistryError: UNSUPPORTED with status 404 for a path that is none of the API's, and with 405 (the
    detail holds ``allowed``) for a method that such a path has not; else the code of the part that is
    malformed. A tag that can't be one is MANIFEST_UNKNOWN when read, MANIFEST_INVALID when written.
    """
    fields = parse_fields(query)
    parts = _split(path)
    namespace = _namespace(fields)
    if parts in ([], [""]):
        _allow(VersionRoute, method)
        return VersionRoute(namespace)
    if parts == ["_catalog"]:
        _allow(CatalogRoute, method)
        return CatalogRoute(_number(fields), _last(fields), namespace)
    # No component of a name begins with "_"; a tag or an upload may, but is the last part.
    for position, part in enumerate(parts[:-1]):
        if part.startswith("_"):
            return _extension(method, parts, position, namespace)
    return _repository(method, parts, fields, namespace)


def parse_fields(query: str) -> Mapping[str, tuple[str, ...]]:
    """Decode a query, once: every value of each name, in order. RegistryError (NAME_INVALID) otherwise."""
    if not query:
        return {}
    if not query.isascii():
        raise RegistryError("NAME_INVALID", "the query holds bytes that are not ASCII")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise RegistryError("NAME_INVALID", f"the query has more than {_MAX_FIELDS} fields") from error
    fields: dict[str, tuple[str, ...]] = {}
    for key, value in pairs:
        fields[key] = (*fields.get(key, ()), value)
    return fields


def _split(path: str) -> list[str]:
    """Give the decoded parts after ``/v2/``; none for ``/v2``."""
    root, *parts = path.removeprefix("/").split("/")
    if not path.startswith("/") or root != "v2":
        raise _unknown(path)
    decoded = []
    for part in parts:
        text = part
        if "%" in part:
            if not part.isascii() or _ENCODED.fullmatch(part) is None:
                raise RegistryError.name_invalid(part, "is not percent-encoded as a path is")
            text = unquote_to_bytes(part).decode("latin-1")
        if _SAFE.fullmatch(text) is None:
            raise RegistryError.name_invalid(text, "holds a character that no path has here")
        decoded.append(text)
    return decoded


def _unknown(path: str) -> RegistryError:
    return RegistryError("UNSUPPORTED", f"{shown(path)} is no path of this API", status=404)


def _allow(route: type[Route], method: str) -> None:
    allowed = METHODS[route]
    if method not in allowed:
        raise RegistryError(
            "UNSUPPORTED", f"{shown(method)} is not a method of this path", {"allowed": list(allowed)}
        )


def _extension(method: str, parts: list[str], position: int, namespace: str | None) -> Route:
    extension, *rest = parts[position:]
    if _EXTENSION.fullmatch(extension) is None or not all(map(_EXTENSION_PART.fullmatch, rest)) or not rest:
        raise _unknown("/v2/" + "/".join(parts))
    _allow(ExtensionRoute, method)
    name = validate_path("/".join(parts[:position])) if position else None
    module = rest[1] if len(rest) > 1 else ""
    return ExtensionRoute(extension, rest[0], module, "/".join(rest[2:]), name, namespace)


def _repository(
    method: str, parts: list[str], fields: Mapping[str, tuple[str, ...]], namespace: str | None
) -> Route:
    match parts:
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", ""] if name:
            _allow(UploadsRoute, method)
            return _uploads(_name(name), fields, namespace)
        case [*name, "blobs", "uploads", session] if name:
            _allow(UploadRoute, method)
            return UploadRoute(_name(name), _session(session), namespace, _digest(fields, "digest"))
        case [*name, "blobs", digest] if name:
            _allow(BlobRoute, method)
            return BlobRoute(_name(name), Digest.parse(digest), namespace)
        case [*name, "manifests", reference] if name:
            _allow(ManifestRoute, method)
            return _manifest(method, _name(name), reference, fields, namespace)
        case [*name, "tags", "list"] if name:
            _allow(TagsRoute, method)
            return TagsRoute(_name(name), _number(fields), _last(fields), namespace)
        case [*name, "referrers", digest] if name:
            _allow(ReferrersRoute, method)
            return ReferrersRoute(
                _name(name), Digest.parse(digest), _artifact_type(fields), namespace, _last(fields)
            )
        case _:
            raise _unknown("/v2/" + "/".join(parts))


def _name(parts: list[str]) -> str:
    return validate_path("/".join(parts))


def _manifest(
    method: str, name: str, reference: str, fields: Mapping[str, tuple[str, ...]], namespace: str | None
) -> ManifestRoute:
    digest = Digest.parse(reference) if ":" in reference else None
    tag = reference if digest is None else None
    more = tuple(dict.fromkeys(fields.get("tag", ()))) if method == "PUT" else ()
    if len(more) > MAX_TAGS:
        raise RegistryError("MANIFEST_INVALID", f"more than {MAX_TAGS} tags are given at once")
    try:
        for each in (*more, *(() if tag is None else (tag,))):
            validate_tag(each)
        return ManifestRoute(name, tag, digest, namespace, more)
    except RegistryError as error:
        # The spec has no code for a malformed tag: to a reader it is one that does not exist.
        code = "MANIFEST_INVALID" if method == "PUT" else "MANIFEST_UNKNOWN"
        raise RegistryError(code, error.message) from error


def _uploads(name: str, fields: Mapping[str, tuple[str, ...]], namespace: str | None) -> UploadsRoute:
    source = _single(fields, "from")
    algorithm = _single(fields, "digest-algorithm") or "sha256"
    if algorithm not in ALGORITHMS:
        raise RegistryError("DIGEST_INVALID", f"there is no digest algorithm {shown(algorithm)} here")
    digest = _digest(fields, "digest")
    return UploadsRoute(
        name,
        namespace,
        mount=_digest(fields, "mount"),
        source=validate_path(source) if source else None,
        digest=digest,
        algorithm=algorithm if digest is None else digest.algorithm,
    )


def _digest(fields: Mapping[str, tuple[str, ...]], key: str) -> Digest | None:
    value = _single(fields, key)
    return None if value is None else Digest.parse(value)


def _session(session: str) -> str:
    if _SESSION.fullmatch(session) is None:
        raise RegistryError("BLOB_UPLOAD_UNKNOWN", f"there is no upload {shown(session)}")
    return session


def _single(fields: Mapping[str, tuple[str, ...]], key: str) -> str | None:
    first, *more = fields.get(key) or (None,)
    if any(value != first for value in more):
        raise RegistryError("NAME_INVALID", f"the query gives {key} several values")
    return first


def _namespace(fields: Mapping[str, tuple[str, ...]]) -> str | None:
    value = _single(fields, "ns")
    return validate_registry(value) if value else None


def _number(fields: Mapping[str, tuple[str, ...]]) -> int | None:
    value = _single(fields, "n")
    if value is None:
        return None
    if len(value) > _MAX_DIGITS or _NUMBER.fullmatch(value) is None:
        raise RegistryError("PAGINATION_NUMBER_INVALID", f"n={shown(value)} is not a count of entries")
    digits = value.lstrip("0") or "0"
    return MAX_PAGE if len(digits) > len(str(MAX_PAGE)) else min(int(digits), MAX_PAGE)


def _last(fields: Mapping[str, tuple[str, ...]]) -> str | None:
    value = _single(fields, "last")
    if value is not None and (len(value) > _MAX_LAST or _PRINTABLE.fullmatch(value) is None):
        raise RegistryError("NAME_INVALID", f"last={shown(value)} is not an entry of a list")
    return value or None


def _artifact_type(fields: Mapping[str, tuple[str, ...]]) -> str | None:
    value = _single(fields, "artifactType")
    return validate_media_type(value) if value else None
