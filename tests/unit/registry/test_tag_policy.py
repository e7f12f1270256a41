import pytest

from p2p.config import TagRuleSettings, TagSettings
from p2p.core.oci.reference import Repository
from p2p.errors import ConfigError
from p2p.registry.tag_policy import TagPolicies

RULES = (
    TagRuleSettings(repositories=("docker.io/library/*", "quay.io/**"), max_age=60.0),
    TagRuleSettings(repositories=("**",), stale_if_error=0.0, from_peers=False),
)


def test_the_first_that_matches_changes_what_it_names() -> None:
    policies = TagPolicies(TagSettings(max_age=1.0, stale_if_error=5.0, rules=RULES))
    library = policies.of(Repository("docker.io", "library/nginx"))
    assert (library.max_age, library.stale_if_error, library.from_peers) == (60.0, 5.0, True)
    other = policies.of(Repository("docker.io", "org/app"))
    assert (other.max_age, other.stale_if_error, other.from_peers) == (1.0, 0.0, False)
    assert policies.of(Repository("quay.io", "a/b/c")).max_age == 60.0


def test_without_rules_all_are_alike() -> None:
    settings = TagSettings(max_age=3.0)
    assert TagPolicies(settings).of(Repository("docker.io", "library/nginx")) is settings


def test_a_rule_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"tags\.rules\[0\]"):
        TagPolicies(TagSettings(rules=(TagRuleSettings(repositories=("A b",)),)))
