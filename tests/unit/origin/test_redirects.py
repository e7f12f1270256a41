import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.origin.redirects import carries_credentials, next_hop, origin_of

UP = "https://reg.example"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://reg.example/b"),
        ("https://cdn.example/x?sig=1", "https://cdn.example/x?sig=1"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("?a=1", "https://reg.example/a?a=1"),
    ],
)
def test_followed(location, target):
    assert next_hop(f"{UP}/a", location, UP) == (target, "")


@pytest.mark.parametrize(
    "location",
    [None, "", "http://cdn.example/x", "http://reg.example/x", "file:///etc/passwd", "gopher://x/",
     "https://u:p@cdn.example/", "https://a\r\nb/", "https://[::1", "https://a:99999999/", "https://a:0/",
     "javascript:alert(1)", "https://a/" + "x" * 20000],
)  # fmt: skip
def test_refused(location):
    target, fault = next_hop(f"{UP}/a", location, UP)
    assert not target
    assert fault.startswith("redirects")


def test_plain_http_upstream_may_stay_plain():
    assert next_hop("http://reg.example/a", "http://cdn/x", "http://reg.example")[1] == ""


@given(st.text(max_size=100))
def test_anything_is_judged(location):
    target, fault = next_hop(f"{UP}/a", location, UP)
    assert bool(target) != bool(fault)
    if target:
        assert origin_of(target)[0] == "https"


def test_credentials_are_bound_to_scheme_host_and_port():
    assert carries_credentials("https://reg.example:443/v2/", UP)
    assert carries_credentials("https://REG.example./v2/", UP)
    assert not carries_credentials("https://reg.example:8443/", UP)
    assert not carries_credentials("http://reg.example/", UP)
    assert not carries_credentials("https://cdn.reg.example/", UP)
