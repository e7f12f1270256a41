"""Copy an image with all its platforms and all that refers to it, telling how it goes.

    python copy_image.py docker.io/library/alpine:3.20 registry.example/alpine:3.20

Credentials are those that ``docker login`` stored.
"""

from __future__ import annotations

import sys

import trio

from p2p import BlobAdvanced, BlobBegan, Client, Event, RemoraError


async def show(events: trio.MemoryReceiveChannel[Event]) -> None:
    """Print a line when a blob is at its target."""
    sizes: dict[str, int] = {}
    async for event in events:
        digest = str(event.digest)
        match event:
            case BlobBegan(size=size, held=held):
                sizes[digest] = size
                if held == size:
                    print(f"{digest} is there already")
            case BlobAdvanced(held=held):
                if held == sizes[digest]:
                    print(f"{digest} {held} bytes copied")


async def main(source: str, target: str) -> None:
    """Copy, with the events in a task of their own."""
    send, receive = trio.open_memory_channel[Event](float("inf"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show, receive)
        async with send, Client() as client:
            copied = await client.copy(
                source, target, all_platforms=True, referrers=True, progress=send.send_nowait
            )
    print(f"{copied.image} is {copied.digest}")
    print(f"{copied.uploaded} blobs uploaded, {copied.mounted} mounted, {copied.skipped} were there")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        trio.run(main, sys.argv[1], sys.argv[2])
    except* RemoraError as group:
        sys.exit("\n".join(str(error) for error in group.exceptions))
