"""All upstreams of a node, by name: a closed list, looked up and never dialled by what a client says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.errors import ConfigError, OriginNotFoundError
from p2p.origin.credentials import CredentialSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from p2p.config import UpstreamSettings
    from p2p.origin.client import RegistryOrigin


class Origins:
    """The upstreams, each made when it is first asked for; closed with ``aclose`` or ``async with``."""

    def __init__(
        self,
        upstreams: Mapping[str, UpstreamSettings],
        *,
        user_agent: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._upstreams = dict(upstreams)
        self._user_agent = user_agent
        self._environment = environment
        self._made: dict[str, RegistryOrigin] = {}
        self._names: dict[str, str] = {}
        self._credentials = {name: CredentialSource(one, environment) for name, one in upstreams.items()}
        """For the questions below; an upstream that is made looks for itself."""
        for name, settings in upstreams.items():
            for known in (name, *settings.aliases):
                other = self._names.setdefault(known.lower(), name)
                if other != name:
                    raise ConfigError(
                        f"upstreams.{name}",
                        f"its name or alias {known!r} is taken by {other!r}",
                        "Give each upstream names of its own",
                    )

    def find(self, name: str) -> RegistryOrigin:
        """Give the upstream of this name or alias; OriginNotFoundError if none is configured."""
        canonical = self._names.get(name.lower())
        if canonical is None:
            raise OriginNotFoundError(
                name[:80], "no such upstream is configured", f"Add upstreams.{name[:80]} with its url"
            )
        if canonical not in self._made:
            # httpx and its kin cost 10 MB and 0.15 s: a node that never asks an origin does without.
            from p2p.origin.client import RegistryOrigin

            self._made[canonical] = RegistryOrigin(
                canonical,
                self._upstreams[canonical],
                user_agent=self._user_agent,
                environment=self._environment,
            )
        return self._made[canonical]

    async def holds_credentials(self, name: str) -> bool:
        """Whether this node has credentials for an upstream, without making it; of an unknown one: no."""
        canonical = self._names.get(name.lower())
        if canonical is None:
            return False
        return (await self._credentials[canonical].get()).credential is not None

    def may_hold_credentials(self) -> bool:
        """Whether there may be credentials for any of them, as far as can be told without asking helpers."""
        return any(source.likely() for source in self._credentials.values())

    def __iter__(self) -> Iterator[str]:
        """The canonical names."""
        return iter(self._upstreams)

    @property
    def used(self) -> tuple[RegistryOrigin, ...]:
        """Those that were asked for so far."""
        return tuple(self._made.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections of all upstreams."""
        made, self._made = self._made, {}
        for origin in made.values():
            await origin.aclose()


def open_origins(
    upstreams: Mapping[str, UpstreamSettings],
    *,
    user_agent: str = "remora",
    environment: Mapping[str, str] | None = None,
) -> Origins:
    """Make the registry of upstreams; connects to none. ConfigError where two share a name."""
    return Origins(upstreams, user_agent=user_agent, environment=environment)
