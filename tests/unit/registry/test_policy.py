import pytest

from p2p.config import HostingSettings
from p2p.core.oci.error import RegistryError
from p2p.errors import ConfigError
from p2p.registry.policy import Names, Policy


def test_names() -> None:
    names = Names(["team/**", "app-?"], "setting")
    assert [name for name in ("team/a", "app-1", "team", "app", "x/team/a") if name in names] == [
        "team/a",
        "app-1",
    ]


@pytest.mark.parametrize("glob", ["", "/team", "a//b", "Team/*", "team**"])
def test_what_is_no_glob(glob: str) -> None:
    with pytest.raises(ConfigError, match=r"hosting\.repositories"):
        Policy(HostingSettings(repositories=(glob,)))


@pytest.mark.parametrize("glob", ["", "**", "app:", "app:a/b"])
def test_what_is_no_glob_over_tags(glob: str) -> None:
    with pytest.raises(ConfigError, match=r"hosting\.immutable_tags.*team/\*\*:v\*"):
        Policy(HostingSettings(immutable_tags=(glob,)))


def test_questions() -> None:
    policy = Policy(HostingSettings(denied=("no/**",), immutable_tags=("app:v*",)))
    policy.admit("yes")
    policy.admit_delete("app", "latest")
    assert policy.immutable("app", "v1")
    assert policy.has_immutable
    for question in (lambda: policy.admit("no/app"), lambda: policy.admit_delete("app", "v1")):
        with pytest.raises(RegistryError) as caught:
            question()
        assert caught.value.status == 403
    with pytest.raises(RegistryError) as caught:
        Policy(HostingSettings(deletes=False)).admit_delete("app")
    assert caught.value.status == 405
    assert not Policy(HostingSettings()).has_immutable
