from typing import Any

import msgspec
import pytest

from p2p.cli.shape import DURATIONS, SHARES, SIZES, dotted, fields, fit, fit_text, is_struct
from p2p.config import AuthSettings, NodeSettings, SinkSettings, UpstreamSettings
from p2p.errors import ConfigError


def all_fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    found = dict(fields(struct))
    for kind in list(found.values()):
        if is_struct(kind):
            found |= all_fields(kind)
    return found


def test_every_float_has_a_unit() -> None:
    known = {**all_fields(NodeSettings), **fields(UpstreamSettings), **fields(SinkSettings)}
    floats = {name for name, kind in known.items() if kind is float}
    assert floats == DURATIONS | SHARES
    assert {name for name in known if name in SIZES} == SIZES


def test_units_are_taken() -> None:
    fitted = fit({"store": {"quota": "10GiB", "minimum_free": "5%"}, "transfer": {"grace": "1m"}}, "file x")
    assert fitted == {"store": {"quota": 10 << 30, "minimum_free": 0.05}, "transfer": {"grace": 60.0}}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"traker": "x"}, ["file x", "traker", "Did you mean tracker?"]),
        ({"registry": {"lissten": "x"}}, ["registry.lissten", "Did you mean listen?"]),
        ({"registry": {"listen": 5000}}, ["registry.listen", "Expected `str`, got `int`", "quotes"]),
        ({"registry": "x"}, ["registry must be a table", "[registry]"]),
        ({"store": {"quota": "lots"}}, ["store.quota", "'lots' is not a size"]),
        ({"store": {"paranoid": 1}}, ["store.paranoid", "true or false"]),
        ({"host": "/srv"}, ["host", '["a", "b"]']),
        ({"upstreams": {"my.hub": {"urll": "x"}}}, ['upstreams."my.hub".urll', "Did you mean url?"]),
        ({"upstreams": {"my.hub": "x"}}, ['[upstreams."my.hub"]']),
        ({"transfer": {"peers": "many"}}, ["transfer.peers", "Write a number"]),
    ],
)
def test_errors_name_the_place_and_the_mend(raw: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(raw, "file x")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text", "table"),
    [
        (("tracker",), "ws://t:5010", {"tracker": ("ws://t:5010",)}),
        (("tracker",), "ws://t:1, ws://u:1", {"tracker": ("ws://t:1", "ws://u:1")}),
        (("registry", "listen"), ":1", {"registry": {"listen": ":1"}}),
        (("store", "paranoid"), "Yes", {"store": {"paranoid": True}}),
        (("store", "quota"), "1MiB", {"store": {"quota": 1 << 20}}),
        (("transfer", "peers"), "12", {"transfer": {"peers": 12}}),
        (("peer", "static"), "a:1, b:2,", {"peer": {"static": ("a:1", "b:2")}}),
        (("upstreams", "hub", "url"), "http://h", {"upstreams": {"hub": {"url": "http://h"}}}),
        (("upstreams",), '{"a.b" = {url = "http://h"}}', {"upstreams": {"a.b": {"url": "http://h"}}}),
        (("registry", "limits", "idle_timeout"), "5s", {"registry": {"limits": {"idle_timeout": 5.0}}}),
    ],
)
def test_text(path: tuple[str, ...], text: str, table: dict[str, object]) -> None:
    assert fit_text(text, path, "env") == table


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        (("store", "quotta"), "1", "Did you mean quota?"),
        (("tracker", "url"), "1", "tracker is not a table"),
        (("transfer", "peers"), "x", "'x' is not a number"),
        (("upstreams",), "hub=x", "not a TOML inline table"),
        (("store", "paranoid"), "maybe", "true or false"),
    ],
)
def test_text_that_does_not_fit(path: tuple[str, ...], text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit_text(text, path, "env")
    assert words in str(caught.value)


def test_dotted() -> None:
    assert dotted(("upstreams", "docker.io", "url")) == 'upstreams."docker.io".url'


RULE = {"repositories": ["**"], "subjects": ["@ops"]}


def test_lists_of_tables_and_tables_of_lists() -> None:
    raw = {"rules": [RULE, {**RULE, "actions": ["push"]}], "groups": {"ops": ["alice"]}}
    fitted = fit(raw, "file x", AuthSettings)
    settings = msgspec.convert(fitted, AuthSettings)
    assert settings.groups == {"ops": ("alice",)}
    assert [rule.actions for rule in settings.rules] == [("pull",), ("push",)]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"rules": RULE}, ["rules must be a list of tables", "[[rules]]"]),
        ({"rules": ["all"]}, ["rules.0 must be a table"]),
        ({"rules": [{**RULE, "action": ["pull"]}]}, ["rules.0.action", "Did you mean actions?"]),
        ({"rules": [{**RULE, "actions": "pull"}]}, ["rules.0.actions", '["a", "b"]']),
        ({"groups": {"ops": "alice"}}, ["groups.ops", '["a", "b"]']),
        ({"groups": ["ops"]}, ["groups must be a table"]),
    ],
)
def test_errors_in_them_name_the_place_too(raw: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(raw, "file x", AuthSettings)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text", "table"),
    [
        (("groups", "ops"), "alice, bob", {"groups": {"ops": ("alice", "bob")}}),
        (("groups",), '{ops = ["alice"]}', {"groups": {"ops": ("alice",)}}),
        (
            ("rules",),
            '[{repositories = ["**"], subjects = ["@ops"]}]',
            {"rules": [{"repositories": ("**",), "subjects": ("@ops",)}]},
        ),
    ],
)
def test_they_can_be_given_as_text(path: tuple[str, ...], text: str, table: dict[str, object]) -> None:
    assert fit_text(text, path, "variable X", AuthSettings) == table


def test_one_of_several_needs_no_brackets():
    assert fit({"tracker": "ws://t:1"}, "file x") == {"tracker": ("ws://t:1",)}
    assert fit({"tracker": ["ws://t:1", "ws://u:1"]}, "file x") == {"tracker": ("ws://t:1", "ws://u:1")}
    assert fit({"tracker": ""}, "file x") == {"tracker": ()}
    with pytest.raises(ConfigError):
        fit({"host": "layout"}, "file x")
