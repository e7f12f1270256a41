"""Everything at once on few digests, with a model beside it that says what must stay and what must go.

``REMORA_RACES`` is how many runs there are, ``REMORA_RACES_SEED`` where they begin.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import StoreSettings
from p2p.content.memory import MemoryContent
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.registry.sharing import OWNER
from p2p.store.disk import DiskStore
from tests.support.push_crash import opened
from tests.support.push_rig import NAME, Bytes, Push, descriptor
from tests.support.registry_rig import CONFIG, LAYER, read
from tests.support.store_rig import HASHER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from p2p.net.message import Response

RUNS = int(os.environ.get("REMORA_RACES", "10"))
SEED = int(os.environ.get("REMORA_RACES_SEED", "1"))
ROUNDS = 12
AT_ONCE = 12
NAMES = (NAME, "team/other")
CONTENTS = tuple(bytes([65 + number]) * (number * 3000 + 1) for number in range(4))
DIGESTS = tuple(map(Digest.of, CONTENTS))
HALF, BOTH = timedelta(days=0.5), timedelta(days=2)
"""A collection that much later ends no lease, or all of them."""


def image(numbers: Sequence[int]) -> bytes:
    """A manifest over some contents."""
    config, layer = (
        descriptor(kind, DIGESTS[number], CONTENTS[number])
        for kind, number in zip((CONFIG, LAYER), numbers, strict=True)
    )
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    return json.dumps(document).encode()


REFERS = ((0, 1), (0, 2), (3, 2))
IMAGES = tuple(map(image, REFERS))
TOPS = tuple(map(Digest.of, IMAGES))
Key = tuple[str, int]


class Race:
    """One run of many rounds: some requests at once, then silence, in which all is compared.

    Each request goes to any of the front ends, which have one database and one shared content, if any.

    ``images`` are those that are there. In a round ``tried`` counts, by verb, what was asked for, and
    ``done`` what was granted: where nobody disputed it, what was granted holds.
    """

    def __init__(self, seed: int, *pushes: Push, content: MemoryContent | None = None) -> None:
        self._pushes = pushes
        self._content = content
        self._random = random.Random(seed)
        self._images: set[Key] = set()
        self._tried: Counter[tuple[str, Key]] = Counter()
        self._done: Counter[tuple[str, Key]] = Counter()
        self._later = HALF
        self.seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Run; AssertionError where the front end is not as the model."""
        for _ in range(ROUNDS):
            self._tried.clear()
            self._done.clear()
            self._later = self._random.choice((HALF, BOTH))
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(self._one, self._random.random())
            await self._compare()
        for name in NAMES:
            for top in TOPS:
                await self._ask_for("DELETE", f"/v2/{name}/manifests/{top}")
        self._images.clear()
        await self._collected()
        assert await self._push.hosting.owned(100) == []
        if self._content is None:
            # A manifest that was refused may be left as what any cached content is: until its room is wanted.
            assert {blob.digest for blob in self._push.store.blobs()} <= {*TOPS}

    @property
    def _push(self) -> Push:
        return self._random.choice(self._pushes)

    async def _ask_for(self, *asked: str | bytes | Bytes, **headers: str) -> Response:
        return await self._push(*asked, **headers)  # type: ignore[arg-type]

    async def _one(self, _: float) -> None:
        verbs: tuple[Callable[[Key], Awaitable[bool]], ...] = (
            *(self._send, self._send, self._mount, self._ask, self._put, self._put, self._image),
            *(self._remove, self._remove, self._delete, self._delete, self._collect, self._collect),
        )
        if self._content is not None:
            verbs = (*verbs, self._reap)
        verb = self._random.choice(verbs)
        key = self._random.choice(NAMES), self._random.randrange(len(CONTENTS))
        if verb in (self._put, self._image, self._remove):
            key = key[0], key[1] % len(IMAGES)
        for _ in range(self._random.randrange(12)):
            await trio.lowlevel.checkpoint()
        self._tried[verb.__name__, key] += 1
        if await verb(key):
            self._done[verb.__name__, key] += 1
            self.seen[verb.__name__] += 1

    # Requests; True where it was granted

    async def _send(self, key: Key) -> bool:
        push = self._push  # an upload is one front end's
        name, number = key
        data, digest = CONTENTS[number], DIGESTS[number]
        cut = self._random.randrange(len(data) + 1)
        if self._random.randrange(2):
            body = Bytes(data[:cut], data[cut:])
            answer = await push("POST", f"/v2/{name}/blobs/uploads/", f"digest={digest}", body)
        else:
            location = await push.begin(name)
            assert (await push("PATCH", location, "", data[:cut])).status == 202
            answer = await push("PUT", location, f"digest={digest}", data[cut:])
        assert answer.status == 201
        return True

    async def _mount(self, key: Key) -> bool:
        name, number = key
        query = f"mount={DIGESTS[number]}"
        if self._random.randrange(2):
            query += f"&from={NAMES[name == NAMES[0]]}"
        answer = await self._ask_for("POST", f"/v2/{name}/blobs/uploads/", query)
        assert answer.status in (201, 202)
        return answer.status == 201

    async def _ask(self, key: Key) -> bool:
        return await self._there(f"/v2/{key[0]}/blobs/{DIGESTS[key[1]]}", "HEAD") is not None

    async def _put(self, key: Key) -> bool:
        name, number = key
        path = f"/v2/{name}/manifests/{TOPS[number]}"
        answer = await self._ask_for("PUT", path, "", IMAGES[number], content_type=OCI_MANIFEST)
        assert answer.status in (201, 404)
        return answer.status == 201

    async def _image(self, key: Key) -> bool:
        """As clients do: ask, or mount, or send; then the manifest."""
        for number in REFERS[key[1]]:
            blob = key[0], number
            if not await self._random.choice((self._ask, self._mount))(blob):
                await self._send(blob)
        return await self._put(key)

    async def _remove(self, key: Key) -> bool:
        answer = await self._ask_for("DELETE", f"/v2/{key[0]}/manifests/{TOPS[key[1]]}")
        assert answer.status in (202, 404)
        return answer.status == 202

    async def _delete(self, key: Key) -> bool:
        answer = await self._ask_for("DELETE", f"/v2/{key[0]}/blobs/{DIGESTS[key[1]]}")
        assert answer.status in (202, 404, 405)
        return answer.status == 202

    async def _collect(self, _: Key) -> bool:
        return bool(await self._push.hosted.intake.collect(datetime.now(UTC) + self._later))

    async def _reap(self, _: Key) -> bool:
        """Take whatever is on its way for an orphan, as a collector with a clock far ahead does."""
        sharing = self._push.sharing
        assert sharing is not None
        await sharing.reconcile()
        return True

    # What must hold in silence

    async def _compare(self) -> None:
        for name in NAMES:
            for number in range(len(IMAGES)):
                await self._compare_image((name, number))
        for name, number in self._images:
            for part in REFERS[number]:
                assert await self._there(f"/v2/{name}/blobs/{DIGESTS[part]}") == CONTENTS[part]
        if self._later is HALF:
            for verb, key in self._done:
                if verb in ("_send", "_mount", "_ask") and not self._tried["_delete", key]:
                    assert await self._there(f"/v2/{key[0]}/blobs/{DIGESTS[key[1]]}") == CONTENTS[key[1]]
        await self._check_store()
        if not self._random.randrange(3):
            await self._collected()

    async def _compare_image(self, key: Key) -> None:
        name, number = key
        body = await self._there(f"/v2/{name}/manifests/{TOPS[number]}")
        assert body in (None, IMAGES[number])
        put = self._tried["_put", key] + self._tried["_image", key]
        granted = self._done["_put", key] + self._done["_image", key]
        if not self._tried["_remove", key]:
            assert (body is not None) == (key in self._images or granted > 0)
        elif not put:
            assert body is None
        (self._images.discard if body is None else self._images.add)(key)

    async def _collected(self) -> None:
        """When all leases are over, what an image refers to is there, and nothing else."""
        await self._push.hosted.intake.collect(datetime.now(UTC) + BOTH)
        for name in NAMES:
            needed = {part for where, number in self._images if where == name for part in REFERS[number]}
            for number, data in enumerate(CONTENTS):
                found = await self._there(f"/v2/{name}/blobs/{DIGESTS[number]}")
                assert found == (data if number in needed else None)
        for name, number in self._images:
            assert await self._there(f"/v2/{name}/manifests/{TOPS[number]}") == IMAGES[number]
        await self._check_store()

    async def _check_store(self) -> None:
        owned = set(await self._push.hosting.owned(100))
        for push in self._pushes:
            pinned = {blob.digest for blob in push.store.blobs() if blob.pinned}
            assert pinned == (owned if self._content is None else set())
            assert len(push.hosted.intake._locks) == 0
        assert await self._push.hosting.deleting() == []
        if self._content is not None:
            places = {row.key for row in await self._push.hosting.places(100)}
            assert {key for key in self._content.objects if not key.startswith(OWNER)} == places
            assert await self._push.hosting.intents(datetime.now(UTC) + 9 * BOTH, 100) == []

    async def _there(self, path: str, method: str = "GET") -> bytes | None:
        answer = await self._ask_for(method, path)
        assert answer.status in (200, 404), answer
        if answer.status != 200:
            return None
        # Of HEAD there is no body; what it was told of may be gone already, where all leases are over.
        return b"" if method == "HEAD" else await read(answer)


class SlowContent(MemoryContent):
    """Puts and removals take any time: who claimed something deletes it after it was pushed again."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    async def _called(self, verb: str) -> None:
        for _ in range(self._random.choice((0, 3, 30, 300))):
            await trio.lowlevel.checkpoint()
        await super()._called(verb)


EVERYTHING = {"_send", "_mount", "_ask", "_put", "_image", "_remove", "_delete", "_collect"}


async def noted(race: Race, seed: int) -> Counter[str]:
    try:
        await race.run()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    return race.seen


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * RUNS)
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_nothing_needed_is_lost_and_nothing_else_stays(tmp_path: Path, where: str) -> None:
    seen: Counter[str] = Counter()
    # The disk takes ten times as long.
    runs = RUNS if where == "memory" else 1 + RUNS // 5
    for seed in range(SEED, SEED + runs):
        async with AsyncExitStack() as stack:
            if where == "memory":
                push = Push()
            else:
                push = await stack.enter_async_context(opened(tmp_path / str(seed)))
            seen += await noted(Race(seed, push), seed)
    assert set(seen) == EVERYTHING


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * RUNS)
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_the_same_at_two_front_ends_with_one_content(tmp_path: Path, where: str) -> None:
    """Both push, delete and collect; and both clean up, with clocks that are far ahead."""
    seen: Counter[str] = Counter()
    runs = RUNS if where == "memory" else 1 + RUNS // 5
    for seed in range(SEED, SEED + runs):
        async with AsyncExitStack() as stack:
            content = SlowContent(seed)
            if where == "memory":
                hosting = MemoryHosting()
                pushes = [Push(hosting=hosting, content=content) for _ in range(2)]
            else:
                one = await stack.enter_async_context(opened(tmp_path / str(seed), content=content))
                store = await DiskStore.load(
                    tmp_path / str(seed) / "other", StoreSettings(minimum_free=0), hasher=HASHER
                )
                stack.enter_context(store)
                pushes = [one, Push(hosting=one.hosting, store=store, content=content)]
            for push in pushes:
                assert push.sharing is not None
                push.sharing._now = lambda: datetime.now(UTC) + 9 * BOTH
            seen += await noted(Race(seed, *pushes, content=content), seed)
    assert set(seen) == {*EVERYTHING, "_reap"}
