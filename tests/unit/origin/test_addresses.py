import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.origin.addresses import AddressPolicy, Scope, literal, names_private, scope_of


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("8.8.8.8", Scope.PUBLIC),
        ("2606:4700::1111", Scope.PUBLIC),
        ("127.0.0.1", Scope.PRIVATE),
        ("127.8.8.8", Scope.PRIVATE),
        ("::1", Scope.PRIVATE),
        ("10.1.2.3", Scope.PRIVATE),
        ("172.16.0.1", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd12::1", Scope.PRIVATE),
        ("169.254.169.254", Scope.FORBIDDEN),
        ("fe80::1", Scope.FORBIDDEN),
        ("fd00:ec2::254", Scope.FORBIDDEN),
        ("168.63.129.16", Scope.FORBIDDEN),
        ("100.100.100.200", Scope.FORBIDDEN),
        ("0.0.0.0", Scope.FORBIDDEN),
        ("0.1.2.3", Scope.FORBIDDEN),
        ("::", Scope.FORBIDDEN),
        ("224.0.0.1", Scope.FORBIDDEN),
        ("255.255.255.255", Scope.FORBIDDEN),
        ("240.0.0.1", Scope.FORBIDDEN),
        ("ff02::1", Scope.FORBIDDEN),
        ("::ffff:127.0.0.1", Scope.PRIVATE),
        ("::ffff:169.254.169.254", Scope.FORBIDDEN),
        ("::ffff:8.8.8.8", Scope.PUBLIC),
        ("64:ff9b::a9fe:a9fe", Scope.FORBIDDEN),
        ("64:ff9b::7f00:1", Scope.PRIVATE),
        ("64:ff9b::808:808", Scope.PUBLIC),
        ("2002:a9fe:a9fe::1", Scope.FORBIDDEN),
        ("::169.254.169.254", Scope.FORBIDDEN),
    ],
)
def test_scope(text, scope):
    assert scope_of(ipaddress.ip_address(text)) is scope


@given(st.ip_addresses(v=4))
def test_mapped_address_is_judged_as_its_inner_one(address):
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert scope_of(mapped) is scope_of(address)


@given(st.ip_addresses())
def test_public_means_globally_reachable(address):
    if scope_of(address) is Scope.PUBLIC and address.version == 4:
        assert address.is_global
        assert not address.is_multicast


def test_names_private():
    assert names_private("localhost")
    assert names_private("a.localhost.")
    assert names_private("127.0.0.1")
    assert names_private("[::1]")
    assert not names_private("localhost.example.com")
    assert not names_private("ghcr.io")
    assert literal("fe80::1%eth0") == ipaddress.ip_address("fe80::1")


def policy_allows(policy, host, address):
    return policy.allows(host, ipaddress.ip_address(address))


def test_private_addresses_only_for_the_host_that_the_url_names():
    policy = AddressPolicy("127.0.0.1")
    assert policy_allows(policy, "127.0.0.1", "127.0.0.1")
    assert not policy_allows(policy, "localhost", "127.0.0.1")
    assert not policy_allows(policy, "10.0.0.1", "10.0.0.1")
    assert policy_allows(policy, "cdn.example", "8.8.8.8")


def test_public_name_must_not_lead_inside_without_leave():
    assert not policy_allows(AddressPolicy("reg.example"), "reg.example", "10.0.0.1")
    assert policy_allows(AddressPolicy("reg.example", private=True), "reg.example", "10.0.0.1")
    assert policy_allows(AddressPolicy("reg.example", private=True), "s3.example", "10.0.0.2")


def test_metadata_is_refused_even_with_leave():
    policy = AddressPolicy("reg.example", private=True)
    assert not policy_allows(policy, "reg.example", "169.254.169.254")
    assert not policy_allows(policy, "169.254.169.254", "169.254.169.254")


def test_localhost_is_its_own():
    assert policy_allows(AddressPolicy("localhost"), "localhost", "::1")
    assert not policy_allows(AddressPolicy("localhost"), "localhost", "169.254.169.254")
