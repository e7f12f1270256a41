"""Who may have what of an upstream is not for everybody: nothing is given on the node's credentials alone.

One of three things proves it: a word of the operator about this client or this upstream in the front end's
own rules, the operator's list of what is shared, or credentials of the client's own that the upstream accepts
for the repository. Whoever has none of them is told the same about what is there and what is not.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import BlobRoute, ManifestRoute, ReferrersRoute, Route, UploadRoute, UploadsRoute
from p2p.origin.api import Kind
from p2p.origin.credentials import Credential
from p2p.origin.readable import Readable
from p2p.registry.auth.api import Action
from p2p.registry.auth.basic import parse_basic
from p2p.registry.auth.scope import Need, requested_name
from p2p.registry.flights import Flights
from p2p.registry.guesses import Guesses
from p2p.registry.policy import Names
from p2p.registry.replies import error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from p2p.config import PrivateSettings
    from p2p.core.oci.reference import Repository
    from p2p.net.message import Request, Response
    from p2p.origin.api import Gate
    from p2p.registry.api import Proofs, RequestStatistics
    from p2p.registry.auth.api import Principal
    from p2p.registry.auth.guard import Guard
    from p2p.registry.upstreams import Choice
    from p2p.registry.visibility import Visibility

ACCEPTED: Final = 300.0
"""Seconds that credentials are believed that the upstream accepted for a repository."""
REFUSED: Final = 10.0
"""Seconds that it is not asked again about those that it refused."""
REMEMBERED: Final = 4096
ASKING: Final = 8
"""Questions about credentials under way at once, by upstream."""

_READ: Final = ("GET", "HEAD")
_UNKNOWN: Final[Mapping[type[Route], str]] = {BlobRoute: "BLOB_UNKNOWN", ManifestRoute: "MANIFEST_UNKNOWN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What a front end needs to keep private content private.

    ``gate`` gives an upstream by name; ``likely`` says whether there may be credentials for any of them.
    """

    settings: PrivateSettings
    visibility: Visibility
    proofs: Proofs
    gate: Callable[[str], Gate]
    likely: Callable[[], bool] = lambda: False


class Proof:
    """The door to private repositories. ``guard`` None: the front end has no authentication of its own."""

    def __init__(self, privacy: Privacy, *, guard: Guard | None, statistics: RequestStatistics) -> None:
        self._visibility = privacy.visibility
        self._gate = privacy.gate
        self._likely = privacy.likely
        self._guard = guard
        self._statistics = statistics
        self._shared = Names(privacy.settings.shared, "private.shared")
        self._key = secrets.token_bytes(32)
        self._answers: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        """By keyed hash of repository and credentials: whether they were accepted, and how long it holds."""
        self._guesses = Guesses()
        self._flights: Flights[bool] = Flights()
        self._asking: dict[str, trio.CapacityLimiter] = {}

    async def admit(
        self, request: Request, choice: Choice, route: Route, principal: Principal
    ) -> Response | None:
        """Let a request about a repository pass (None), or answer it. Raises LocalError."""
        repository = choice.repository
        if choice.hosted or not await self._visibility.learn(repository, wanted_by(route)):
            return None
        writes = request.method not in _READ or isinstance(route, UploadsRoute | UploadRoute)
        action = Action.PUSH if writes else Action.PULL
        name = requested_name(choice.name, choice.namespace)
        proven = str(repository) in self._shared
        if not proven and self._guard is not None:
            # Without an upstream in it a name may be meant for what is hosted here.
            called = name if choice.namespace is not None or choice.prefixed else str(repository)
            proven = self._guard.proves(principal, called, str(repository), action)
        # What a client may read with its own credentials says nothing about what it may push with the node's.
        if not proven and not writes and (self._guard is None or not self._guard.asks):
            proven = await self._accepted(repository, route, request)
        if proven:
            await self._visibility.admitted(repository)
            return None
        self._statistics.private_refused += 1
        return self._refusal(choice, route, principal, Need(name, action))

    def greet(self, response: Response) -> Response:
        """Say in the answer to ``/v2/`` that credentials may help: some clients learn it there or never."""
        asks = self._guard is not None and self._guard.asks
        return response if asks or not self._likely() else with_challenge(response, "remora")

    async def _accepted(self, repository: Repository, route: Route, request: Request) -> bool:
        """Whether the client gave credentials that the upstream accepts for this repository."""
        given = [value for name, value in request.headers if name == b"authorization"]
        credential = read_credential(given[0].decode("latin-1")) if len(given) == 1 else None
        if credential is None:
            return False
        # Fields are told apart by their lengths: no credentials look like others of another repository.
        fields = (str(repository), credential.username, credential.password)
        text = b"".join(b"%d:%b" % (len(field), field) for field in (one.encode() for one in fields))
        key = hashlib.blake2b(text, key=self._key, digest_size=32).digest()
        known = self._answers.get(key)
        if known is not None and trio.current_time() < known[1]:
            return known[0]
        client = request.peer.rpartition(":")[0]
        if not self._guesses.allowed(client, trio.current_time()):
            return False
        accepted = await self._flights.ask(key, lambda: self._ask(key, repository, route, credential))
        if not accepted:
            self._guesses.wrong(client, trio.current_time())
        return accepted

    async def _ask(self, key: bytes, repository: Repository, route: Route, credential: Credential) -> bool:
        async with self._asking.setdefault(repository.registry, trio.CapacityLimiter(ASKING)):
            gate = self._gate(repository.registry)
            found = await gate.readable(repository.path, wanted_by(route), credential)
        accepted = found is Readable.YES
        if found is not Readable.UNKNOWN:
            self._answers[key] = accepted, trio.current_time() + (ACCEPTED if accepted else REFUSED)
            self._answers.move_to_end(key)
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return accepted

    def _refusal(self, choice: Choice, route: Route, principal: Principal, need: Need) -> Response:
        """Refuse in the way that helps the client, and that tells nothing of what is there.

        A runtime that uses the node as a mirror gets a 404 and goes to the upstream by itself: it would take
        a 401 for the mirror's own, or stop there. Where the path names the upstream a client can be asked.
        """
        cause = (
            f"{choice.repository} is private at its upstream, and nothing shows that this client may have it"
        )
        if choice.namespace is not None or not choice.prefixed:
            unknown = _UNKNOWN.get(type(route), "NAME_UNKNOWN")
            mend = "Ask the upstream itself, or the node's operator for private.shared"
            return error_response(RegistryError(unknown, cause, status=404, mend=mend), unknown)
        if self._guard is not None and self._guard.asks:
            mend = "Ask the operator for a rule that names you or this upstream, or for private.shared"
            return self._guard.unproven(principal, need, RegistryError("DENIED", cause, mend=mend))
        if need.action is Action.PUSH:
            mend = "Push to the upstream itself, or ask the operator for private.shared"
            return error_response(RegistryError("DENIED", cause, mend=mend), "DENIED")
        mend = "Log in to this node with a user and password of the upstream, or ask for private.shared"
        response = error_response(RegistryError("UNAUTHORIZED", cause, mend=mend), "UNAUTHORIZED")
        return with_challenge(response, str(choice.repository))


def wanted_by(route: Route) -> tuple[Kind, str] | None:
    """Say what of a repository a request asks for, as its upstream is asked; None for nothing of its own."""
    match route:
        case BlobRoute(digest=digest):
            return Kind.BLOB, str(digest)
        case ManifestRoute(tag=tag, digest=digest):
            return Kind.MANIFEST, str(digest or tag)
        case ReferrersRoute(digest=digest):
            return Kind.MANIFEST, str(digest)
        case _:
            return None


def read_credential(authorization: str) -> Credential | None:
    """Read a Basic header with a user and a password; None for anything else. Nothing is checked."""
    found = parse_basic(authorization)
    if found is None or not found[0] or not found[1]:
        return None
    try:
        return Credential(found[0], found[1].decode("utf-8"))
    except UnicodeDecodeError:
        return None


def with_challenge(response: Response, realm: str) -> Response:
    """Add a Basic challenge; ``realm`` is a name without quotes."""
    header = (b"WWW-Authenticate", f'Basic realm="{realm}", charset="UTF-8"'.encode("ascii"))
    return replace(response, headers=(*response.headers, header))
