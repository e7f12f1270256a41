from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from p2p.metadata.hosting import HOSTED, Accepted, GarbageStatistics, artifact_type_of
from p2p.registry import upstreams


def test_an_acceptance_without_objections_is_one() -> None:
    accepted = Accepted()
    assert not accepted.missing
    assert not accepted.conflicts


def test_statistics_are_values() -> None:
    assert GarbageStatistics(1, 2, 3) == GarbageStatistics(1, 2, 3)


def test_hosted_is_one_name_in_the_whole_node() -> None:
    assert HOSTED == upstreams.HOSTED


def test_an_artifact_without_a_type_has_its_configs() -> None:
    config = Descriptor("x/config", Digest.of(b"{}"), 2)
    assert artifact_type_of(Manifest(OCI_MANIFEST, config=config)) == "x/config"
    assert artifact_type_of(Manifest(OCI_MANIFEST, config=config, artifact_type="x/own")) == "x/own"
    assert artifact_type_of(Manifest(OCI_INDEX)) == ""
