"""Shared content in a bucket of S3, or of a server that speaks it.

By obstore, in threads: a node that keeps nothing in S3 never loads it. Large objects are put in parts, and
read as one stream.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import trio

from p2p.content.api import ContentObject
from p2p.content.body import ThreadBody
from p2p.content.lent import LentFile
from p2p.errors import ConfigError, ContentError, ContentMissingError, ContentRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from obstore.store import S3Store

    from p2p.content.api import ContentContext

    T = TypeVar("T")

THREADS: Final = 16
LARGE_PUTS: Final = 3
"""Objects of more than ``STREAM`` bytes that are put at once: each has ``PARTS + 1`` parts in memory."""
PART: Final = 8 << 20
"""Bytes of one part of what is put; an object of no more is put in one request."""
PARTS: Final = 3
"""Parts of one object that are under way at once, and in memory."""
MOST_PARTS: Final = 9000
"""S3 takes 10,000."""
STREAM: Final = 1 << 20
"""Bytes that a stream gathers before it gives them."""

# A reader's client waits for its first byte: two tries must end before registry.first_byte_timeout does.
READ_SECONDS: Final = 8.0
WRITE_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 5.0
"""After all tries of a request failed: to be told to the client, and not to be tried again before."""
BROKEN_SECONDS: Final = 1.0
"""After a stream broke: it goes on where it stopped."""
_WHOLE: Final = timedelta(hours=6)
_OPTIONS: Final = ("endpoint", "region", "virtual_hosted", "unsigned_payload", "ca_file")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_REFUSED: Final = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AllAccessDisabled",
    }
)


class S3Content:
    """``SharedContent`` in a bucket. ``reads`` gives up soon, ``writes`` does not."""

    def __init__(self, name: str, *, reads: S3Store, writes: S3Store) -> None:
        self.name = name
        self._reads = reads
        self._writes = writes
        self._threads = trio.CapacityLimiter(THREADS)
        self._large = trio.CapacityLimiter(LARGE_PUTS)

    async def put(self, key: str, fd: int, size: int) -> None:
        """See ``SharedContent``."""
        part = max(PART, -(-size // MOST_PARTS))

        def put(lent: LentFile) -> None:
            if size <= part:
                data = b"".join(_parts(lent, size, max(1, size)))
                self._writes.put(key, data, use_multipart=False)
            else:
                self._writes.put(key, _parts(lent, size, part), chunk_size=part, max_concurrency=PARTS)

        try:
            await LentFile(fd).work(put, self._threads if size <= STREAM else self._large)
        except Exception as error:  # obstore raises plain exceptions too: ContentError whatever it is
            raise self._mapped(key, error) from error

    @asynccontextmanager
    async def open(self, key: str, offset: int = 0, stop: int | None = None) -> AsyncGenerator[ThreadBody]:
        """See ``SharedContent``."""
        size, stream = await self._run(key, lambda: self._opened(key, offset, stop))
        end = size if stop is None else min(stop, size)
        if offset > size:
            raise ContentError(self.name, f"{key} has {size} bytes, not {offset}")
        left = memoryview(b"")

        def fill(view: memoryview) -> int:
            nonlocal left
            if not left:
                left = memoryview(next(stream, b""))
            count = min(len(view), len(left))
            view[:count] = left[:count]
            left = left[count:]
            return count

        yield ThreadBody(
            self.name,
            fill,
            size=size,
            offset=offset,
            stop=end,
            limiter=self._threads,
            mapped=lambda error: self._mapped(key, error, again=BROKEN_SECONDS),
        )

    async def remove(self, key: str) -> None:
        """See ``SharedContent``."""
        try:
            await self._run(key, lambda: self._writes.delete(key))
        except ContentMissingError:
            return

    async def keys(self, last: str = "", n: int = 1000) -> Sequence[ContentObject]:
        """See ``SharedContent``."""
        return await self._run("its list", lambda: self._listed(last, n))

    async def _run(self, key: str, work: Callable[[], T]) -> T:
        try:
            # What they do has an end of its own, and does no harm behind the back of who left.
            return await trio.to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)
        except Exception as error:  # obstore raises plain exceptions too: ContentError whatever it is
            raise self._mapped(key, error) from error

    # In threads

    def _opened(self, key: str, offset: int, stop: int | None) -> tuple[int, Iterator[bytes]]:
        if offset == 0 and stop is None:
            got = self._reads.get(key)
        else:
            try:
                wanted: Any = {"offset": offset} if stop is None else (offset, stop)
                got = self._reads.get(key, options={"range": wanted})
            except (
                Exception
            ) as error:  # obstore has no type for 416: its text is looked at, all else is raised again
                if _said(_STATUS, error) != "416":
                    raise
                return int(self._reads.head(key)["size"]), iter(())
        # Its parts have the buffer protocol, and are never more than are read here.
        stream = cast("Iterator[bytes]", iter(got.stream(min_chunk_size=STREAM)))
        return int(got.meta["size"]), stream

    def _listed(self, last: str, n: int) -> list[ContentObject]:
        found: list[ContentObject] = []
        for page in self._reads.list(offset=last or None, chunk_size=min(n, 1000)):
            for one in page:
                if one["path"] > last:  # it leaves out a slash at the end of what it is to begin after
                    found.append(ContentObject(one["path"], one["size"], one["last_modified"]))
                if len(found) == n:
                    return found
        return found

    def _mapped(self, key: str, error: Exception, *, again: float = AGAIN_SECONDS) -> ContentError:
        if isinstance(error, ContentError):
            return error
        code, status = _said(_CODE, error), _said(_STATUS, error)
        if code == "NoSuchBucket":
            return ContentRefusedError(
                self.name, "there is no such bucket", "Make it, or mend hosting.content"
            )
        if code in _REFUSED or status in ("401", "403"):
            return ContentRefusedError(
                self.name,
                f"{key}: it refuses the node's credentials{f' ({code})' if code else ''}",
                "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the node, and the bucket's policy",
            )
        if isinstance(error, FileNotFoundError):
            return ContentMissingError(self.name, f"it has no object {key}")
        what = f" ({code})" if code else ""
        cause = f"it answered {status}{what}" if status else _shortened(str(error))
        return ContentError(
            self.name,
            f"{key}: {cause}",
            "Check that the server at the endpoint runs and is reached",
            retry_after=again,
        )


def _parts(lent: LentFile, size: int, part: int) -> Iterator[bytes]:
    at = 0
    while at < size:
        data = os.pread(lent.check(), min(part, size - at), at)
        if not data:
            raise OSError(f"the file to be put has {at} bytes, not {size}")
        at += len(data)
        yield data


def _said(pattern: re.Pattern[str], error: Exception) -> str:
    found = pattern.search(str(error))
    return found[1] if found else ""


def _shortened(text: str) -> str:
    """Leave out what is for the library's developers: it names requests, and has lines without end."""
    first = text.partition("\n\nDebug source")[0].strip().replace("\n", " ")
    return first if len(first) <= 300 else f"{first[:300]}…"


@asynccontextmanager
async def open_s3(context: ContentContext) -> AsyncGenerator[S3Content]:
    """Open ``s3://bucket/prefix``. Credentials are the environment's, or the machine's own."""
    parts = urlsplit(context.url)
    if not parts.hostname or parts.query or parts.username is not None or parts.port is not None:
        raise ConfigError(
            "hosting.content",
            f"{_without_user(context.url)!r} names no bucket alone",
            "Write s3://bucket/prefix; credentials come from the environment, AWS_ACCESS_KEY_ID and its like",
        )
    options = _options(context.options)
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise ConfigError(
            "hosting.content", "s3:// needs the package obstore", "Install remora[s3]"
        ) from error

    def store(seconds: float, tries: int) -> S3Store:
        settings: dict[str, Any] = {
            "client_options": {
                "allow_http": options.get("endpoint", "").startswith("http://"),
                "connect_timeout": timedelta(seconds=3),
                "read_timeout": timedelta(seconds=seconds),
                "timeout": _WHOLE,
                **_certificates(options.get("ca_file", "")),
            },
            "retry_config": {
                "max_retries": tries,
                "retry_timeout": timedelta(seconds=2 * seconds),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=2),
                    "base": 2,
                },
            },
        }
        if "endpoint" in options:
            settings["endpoint"] = options["endpoint"]
        if "region" in options:
            settings["region"] = options["region"]
        for option, name in (("virtual_hosted", "virtual_hosted_style_request"), ("unsigned_payload",) * 2):
            if option in options:
                settings[name] = options[option] == "true"
        prefix = parts.path.strip("/")
        return S3Store(parts.hostname, prefix=prefix or None, **settings)

    try:
        reads, writes = store(READ_SECONDS, 1), store(WRITE_SECONDS, 4)
    except Exception as error:  # wrong options come as many types: ConfigError names the setting
        raise ConfigError(
            "hosting.content",
            f"{context.url} can't be used: {_shortened(str(error))}",
            "Check hosting.content_options",
        ) from error
    yield S3Content(context.url, reads=reads, writes=writes)


def _options(given: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for one in given:
        key, _, value = one.partition("=")
        if key not in _OPTIONS or not value:
            raise ConfigError(
                "hosting.content_options",
                f"there is no option {key!r}" if key not in _OPTIONS else f"{key} has no value",
                f"Known: {', '.join(_OPTIONS)}. Credentials come from the environment",
            )
        options[key] = value
    return options


def _certificates(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return {"root_certificate": Path(path).read_bytes()}
    except OSError as error:
        raise ConfigError(
            "hosting.content_options", f"ca_file {path}: {error.strerror}", "Name a readable PEM file"
        ) from error


def _without_user(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", url)
