"""What a node asks a tracker about tags, and waits for: answers by number, each within its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.wire.tracker import AskReference
from p2p.discovery.api import KnownReference

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.wire.tracker import ReferenceAnswer

ANSWER_TIMEOUT = 1.0
"""For what the origin can't be asked."""

TURN_TIMEOUT = 0.25
"""For a word on who asks the origin: no longer than asking it takes."""

HELD_TIMEOUT = 2.0
"""For the answer that another node gets."""


@dataclass(slots=True)
class _Question:
    answer: ReferenceAnswer | None = None
    changed: trio.Event = field(default_factory=trio.Event)


class Questions:
    """``tell`` sends a question; ``answered`` and ``gone`` are the connection's to call."""

    def __init__(self, tell: Callable[[AskReference], None]) -> None:
        self._tell = tell
        self._open: dict[int, _Question] = {}
        self._count = 0

    async def find(self, repository: str, reference: str) -> KnownReference | None:
        """Ask what a tag pointed to when anybody saw it last."""
        number, question = self._begin(repository, reference)
        try:
            with trio.move_on_after(ANSWER_TIMEOUT):
                await question.changed.wait()
        finally:
            del self._open[number]
        return _known(question.answer)

    async def ask_first(self, repository: str, reference: str, max_age: float) -> KnownReference | None:
        """Ask whether another node has asked the origin, or does so now; None: it is this node's to ask."""
        number, question = self._begin(repository, reference, fresh=True, max_age=max_age)
        try:
            with trio.move_on_after(TURN_TIMEOUT):
                await question.changed.wait()
            if question.answer is not None and question.answer.lease == "held":
                with trio.move_on_after(HELD_TIMEOUT):
                    await question.changed.wait()
        finally:
            del self._open[number]
        return _known(question.answer)

    def answered(self, message: ReferenceAnswer) -> None:
        """An answer came."""
        question = self._open.get(message.request)
        if question is not None:
            question.answer = message
            question.changed.set()
            question.changed = trio.Event()

    def gone(self) -> None:
        """No answer comes any more."""
        for question in self._open.values():
            question.answer = None
            question.changed.set()
            question.changed = trio.Event()

    def _begin(
        self, repository: str, reference: str, *, fresh: bool = False, max_age: float = 0.0
    ) -> tuple[int, _Question]:
        self._count += 1
        question = self._open[self._count] = _Question()
        self._tell(AskReference(self._count, repository, reference, fresh, max_age))
        return self._count, question


def _known(answer: ReferenceAnswer | None) -> KnownReference | None:
    if answer is None or not answer.digest:
        return None
    try:
        digest = Digest.parse(answer.digest)
    except RegistryError:
        return None
    return KnownReference(digest, answer.media_type, answer.size, answer.age)
