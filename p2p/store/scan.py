"""Start-up: what the directory holds, and the strays in it. Blocks: for a worker thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from p2p.core.oci.digest import ALGORITHMS, Digest
from p2p.store import journal
from p2p.store.files import Entry, Files, Volume, read_file
from p2p.store.paths import JOURNAL, MIDSTATES, PIN, SESSION, Paths, digest_of

if TYPE_CHECKING:
    from pathlib import Path


class Disk(Files, Volume, Protocol):
    """Files and their filesystem."""


@dataclass(frozen=True, slots=True)
class FoundPartial:
    """A partial blob that may be resumed: ``size`` as its journal has it, ``written`` bytes on disk."""

    digest: Digest
    size: int
    written: int
    used: int


@dataclass(slots=True)
class Found:
    """What lies there, least recently used first. ``strays`` belong to nothing and may go.

    ``uploads``: algorithm and size by session.
    """

    blobs: list[tuple[Digest, int]] = field(default_factory=list)
    partials: list[FoundPartial] = field(default_factory=list)
    pins: list[Digest] = field(default_factory=list)
    quarantined: dict[Path, int] = field(default_factory=dict)
    uploads: dict[str, tuple[str, int]] = field(default_factory=dict)
    strays: list[Path] = field(default_factory=list)


def scan(disk: Disk, paths: Paths) -> Found:
    """Look once over all directories, which are made where missing.

    Files whose names are none of ours are left alone: an operator may have put them there.
    """
    found = Found()
    blobs: list[tuple[Entry, Digest]] = []
    for algorithm in ALGORITHMS:
        blobs += _blobs(disk, paths, algorithm, found)
        _partials(disk, paths, algorithm, found)
        _uploads(disk, paths, algorithm, found)
        directory = paths.quarantined(algorithm)
        found.quarantined |= {directory / entry.name: entry.size for entry in disk.entries(directory)}
    blobs.sort(key=lambda pair: pair[0].used)
    found.blobs = [(digest, entry.size) for entry, digest in blobs]
    found.partials.sort(key=attrgetter("used"))
    return found


def _blobs(disk: Disk, paths: Paths, algorithm: str, found: Found) -> list[tuple[Entry, Digest]]:
    entries = disk.entries(paths.blobs(algorithm))
    names = {entry.name for entry in entries}
    blobs = []
    for entry in entries:
        if (digest := digest_of(algorithm, entry.name)) is not None:
            blobs.append((entry, digest))
        elif (digest := digest_of(algorithm, entry.name, PIN)) is not None:
            found.pins.append(digest)
        elif (digest := digest_of(algorithm, entry.name, MIDSTATES)) is not None and digest.hex not in names:
            found.strays.append(paths.blob(digest, MIDSTATES))
    return blobs


def _partials(disk: Disk, paths: Paths, algorithm: str, found: Found) -> None:
    entries = disk.entries(paths.partials(algorithm))
    names = {entry.name for entry in entries}
    for entry in entries:
        if (digest := digest_of(algorithm, entry.name)) is not None:
            begun = _begun(disk, paths, digest) if entry.name + JOURNAL in names else None
            if begun is None or begun[0] != digest or begun[1] != entry.size:
                found.strays += [paths.partial(digest), paths.partial(digest, JOURNAL)]
            else:
                found.partials.append(FoundPartial(digest, entry.size, entry.occupied, entry.used))
        elif (digest := digest_of(algorithm, entry.name, JOURNAL)) is not None and digest.hex not in names:
            found.strays.append(paths.partial(digest, JOURNAL))


def _uploads(disk: Disk, paths: Paths, algorithm: str, found: Found) -> None:
    for entry in disk.entries(paths.uploads(algorithm)):
        if SESSION.fullmatch(entry.name) is None:
            continue
        if entry.name in found.uploads:
            found.strays.append(paths.upload(algorithm, entry.name))
        else:
            found.uploads[entry.name] = (algorithm, entry.size)


def _begun(disk: Disk, paths: Paths, digest: Digest) -> tuple[Digest, int] | None:
    try:
        return journal.begun(read_file(disk, paths.partial(digest, JOURNAL), journal.HEADER_LIMIT))
    except OSError:
        return None
