"""Who may read a repository: asked of its upstream as somebody, and answered by whether it gives anything.

A token proves nothing: many realms hand one to everybody, and the registry looks at it later. So what is
asked for is content, by HEAD; and where that is not there, the list of tags, which every reader may see.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from p2p.errors import OriginDeniedError, OriginError, OriginNotFoundError, OriginStatusError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.origin.session import Ask, Session


class Readable(Enum):
    """Whether somebody may read a repository."""

    YES = "yes"
    NO = "no"
    ABSENT = "absent"
    """There is nothing of it, or it is hidden from them: a registry need not say which."""
    UNKNOWN = "unknown"
    """The upstream can't be asked now."""


async def readable(session: Session, asks: Iterable[Ask]) -> Readable:
    """Ask one after the other until one is answered by yes or no; raises nothing that the upstream causes."""
    for ask in asks:
        found = await _told(session, ask)
        if found is not Readable.ABSENT:
            return found
    return Readable.ABSENT


async def _told(session: Session, ask: Ask) -> Readable:
    try:
        answer = await session.small(ask)
    except OriginDeniedError:
        return Readable.NO
    except OriginNotFoundError:
        return Readable.ABSENT
    except OriginStatusError as error:
        # 405 and their like: not this way, perhaps the next.
        return Readable.ABSENT if 400 <= error.status < 500 else Readable.UNKNOWN
    except OriginError:
        return Readable.UNKNOWN
    await answer.discard()
    return Readable.YES
