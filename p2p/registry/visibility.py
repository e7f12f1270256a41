"""Whether a repository of an upstream is public: asked of the upstream as anybody, and believed for a while.

Where this node has no credentials for an upstream, all that it gets there is public, and nobody is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from p2p.errors import OriginNotFoundError
from p2p.metadata.private import OWN_SUFFIX, VisibilityRow
from p2p.origin.readable import Readable
from p2p.registry.flights import Flights

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.core.oci.reference import Repository
    from p2p.metadata.private import VisibilityRecords
    from p2p.origin.api import Gate, Kind

log = structlog.get_logger(__name__)

REMEMBERED: Final = 16_384
"""Repositories whose visibility is known without a look into the database."""

DOUBT: Final = 10.0
"""Seconds that a repository counts as private of which there is nothing to be seen."""

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

Wanted = tuple["Kind", str]


@dataclass(frozen=True, slots=True)
class _Known:
    """``written``: the database has it too. ``assumed``: by the lack of credentials alone."""

    private: bool
    judged_at: datetime
    written: bool = False
    assumed: bool = False
    doubted: bool = False


class Visibility:
    """Judgements by repository. ``gate`` gives an upstream by name, ``max_age`` is in seconds.

    ``turned`` is told of a repository that was found to be private, or public, and not known to be so.
    """

    def __init__(
        self,
        *,
        records: VisibilityRecords,
        gate: Callable[[str], Gate],
        max_age: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._records = records
        self._gate = gate
        self._max_age = max_age
        self._now = now
        self._known: OrderedDict[Repository, _Known] = OrderedDict()
        self._flights: Flights[bool] = Flights()
        self._told: OrderedDict[Repository, bool] = OrderedDict()
        """What the log was told last."""
        self.turned: Callable[[Repository, bool], Awaitable[None]] | None = None

    def is_private(self, repository: Repository) -> bool:
        """Tell what was found out last; of what is not known, that it is private."""
        if repository.registry.endswith(OWN_SUFFIX):
            return False
        known = self._known.get(repository)
        return known is None or known.private

    async def kept(self, repository: Repository) -> bool:
        """Tell whether a repository is private without asking its upstream."""
        if repository.registry.endswith(OWN_SUFFIX) or repository in self._known:
            return self.is_private(repository)
        row = await self._records.visibility(repository)
        if row is not None:
            return row.private
        try:
            return await self._gate(repository.registry).holds_credentials()
        except OriginNotFoundError:
            return True  # the upstream is configured no more

    async def learn(self, repository: Repository, wanted: Wanted | None = None) -> bool:
        """Tell whether a repository is private, finding it out if need be. Raises LocalError.

        ``wanted`` is what of it is asked for. Where its upstream can't be asked it counts as private.
        """
        if repository.registry.endswith(OWN_SUFFIX):
            return False
        known = self._known.get(repository)
        if known is not None and await self._fresh(repository, known):
            return known.private
        return await self._flights.ask(repository, lambda: self._judge(repository, wanted))

    async def admitted(self, repository: Repository) -> None:
        """Keep what was found out for the next start: somebody may read the repository, so it is there.

        Before that nobody could fill the database with names that no upstream has. Raises LocalError.
        """
        known = self._known.get(repository)
        if known is not None and not (known.written or known.assumed or known.doubted):
            await self._write(repository, known)

    async def _fresh(self, repository: Repository, known: _Known) -> bool:
        if known.assumed:
            return not await self._gate(repository.registry).holds_credentials()
        # A clock that was set back must not keep a judgement for ever.
        age = abs((self._now() - known.judged_at).total_seconds())
        return age < (DOUBT if known.doubted else self._max_age)

    async def _judge(self, repository: Repository, wanted: Wanted | None) -> bool:
        before = self._known.get(repository)
        if before is None or before.assumed:
            row = await self._records.visibility(repository)
            if row is not None:
                before = _Known(row.private, row.judged_at, written=True)
                if await self._fresh(repository, before):
                    return self._keep(repository, before)
        gate = self._gate(repository.registry)
        # What came with credentials does not become public because these were taken away.
        if not await gate.holds_credentials() and (before is None or not before.private):
            return self._keep(repository, _Known(False, _NEVER, assumed=True))
        found = await gate.readable(repository.path, wanted, None)
        written = before is not None and before.written
        if found is Readable.UNKNOWN:
            return self._keep(repository, _Known(True, _NEVER, written=written, doubted=True))
        doubted = found is Readable.ABSENT
        now = _Known(found is not Readable.YES, self._now(), written=written, doubted=doubted)
        self._keep(repository, now)
        if not doubted:
            try:
                await self._settle(repository, before, now)
            except BaseException:
                self._known.pop(repository, None)  # it was not acted on: as if it were not known
                raise
        return now.private

    async def _settle(self, repository: Repository, before: _Known | None, now: _Known) -> None:
        """Act on a judgement that is not what was known, and keep one that replaces another."""
        if before is None or before.doubted or before.private != now.private:
            self._tell(repository, now.private)
            if self.turned is not None:
                await self.turned(repository, now.private)
        if now.written or not now.private:
            await self._write(repository, now)

    def _tell(self, repository: Repository, private: bool) -> None:
        if self._told.get(repository, False) == private:
            return
        self._told[repository] = private
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        if private:
            log.info(
                "repository is private: clients must prove access, and peers get nothing of it",
                repository=str(repository),
            )
        else:
            log.info("repository is no longer private", repository=str(repository))

    async def _write(self, repository: Repository, known: _Known) -> None:
        row = VisibilityRow(private=known.private, judged_at=known.judged_at)
        await self._records.put_visibility(repository, row)
        if self._known.get(repository) is known:
            self._keep(repository, _Known(known.private, known.judged_at, written=True))

    def _keep(self, repository: Repository, known: _Known) -> bool:
        self._known[repository] = known
        self._known.move_to_end(repository)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known.private
