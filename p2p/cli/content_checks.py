"""What ``remora doctor`` asks of the content that front ends share: is it reached, and can it be written."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import trio

from p2p.cli.checks import Finding, Verdict
from p2p.errors import ConfigError, ContentError, RemoraError

if TYPE_CHECKING:
    from p2p.config import NodeSettings
    from p2p.content.api import SharedContent

SECONDS = 30.0
THING = "hosting.content"


async def check_content(settings: NodeSettings) -> list[Finding]:
    """Put an empty object, list it, remove it. None where no content is configured."""
    from p2p.content.factory import open_content

    url = settings.hosting.content
    if not url:
        return []
    try:
        with trio.fail_after(SECONDS):
            async with open_content(url, settings.hosting.content_options) as content:
                await _try(content)
    except RemoraError as error:
        where = "" if isinstance(error, ConfigError) else f"{error.subject}: "
        return [Finding(Verdict.BAD, THING, f"{where}{error.cause}", error.mend)]
    except trio.TooSlowError:
        return [Finding(Verdict.BAD, THING, f"{url}: no answer within {SECONDS:g} s", "Check the endpoint")]
    return [Finding(Verdict.GOOD, THING, f"{url} can be read and written")]


async def _try(content: SharedContent) -> None:
    # A node takes what is left of it, should this be interrupted, for an orphan.
    key = f"doctor/{secrets.token_hex(8)}"
    fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await content.put(key, fd, 0)
    finally:
        os.close(fd)
    listed = [one.key for one in await content.keys(key[:-1], 1)]
    await content.remove(key)
    if listed != [key]:
        raise ContentError(content.name, "what was put is not listed", "A server that lags is none for this")
