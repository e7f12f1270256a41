"""The guard at the front end's door: in, or 401 with a challenge, or 403."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import VersionRoute
from p2p.registry.auth.api import ANONYMOUS, CATALOG, Action, Principal
from p2p.registry.auth.chain import NoAuthenticator
from p2p.registry.auth.scope import Need, is_greeting, mount_source, need_of, scope_of
from p2p.registry.replies import error_response, json_response

if TYPE_CHECKING:
    from p2p.core.oci.route import Route
    from p2p.net.message import Request, Response
    from p2p.registry.auth.api import Authenticator
    from p2p.registry.auth.rules import AccessRules

INVALID_TOKEN = "invalid_token"  # noqa: S105 - an error's name (RFC 6750, 3.1), no secret
INSUFFICIENT_SCOPE = "insufficient_scope"

log = structlog.get_logger(__name__)


class Guard:
    """Lets requests through by ``rules``, to whoever ``authenticator`` says that they come from."""

    def __init__(self, authenticator: Authenticator, rules: AccessRules) -> None:
        self._authenticator = authenticator
        self._rules = rules

    async def admit(self, request: Request, route: Route) -> Principal | Response:
        """Say who may go in, or give the answer that the client gets instead.

        It is asked before anything is looked up, so that no answer depends on what is here. Wrong
        credentials are 401 even where none would do: a client must not take them for right.
        """
        needs = self._needs(request, route)
        principal = await self._identify(request)
        if principal is None:
            log.info("credentials refused", peer=request.peer, method=request.method, path=request.path)
            return self._challenge("the credentials are not valid", needs, INVALID_TOKEN)
        if is_greeting(request.method, route):
            return self._greet(principal, route)
        for need in needs[:1]:  # a mount's source is only asked for: without it an upload begins
            if not self._rules.may(principal, need.repository, need.action):
                return self._refuse(principal, need, needs)
        return principal

    def may(self, principal: Principal, repository: str, action: Action) -> bool:
        """Whether somebody who is in may do this too: pull from the source of a mount, for one."""
        return self._rules.may(principal, repository, action)

    @property
    def asks(self) -> bool:
        """Whether clients can log in here at all: an ``Authorization`` is then for this node."""
        return not isinstance(self._authenticator, NoAuthenticator)

    def proves(self, principal: Principal, repository: str, canonical: str, action: Action) -> bool:
        """Whether somebody who is in may have private content; see ``AccessRules.proves``."""
        return self._rules.proves(principal, repository, canonical, action)

    def unproven(self, principal: Principal, need: Need, refusal: RegistryError) -> Response:
        """Ask somebody who is in without a name for one; else give the refusal."""
        if principal.identified:
            return error_response(refusal, "DENIED")
        return self._challenge(refusal.message, (need,), mend=refusal.mend)

    def _needs(self, request: Request, route: Route) -> tuple[Need, ...]:
        need = need_of(request.method, route)
        if need is None:
            return ()
        source = mount_source(route)
        return (need,) if source is None else (need, Need(source, Action.PULL))

    async def _identify(self, request: Request) -> Principal | None:
        given = [value for name, value in request.headers if name == b"authorization"]
        if not given:
            return ANONYMOUS
        if len(given) > 1:  # a proxy may have looked at the other one
            return None
        return await self._authenticator.authenticate(given[0].decode("latin-1"))

    def _greet(self, principal: Principal, route: Route) -> Principal | Response:
        """Answer ``/v2/``: clients learn here, and many only here, how to log in."""
        challenges = self._authenticator.challenges("")
        if principal.identified or not challenges:
            return principal
        if not self._rules.anonymous_may_something():
            return self._challenge("authentication is required", ())
        if isinstance(route, VersionRoute):
            # RFC 9110, 11.6.1: on a success it says that credentials might make a difference.
            return json_response(200, {}, _headers(challenges))
        return principal

    def _refuse(self, principal: Principal, need: Need, needs: tuple[Need, ...]) -> Response:
        if not principal.identified:
            return self._challenge("authentication is required", needs)
        narrow = not principal.covers(need.repository, need.action)
        if narrow and self._rules.permits(principal, need.repository, need.action):
            # RFC 6750 says 403, but it is a 401 that makes clients get a token with this scope.
            return self._challenge("the token does not allow this", needs, INSUFFICIENT_SCOPE)
        return error_response(_denied(need), "DENIED")

    def _challenge(
        self, cause: str, needs: tuple[Need, ...], error: str = "", mend: str = "Log in with: docker login"
    ) -> Response:
        challenges = self._authenticator.challenges(scope_of(needs), error)
        if not challenges:
            return error_response(_denied(needs[0] if needs else None), "DENIED")
        detail = [{"name": need.repository, "action": str(need.action)} for need in needs] or None
        refusal = RegistryError("UNAUTHORIZED", cause, detail, mend=mend)
        response = error_response(refusal, "UNAUTHORIZED")
        return replace(response, headers=(*response.headers, *_headers(challenges)))


def _headers(challenges: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((b"WWW-Authenticate", challenge.encode("ascii")) for challenge in challenges)


def _denied(need: Need | None) -> RegistryError:
    if need is None:
        return RegistryError("DENIED", "access is denied")
    what = "the catalog" if need.repository == CATALOG else f"repository {need.repository}"
    return RegistryError(
        "DENIED",
        f"{need.action} of {what} is not allowed",
        {"name": need.repository, "action": str(need.action)},
        mend="Ask the operator for a rule that grants it",
    )
