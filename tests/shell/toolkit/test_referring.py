import json

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.origin.memory import MemoryDestination, MemoryOrigin
from p2p.toolkit.referring import list_by_tag, referrers_tag

SUBJECT = Digest.of(b"subject")


def test_the_tag() -> None:
    assert referrers_tag(SUBJECT) == f"sha256-{SUBJECT.hex}"
    assert len(referrers_tag(Digest.of(b"", "sha512"))) == 128


async def test_each_referrer_is_listed_once() -> None:
    origin = MemoryOrigin()
    destination = MemoryDestination(origin)
    repository = origin.at("app")
    first, second = (
        Descriptor(OCI_MANIFEST, Digest.of(data), 1, artifact_type="a/b", annotations=(("k", "v"),))
        for data in (b"1", b"2")
    )
    for referrer in (first, second, first):
        await list_by_tag(origin, destination, "app", SUBJECT, referrer)
        tagged = repository.tags[referrers_tag(SUBJECT)]
        media_type, data = repository.manifests[tagged]
        assert media_type == OCI_INDEX
        # What a registry without the API answers is what stands under the tag.
        repository.referrers[SUBJECT] = data
    listed = json.loads(repository.referrers[SUBJECT])["manifests"]
    assert listed == [first.to_json(), second.to_json()]
