"""Opening shared content: the implementation is found by the URL's scheme, among entry points."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from p2p import extensions
from p2p.content.api import ContentContext
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from p2p.content.api import SharedContent


@asynccontextmanager
async def open_content(url: str, options: Sequence[str] = ()) -> AsyncGenerator[SharedContent]:
    """Open what ``hosting.content`` names. ConfigError where nothing does, or where it is named wrongly."""
    scheme = urlsplit(url).scheme
    if not scheme:
        raise ConfigError("hosting.content", "it is not a URL", "Write file:///mnt/x or s3://bucket/prefix")
    opener = extensions.load(extensions.CONTENT, scheme)
    if not callable(opener):
        raise ConfigError(
            f"{extensions.CONTENT} {scheme}", "its entry point is no function", "Tell its author"
        )
    part = cast(
        "AbstractAsyncContextManager[SharedContent]", opener(ContentContext(url=url, options=tuple(options)))
    )
    async with part as content:
        yield content
