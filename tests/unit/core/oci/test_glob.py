"""Globs against what they mean, told by a recursion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.glob import Glob, GlobError, TagGlob

COMPONENTS = st.text(alphabet="ab1", min_size=1, max_size=4)
NAMES = st.lists(COMPONENTS, min_size=1, max_size=5).map("/".join)
WILD = st.text(alphabet="ab*?", min_size=1, max_size=5).filter(lambda text: "**" not in text)
PATTERNS = st.lists(
    st.one_of(COMPONENTS, WILD, st.just("*"), st.just("**")),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("team-a/*", ["team-a/x"], ["team-a", "team-a/x/y", "team-ab/x", "x/team-a/y", "team-a/"]),
        ("team-a/**", ["team-a/x", "team-a/x/y"], ["team-a", "team-ab/x"]),
        ("**", ["a", "a/b/c"], ["", "a/", "/a", "a//b"]),
        ("*", ["a"], ["a/b", ""]),
        ("**/base", ["base", "a/base", "a/b/base"], ["a/base/x", "xbase", "a/xbase"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a", "z", "ab/z", "a/bz"]),
        ("app-*", ["app-", "app-1"], ["app", "xapp-1", "app-1/x"]),
        ("a.b/*", ["a.b/c"], ["axb/c"]),
        ("localhost:5000/*", ["localhost:5000/x"], ["localhost/x"]),
        ("**/*", ["a", "a/b"], [""]),
        ("a?c", ["abc"], ["a/c", "ac", "abbc"]),
        ("**/b/**/*-?", ["b/x-1", "a/b/c/d/x-1"], ["b", "x-1", "b/x", "b/x-1/c"]),
    ],
)
def test_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    glob = Glob.parse(pattern)
    assert [name for name in yes if not glob.matches(name)] == []
    assert [name for name in no if glob.matches(name)] == []


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "a/", "/a", "a//b", "A", "a**", "**a/b", "***", "a/../b", ".", "a b", "[ab]", "a+", "é"],
)
def test_patterns_that_mean_nothing(pattern: str) -> None:
    with pytest.raises(GlobError):
        Glob.parse(pattern)


def fits_component(pattern: str, text: str) -> bool:
    """What ``*`` and ``?`` mean, by recursion over characters; no component is empty."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(fits_component(pattern[1:], text[skipped:]) for skipped in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and fits_component(pattern[1:], text[1:])


def matches(parts: list[str], name: list[str]) -> bool:
    """What globs mean, by recursion over components."""
    if not parts:
        return not name
    first, rest = parts[0], parts[1:]
    if first == "**":
        if not rest:
            return bool(name)
        return any(matches(rest, name[skipped:]) for skipped in range(len(name) + 1))
    if not name:
        return False
    fits = fits_component(first, name[0])
    return fits and matches(rest, name[1:])


@given(PATTERNS, NAMES)
def test_globs_mean_what_the_recursion_means(parts: list[str], name: str) -> None:
    assert Glob.parse("/".join(parts)).matches(name) == matches(parts, name.split("/"))


@given(NAMES)
def test_a_name_is_a_glob_of_itself_alone(name: str) -> None:
    assert Glob.parse(name).matches(name)
    assert not Glob.parse(name).matches(name + "x")
    assert not Glob.parse(name).matches(f"{name}/x")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*a" * 40 + "b", "a" * 3000),
        ("?*a" * 40 + "b", "a" * 3000),
        ("**/a/" * 30 + "b", "/".join("a" * 1500)),
        ("**/*a*/" * 30 + "b", "/".join(["aaa"] * 1000)),
        ("*a*/" * 40 + "b", "a" * 50 + ("/" + "a" * 50) * 40),
    ],
)
def test_no_pattern_takes_long(pattern: str, name: str) -> None:
    """With backtracking these would not end in anybody's life."""
    assert not Glob.parse(pattern).matches(name)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("team/app:v*", ["team/app:v1", "team/app:v"], ["team/app:1", "team/x:v1", "team/app:V1"]),
        ("**:*", ["app:1", "a/b:latest"], []),
        ("team/**:V?", ["team/a:V1", "team/a/b:V2"], ["team:V1", "team/a:V10"]),
    ],
)
def test_globs_over_tags(pattern: str, yes: list[str], no: list[str]) -> None:
    glob = TagGlob.parse(pattern)
    assert [each for each in yes if not glob.matches(*each.split(":"))] == []
    assert [each for each in no if glob.matches(*each.split(":"))] == []


@pytest.mark.parametrize(
    "pattern", ["", ":", "app", "**", "app:", ":v1", "app:**", "app:v**", "app:a/b", "A:v1"]
)
def test_globs_over_tags_that_mean_nothing(pattern: str) -> None:
    with pytest.raises(GlobError):
        TagGlob.parse(pattern)
