from datetime import UTC, datetime

from p2p.core.oci.reference import Repository
from p2p.notifications.api import Happening, Silence, What


async def test_silence_takes_everything() -> None:
    now = datetime.now(UTC)
    happening = Happening(What.PUSH, Repository("hosted.invalid", "app"), None, now, tags=("1",))
    assert await Silence().tell([happening]) is None
    assert happening.what.value == "push"
