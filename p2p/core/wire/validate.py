"""What the types of a message can't say: counts are not negative, digests are digests, ports are ports."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.wire.peer import Known, Midstates, Streams, Subscribe
from p2p.core.wire.tracker import Plan

if TYPE_CHECKING:
    from types import UnionType

MAX_COUNT: Final = (1 << 63) - 1
MAX_PORT: Final = 65535
MAX_HINTS: Final = 32
"""Addresses of other peers in one message."""

MAX_NODE: Final = 128
"""Characters of a node's id where nodes pass it on."""

LIST_ID: Final = 32
"""Bytes of a SHA-256, which commits to a midstate list."""

_COMMON: Final = re.compile(r"sha256:[0-9a-f]{64}")
"""What nearly all digests are: a tracker checks some hundred thousand a minute."""

_LEASES: Final = frozenset({"granted", "held", "none"})
_STATE_BYTES: Final = {"sha256": 32, "sha512": 64}

Check = Callable[[Any], None]
"""Raises ValueError for a value that it does not accept."""


def validator(union: UnionType | type[Struct]) -> Callable[[Struct], None]:
    """Make the check of any message of ``union``; it raises ValueError, naming the field."""
    checks = {member: _struct_check(member) for member in get_args(union) or (union,)}

    def check(message: Struct) -> None:
        checks[type(message)](message)

    return check


def _struct_check(cls: type[Struct]) -> Check:
    checks = [
        (info.name, check)
        for info in fields(cls)
        if (check := _field_check(info.name, info.type, required=info.required)) is not None
    ]
    whole = _WHOLE.get(cls)

    def check_struct(value: Struct) -> None:
        for name, check in checks:
            try:
                check(getattr(value, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if whole is not None:
            whole(value)

    return check_struct


def _field_check(name: str, kind: Any, *, required: bool) -> Check | None:
    if get_origin(kind) is tuple:
        parts = [part for part in get_args(kind) if part is not Ellipsis]
        return _elements_check([_field_check(name.removesuffix("s"), part, required=True) for part in parts])
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct_check(kind)
    if kind is int:
        return _port if name == "port" else _count
    if kind is float:
        return _seconds
    if kind is str and name == "digest":
        return _digest if required else _optional_digest
    return None


def _elements_check(checks: list[Check | None]) -> Check | None:
    """Check every element (one check), or a pair's each by its own (two)."""
    if len(checks) == 1:
        single = checks[0]
        if single is None:
            return None

        def check_all(values: tuple[Any, ...]) -> None:
            for value in values:
                single(value)

        return check_all

    def check_each(values: tuple[Any, ...]) -> None:
        for check, value in zip(checks, values, strict=True):
            if check is not None:
                check(value)

    return check_each


def _count(value: int) -> None:
    if not 0 <= value <= MAX_COUNT:
        raise ValueError("a negative count" if value < 0 else "a count above 2**63-1")


def _port(value: int) -> None:
    if not 0 <= value <= MAX_PORT:
        raise ValueError("a port outside 0 and 65535")


def _seconds(value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("not a span of seconds")


def _digest(value: str) -> None:
    if _COMMON.fullmatch(value) is not None:
        return
    try:
        Digest.parse(value)
    except RegistryError as error:
        raise ValueError(error.message) from error


def _optional_digest(value: str) -> None:
    if value:
        _digest(value)


def _midstates(message: Midstates) -> None:
    if len(message.states) % _STATE_BYTES[message.digest.partition(":")[0]]:
        raise ValueError("states: not a whole number of states")
    if len(message.list_id) != LIST_ID:
        raise ValueError(f"list_id: {len(message.list_id)} bytes")


def _subscribe(message: Subscribe) -> None:
    if len(message.list_id) not in (0, LIST_ID):
        raise ValueError(f"list_id: {len(message.list_id)} bytes")


def _plan(message: Plan) -> None:
    if message.lease not in _LEASES:
        raise ValueError("lease: neither granted nor held nor none")


def _known(message: Known) -> None:
    if len(message.addresses) > MAX_HINTS:
        raise ValueError(f"addresses: more than {MAX_HINTS}")


def _streams(message: Streams) -> None:
    if len(message.node) > MAX_NODE:
        raise ValueError(f"node: longer than {MAX_NODE}")


_WHOLE: Final[dict[type[Struct], Check]] = {
    Midstates: _midstates,
    Subscribe: _subscribe,
    Plan: _plan,
    Known: _known,
    Streams: _streams,
}
