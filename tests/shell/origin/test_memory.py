import pytest

from p2p.errors import OriginUnreachableError
from p2p.origin.api import Kind
from p2p.origin.memory import MemoryOrigin


async def test_counts_what_it_is_asked_for():
    origin = MemoryOrigin(part=10)
    digest = origin.put_blob("a", b"x" * 25)
    async with origin.open("a", digest, Kind.BLOB) as body:
        assert [len(part) async for part in body] == [10, 10, 5]
    assert origin.egress == 25
    assert origin.requests == [("open", "a", str(digest))]


async def test_scripted_failures():
    origin = MemoryOrigin(part=10)
    digest = origin.put_blob("a", b"x" * 25)
    origin.truncate = 20
    async with origin.open("a", digest, Kind.BLOB) as body:
        with pytest.raises(OriginUnreachableError, match="5 bytes short"):
            [part async for part in body]
    origin.failure = OriginUnreachableError("memory", "gone")
    with pytest.raises(OriginUnreachableError, match="gone"):
        await origin.head("a", "t")
    with pytest.raises(OriginUnreachableError, match="gone"):
        async with origin.open("a", digest, Kind.BLOB):
            pass
