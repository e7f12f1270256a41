from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.error import RegistryError
from p2p.search.query import (
    FILTERS,
    MAX_LENGTH,
    MAX_NUMBER,
    MAX_TERMS,
    Annotated,
    Begins,
    Compared,
    Glob,
    OnPlatform,
    Term,
    Words,
    parse_query,
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("  \n ", ()),
        ("nginx", (Words("nginx"),)),
        ("web  shop", (Words("web"), Words("shop"))),
        ('"shop window"', (Words("shop window"),)),
        ('"nginx:1.27"', (Words("nginx:1.27"),)),
        ("AND OR NOT NEAR", (Words("AND"), Words("OR"), Words("NOT"), Words("NEAR"))),
        ("repository:team/*", (Glob("repository", "team/*"),)),
        ("Repository:team/**", (Glob("repository", "team/*"),)),
        ("tag:1.?", (Glob("tag", "1.?"),)),
        ("platform:linux", (OnPlatform("linux"),)),
        ("platform:Linux/ARM64", (OnPlatform("linux/arm64"),)),
        ("artifact-type:application/spdx+json", (Glob("artifact-type", "application/spdx+json"),)),
        ("annotation:vendor", (Annotated("vendor", None),)),
        ("annotation:a=b=c", (Annotated("a", "b=c"),)),
        ("annotation:a=", (Annotated("a", ""),)),
        ('annotation:title="two words"', (Annotated("title", "two words"),)),
        ("annotation:url=http://x", (Annotated("url", "http://x"),)),
        ("digest:sha256:ab", (Begins("digest", "sha256:ab"),)),
        ("subject:sha256", (Begins("subject", "sha256"),)),
        ("size:>100MB", (Compared("size", ">", 100_000_000),)),
        ("size:<=1.5KiB", (Compared("size", "<=", 1536),)),
        ("size:7", (Compared("size", "=", 7),)),
        ("size:>999999999999999999TiB", (Compared("size", ">", MAX_NUMBER),)),
        ("referrers:>=1", (Compared("referrers", ">=", 1),)),
        ("a size:<2kb b", (Words("a"), Compared("size", "<", 2000), Words("b"))),
    ],
)
def test_what_a_query_means(text: str, terms: tuple[Term, ...]) -> None:
    assert parse_query(text) == terms


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * (MAX_LENGTH + 1), "longer than"),
        (" ".join(["x"] * (MAX_TERMS + 1)), "more than 16 terms"),
        ("a\0b", "not text"),
        ("a\ud800", "not text"),
        ("a\u202e", "not text"),
        ('"never ends', "does not end"),
        ('a"b', "does not end"),
        ('""', "without letters"),
        ("***", "without letters"),
        ("(", "without letters"),
        ("plattform:linux", "filter 'plattform' that there is not"),
        ("platform:", "nothing after platform:"),
        ('platform:""', "nothing after platform:"),
        ("platform:linux/arm/v7/x", "which is none"),
        ("repository:[a-z]*", "which is none"),
        ("repository:a*b*c*d*e*", "more than 4 wildcards"),
        ("digest:SHA256", "which is none"),
        ("size:big", "which is none"),
        ("size:>1XB", "which is none"),
        ("size:-1", "which is none"),
        ("size:" + "9" * 500, "which is none"),
        ("referrers:1kb", "which is none"),
        ("referrers:1.5", "which is none"),
    ],
)
def test_what_is_no_query(text: str, told: str) -> None:
    with pytest.raises(RegistryError, match="the query") as caught:
        parse_query(text)
    assert told in caught.value.message
    assert caught.value.status == 400
    caught.value.body()


@given(st.text(max_size=80) | st.tuples(st.sampled_from(FILTERS), st.text(max_size=40)).map(":".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(RegistryError):
        parse_query(text)
