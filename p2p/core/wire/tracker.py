"""Messages between a node (or a command) and the tracker, over WebSocket."""

from __future__ import annotations

from msgspec import Struct

from p2p.core.wire.common import Holding, Provider

# ── to the tracker ─────────────────────────────────────────────────────────────────────────────────


class NodeHello(Struct, frozen=True, array_like=True, tag="hello"):
    """First from a node: who it is and where its peers reach it.

    ``host`` empty: the address that the tracker sees the connection come from. ``zone``: what is cheap to
    reach among itself, as the operator says; empty: not said. ``rack``: alike, within the zone.
    """

    version: int
    node: str
    name: str
    host: str
    port: int
    zone: str = ""
    rack: str = ""


class ClientHello(Struct, frozen=True, array_like=True, tag="client"):
    """First from a command that only asks (prefetch, status)."""

    version: int


class Announce(Struct, frozen=True, array_like=True, tag="announce"):
    """Holdings that are new or have grown; after a (re)connect, all of them, in batches."""

    holdings: tuple[Holding, ...]


class Withdraw(Struct, frozen=True, array_like=True, tag="withdraw"):
    """Digests that the node no longer offers."""

    digests: tuple[str, ...]


class Want(Struct, frozen=True, array_like=True, tag="want"):
    """Ask for a plan, now and as it changes, until ``Unwant`` or the node announces it complete.

    ``size`` 0: unknown. ``lease``: the node can reach the origin and would stream it. ``unreachable``
    are providers (node ids) that failed this node: they are left out of its plans. ``rank``: the tracker's
    place among those of the digest (0 the first), under which a lease is granted.
    """

    digest: str
    size: int
    lease: bool
    unreachable: tuple[str, ...] = ()
    rank: int = 0


class Unwant(Struct, frozen=True, array_like=True, tag="unwant"):
    """The node no longer wants the digest; ``keep``: of this tracker, and a lease on it lives on."""

    digest: str
    keep: bool = False


class LeaseProgress(Struct, frozen=True, array_like=True, tag="progress"):
    """The holder of lease ``epoch`` has streamed ``offset`` bytes from the origin; keeps the lease.

    Told to all trackers of the digest; ``rank`` is the place of the one that granted it.
    """

    digest: str
    epoch: int
    offset: int
    rank: int = 0


class LeaseRelease(Struct, frozen=True, array_like=True, tag="release"):
    """The holder gives the lease back: ``done``, or not (origin failed, stream no longer wanted)."""

    digest: str
    epoch: int
    done: bool


class ReferenceSeen(Struct, frozen=True, array_like=True, tag="seen"):
    """The origin confirmed that a tag points to a digest, ``age`` seconds ago."""

    repository: str
    reference: str
    digest: str
    media_type: str
    size: int
    age: float


class ReferenceUnseen(Struct, frozen=True, array_like=True, tag="unseen"):
    """The origin, which this node was let to, did not confirm the tag: it can't be told from here why."""

    repository: str
    reference: str


class AskReference(Struct, frozen=True, array_like=True, tag="ask"):
    """Ask for the youngest ``ReferenceSeen`` of a tag.

    ``fresh``: one that is younger than ``max_age`` seconds, or that the origin is asked for after this; the
    node is ready to ask the origin itself.
    """

    request: int
    repository: str
    reference: str
    fresh: bool = False
    max_age: float = 0.0


class PrefetchAsk(Struct, frozen=True, array_like=True, tag="prefetch"):
    """From a command: every node whose name matches one of ``nodes`` (globs) is to pull ``images``."""

    images: tuple[str, ...]
    nodes: tuple[str, ...] = ("*",)


class PrefetchCancel(Struct, frozen=True, array_like=True, tag="cancel"):
    """From a command: stop the job it started."""

    job: str


class IntentProgress(Struct, frozen=True, array_like=True, tag="intent-progress"):
    """From a node: how one image of a job goes.

    ``state``: ``resolving``, ``pulling``, ``done`` or ``failed`` (``detail`` says why). ``total`` bytes
    of the image's blobs, 0 while unknown; ``sources`` pairs of (``cache`` | ``peers`` | ``origin``, bytes).
    """

    job: str
    image: str
    state: str
    total: int
    sources: tuple[tuple[str, int], ...]
    detail: str = ""


class ListNodes(Struct, frozen=True, array_like=True, tag="list"):
    """From a command: ask for the table of nodes."""


ToTracker = (
    NodeHello
    | ClientHello
    | Announce
    | Withdraw
    | Want
    | Unwant
    | LeaseProgress
    | LeaseRelease
    | ReferenceSeen
    | ReferenceUnseen
    | AskReference
    | PrefetchAsk
    | PrefetchCancel
    | IntentProgress
    | ListNodes
)

# ── from the tracker ───────────────────────────────────────────────────────────────────────────────


class Welcome(Struct, frozen=True, array_like=True, tag="welcome"):
    """The answer to a hello. ``announce_every``: seconds between batches; ``host``: how we see you."""

    version: int
    announce_every: float
    host: str


class Plan(Struct, frozen=True, array_like=True, tag="plan"):
    """Ranked providers of a digest, and what may be asked of the origin.

    ``size`` as the providers claim it, 0 unknown. ``lease``: ``granted`` (you stream it from the origin,
    under ``epoch``), ``held`` (``holder`` does), ``none`` (complete providers exist). A plan is valid
    for ``expires_in`` seconds and pushed anew as things change.
    """

    digest: str
    size: int
    providers: tuple[Provider, ...]
    lease: str
    epoch: int
    holder: str
    expires_in: float


class PlansStand(Struct, frozen=True, array_like=True, tag="stand"):
    """The last plans of these digests are valid for as long again."""

    digests: tuple[str, ...]


class LeaseLost(Struct, frozen=True, array_like=True, tag="lost"):
    """Lease ``epoch`` went to another node: stop streaming unless nobody else can go on."""

    digest: str
    epoch: int


class ReferenceAnswer(Struct, frozen=True, array_like=True, tag="answer"):
    """The answer to ``AskReference``; ``digest`` empty where unknown.

    ``lease``: ``granted`` (ask the origin, then say ``seen`` or ``unseen``), ``held`` (another node does, and
    the answer follows), or empty: this is the answer.
    """

    request: int
    digest: str = ""
    media_type: str = ""
    size: int = 0
    age: float = 0.0
    lease: str = ""


class Intent(Struct, frozen=True, array_like=True, tag="intent"):
    """To a node: pull these images, keep them pinned, report as ``IntentProgress``."""

    job: str
    images: tuple[str, ...]


class IntentCancel(Struct, frozen=True, array_like=True, tag="intent-cancel"):
    """To a node: stop the job."""

    job: str


class NodeReport(Struct, frozen=True, array_like=True):
    """One node in a job: ``state`` as in ``IntentProgress``, or ``waiting``, ``lost``, ``unknown``."""

    node: str
    name: str
    image: str
    state: str
    total: int
    sources: tuple[tuple[str, int], ...]
    detail: str = ""


class JobReport(Struct, frozen=True, array_like=True, tag="job"):
    """To the command: the whole table of its job, pushed about once a second and at the end."""

    job: str
    rows: tuple[NodeReport, ...]
    done: bool


class NodeRow(Struct, frozen=True, array_like=True):
    """One node as the tracker knows it; ``seen`` seconds ago; ``complete`` and ``partial`` blobs."""

    node: str
    name: str
    host: str
    port: int
    connected: bool
    seen: float
    complete: int
    partial: int


class NodeTable(Struct, frozen=True, array_like=True, tag="nodes"):
    """The answer to ``ListNodes``."""

    rows: tuple[NodeRow, ...]


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The tracker won't go on, and why; it closes the connection after."""

    reason: str


FromTracker = (
    Welcome
    | Plan
    | PlansStand
    | LeaseLost
    | ReferenceAnswer
    | Intent
    | IntentCancel
    | JobReport
    | NodeTable
    | Refused
)
