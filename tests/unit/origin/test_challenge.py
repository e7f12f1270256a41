import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.origin.challenge import Challenge, choose, covers, parse_challenges, realm_refusal, same_domain


def test_docker_hub():
    header = (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/nginx:pull"'
    )
    assert parse_challenges([header]) == (
        Challenge(
            "bearer", "https://auth.docker.io/token", "registry.docker.io", "repository:library/nginx:pull"
        ),
    )


def test_several_challenges_in_one_and_in_several_headers():
    found = parse_challenges(
        ['Negotiate YII=, Basic realm="x", bearer Realm=https://a/t , service = "s"', "Digest"]
    )
    assert [c.scheme for c in found] == ["negotiate", "basic", "bearer", "digest"]
    assert found[2] == Challenge("bearer", "https://a/t", "s")
    chosen = choose(found)
    assert chosen is not None
    assert chosen.scheme == "bearer"


def test_quoted_commas_and_escapes():
    (found,) = parse_challenges(
        [r'Bearer realm="https://a/t?x=\"1,2\"",scope="repository:a:pull,push b:c:d"']
    )
    assert found.realm == 'https://a/t?x="1,2"'
    assert found.scope == "repository:a:pull,push b:c:d"


def test_the_first_of_two_equal_parameters_counts():
    (found,) = parse_challenges(['Bearer realm="https://good/",realm="https://evil/"'])
    assert found.realm == "https://good/"


def test_basic_where_there_is_no_bearer_with_a_realm():
    assert choose(parse_challenges(["Bearer", "Basic"])) == Challenge("basic")
    assert choose(parse_challenges(["Digest realm=x"])) is None
    assert choose(()) is None


@pytest.mark.parametrize(
    "header", ['Bearer realm="https://a', 'Bearer realm="a\r\nb"', "=", ',,,"', "Bearer realm=", "x" * 9000]
)
def test_hostile_headers_give_no_realm(header):
    assert all(not c.realm for c in parse_challenges([header]))


@given(st.lists(st.text(alphabet='Bearerlm="\\, ab:/\t\0é', max_size=200), max_size=3))
def test_anything_is_read_without_an_error(headers):
    for found in parse_challenges(headers):
        assert found.scheme == found.scheme.lower()


@pytest.mark.timeout(5)
@pytest.mark.parametrize("unit", ['Bearer realm="\\', "a ", 'a="b",', "a=", '"', " ,", "aaaa", "a=b c "])
def test_no_pattern_takes_long(unit):
    parse_challenges([(unit * 8192)[:8192]])


@pytest.mark.parametrize(
    ("realm", "upstream"),
    [
        ("https://auth.docker.io/token", "https://registry-1.docker.io"),
        ("https://ghcr.io/token", "https://ghcr.io"),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com"),
        ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000"),
        ("https://127.0.0.1:5001/token", "http://127.0.0.1:5000"),
        ("https://auth.acme.co.uk/t", "https://reg.acme.co.uk"),
        ("https://REG.example.com./t", "https://reg.example.com"),
        ("https://login.elsewhere.net/t", "https://reg.example.com"),
    ],
)
def test_trusted(realm, upstream):
    assert realm_refusal(realm, upstream, ("Login.Elsewhere.net",)) == ""


@pytest.mark.parametrize(
    ("realm", "upstream"),
    [
        ("https://evil.example/token", "https://ghcr.io"),
        ("http://auth.docker.io/token", "https://registry-1.docker.io"),
        ("https://evil.co.uk/t", "https://reg.co.uk"),
        ("https://evil.azurecr.io/t", "https://mine.azurecr.io"),
        ("https://a.s3.amazonaws.com/t", "https://1.dkr.ecr.eu-west-1.amazonaws.com"),
        ("https://b.github.io/t", "https://a.github.io"),
        ("http://10.0.0.2/t", "http://10.1.0.2"),
        ("http://169.254.169.254/t", "http://127.0.0.1:5000"),
        ("https://user:pw@ghcr.io/t", "https://ghcr.io"),
        ("https://ghcr.io@evil.example/t", "https://ghcr.io"),
        ("https://ghcr.io.evil.example/t", "https://ghcr.io"),
        ("https://notdocker.io/t", "https://registry-1.docker.io"),
        ("ftp://ghcr.io/t", "https://ghcr.io"),
        ("https:///t", "https://ghcr.io"),
        ("https://ghcr.io:99999/t", "https://ghcr.io"),
        ("https://[::1/t", "https://ghcr.io"),
        ("/token", "https://ghcr.io"),
        ("", "https://ghcr.io"),
        ("http://other/t", "http://registry"),
    ],
)
def test_not_trusted(realm, upstream):
    assert realm_refusal(realm, upstream, ())


@given(st.text(max_size=80))
def test_any_realm_is_judged_without_an_error(realm):
    realm_refusal(realm, "https://ghcr.io")


def test_same_domain_is_symmetric_and_careful():
    assert same_domain("a.example.com", "example.com")
    assert not same_domain("com", "com.")
    assert not same_domain("example.com", "")
    assert not same_domain("", "")
    assert same_domain("localhost", "localhost")
    assert not same_domain("a.localhost", "localhost")


@pytest.mark.parametrize(
    ("scope", "asked", "enough"),
    [
        ("repository:a:pull,push", "repository:a:push,pull", True),
        ("repository:a:pull,push", "repository:a:pull", True),
        ("repository:a:pull", "repository:a:pull,push", False),
        ("repository:a:pull", "repository:b:pull", False),
        ("repository:a:pull,push repository:b:pull", "repository:b:pull repository:a:push", True),
        ("repository:a:pull", "", True),
    ],
)
def test_what_a_scope_covers(scope: str, asked: str, enough: bool):
    assert covers(scope, asked) is enough
