from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.notifications.api import What
from p2p.registry.teller import MOST_AGENT, Teller
from p2p.registry.upstreams import Choice
from tests.support.push_rig import APP, Ears
from tests.support.registry_rig import request


async def test_a_happening_says_who_and_what() -> None:
    ears = Ears()
    target = Descriptor("application/x", Digest.of(b"x"), 1)
    asked = request("PUT", "/v2/", user_agent="docker/" + "9" * 999)
    await Teller(ears).tell(asked, What.PUSH, Choice(APP, "team/app"), target, tags=("1",))
    (heard,) = ears.heard
    assert (heard.what, heard.repository, heard.target, heard.tags) == (What.PUSH, APP, target, ("1",))
    assert len(heard.user_agent) == MOST_AGENT
    assert heard.at.tzinfo is not None
