import pytest

from p2p.config import HostingSettings
from p2p.core.oci.error import RegistryError
from p2p.errors import ConfigError
from p2p.registry.policy import Globs, Policy


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("app", ["app"], ["apps", "a", "x/app", "app/x"]),
        ("team/*", ["team/a", "team/"], ["team", "team/a/b", "xteam/a"]),
        ("team/**", ["team", "team/a", "team/a/b"], ["teams/a", "x/team/a"]),
        ("**/app", ["app", "a/app", "a/b/app"], ["xapp", "app/a"]),
        ("**", ["a", "a/b"], []),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("a.c", ["a.c"], ["abc"]),
        ("team/app:v*", ["team/app:v1", "team/app:v"], ["team/app:1", "team/x:v1"]),
    ],
)
def test_globs(glob: str, yes: list[str], no: list[str]) -> None:
    globs = Globs([glob], "setting")
    assert [name for name in yes if name not in globs] == []
    assert [name for name in no if name in globs] == []


@pytest.mark.parametrize("glob", ["", "/team", "a//b"])
def test_what_is_no_glob(glob: str) -> None:
    with pytest.raises(ConfigError, match=r"hosting\.repositories"):
        Policy(HostingSettings(repositories=(glob,)))


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
