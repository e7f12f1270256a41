import socket
import ssl

import httpcore
import pytest
import trio
import trio.testing

from p2p.errors import OriginProtocolError
from p2p.origin.addresses import AddressPolicy
from p2p.origin.backend import VettedBackend, VettedStream, _connect_first, _resolve


class Resolver(trio.abc.HostnameResolver):
    """Answers each look-up with the next list of addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002 (the interface)
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if not self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, type, 0, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, type, 0, "", (address, port))
            for address in self.answers.pop(0)
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


def resolve_with(*answers: list[str]) -> Resolver:
    resolver = Resolver(*answers)
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


async def listen() -> tuple[trio.SocketListener, int]:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    return listener, listener.socket.getsockname()[1]


async def test_a_name_is_resolved_once_and_dialled_where_it_was_vetted():
    listener, port = await listen()
    # The second answer is the rebinding one: it is never asked for.
    resolver = resolve_with(["127.0.0.1"], ["169.254.169.254"])
    async with listener:
        stream = await VettedBackend("up", AddressPolicy("reg.example", private=True)).connect_tcp(
            "reg.example", port, timeout=5
        )
        assert stream.get_extra_info("socket").getpeername() == ("127.0.0.1", port)
        assert resolver.asked == 1
        await stream.aclose()


async def test_forbidden_addresses_of_a_name_are_passed_over():
    listener, port = await listen()
    resolve_with(["169.254.169.254", "127.0.0.1", "0.0.0.0"])
    async with listener:
        policy = AddressPolicy("reg.example", private=True)
        stream = await VettedBackend("up", policy).connect_tcp("reg.example", port, timeout=5)
        assert stream.get_extra_info("socket").getpeername()[0] == "127.0.0.1"
        await stream.aclose()


async def test_a_public_name_that_leads_inside_is_refused():
    listener, port = await listen()
    resolve_with(["127.0.0.1", "::1", "10.1.1.1"])
    async with listener:
        backend = VettedBackend("up", AddressPolicy("reg.example"))
        with pytest.raises(
            OriginProtocolError, match=r"127\.0\.0\.1, ::1, 10\.1\.1\.1 of reg\.example.*private"
        ):
            await backend.connect_tcp("reg.example", port, timeout=5)
        with trio.move_on_after(0.05) as scope:
            await listener.accept()
        assert scope.cancelled_caught


async def test_unknown_name():
    resolve_with()
    with pytest.raises(httpcore.ConnectError) as caught:
        await VettedBackend("up", AddressPolicy("nowhere")).connect_tcp("nowhere", 1, timeout=5)
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_families_take_turns():
    resolve_with(["2001:db8::1", "2001:db8::2", "192.0.2.1"])
    assert [str(a) for a in await _resolve("x", 1)] == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]


async def test_the_next_address_where_the_first_refuses():
    listener, port = await listen()
    resolve_with(["127.0.0.2", "127.0.0.1"])
    async with listener:
        stream = await _connect_first(await _resolve("x", port), port)
        assert stream.socket.getpeername()[0] == "127.0.0.1"
        await stream.aclose()
    resolve_with(["127.0.0.2", "127.0.0.3"])
    addresses = await _resolve("x", port)
    with pytest.raises(OSError, match="refused"):
        await _connect_first(addresses, port)


async def test_unix_sockets_are_refused():
    with pytest.raises(httpcore.UnsupportedProtocol):
        await VettedBackend("up", AddressPolicy("x")).connect_unix_socket("/run/docker.sock")


async def pair() -> tuple[VettedStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    return VettedStream(trio.SocketStream(ours)), trio.SocketStream(theirs)


async def test_read_write_timeout_and_end():
    ours, theirs = await pair()
    await ours.write(b"hello", timeout=1)
    await ours.write(b"")
    assert await theirs.receive_some() == b"hello"
    with pytest.raises(httpcore.ReadTimeout):
        await ours.read(10, timeout=0.01)
    with pytest.raises(httpcore.WriteTimeout):
        await ours.write(b"x" * (8 << 20), timeout=0.01)
    await theirs.aclose()
    assert ours.get_extra_info("is_readable")
    with pytest.raises(httpcore.WriteError):
        await ours.write(b"x" * (8 << 20), timeout=1)
    await ours.aclose()
    with pytest.raises(httpcore.ReadError):
        await ours.read(10)


async def test_aborted_stream_fails_at_once_and_is_unfit_for_reuse():
    ours, theirs = await pair()
    assert not ours.get_extra_info("is_readable")
    ours.abort()
    with pytest.raises(httpcore.ReadError):
        await ours.read(10)
    assert ours.get_extra_info("is_readable")
    assert ours.get_extra_info("unknown") is None
    await ours.aclose()
    await theirs.aclose()


async def test_tls_with_something_else_fails_and_closes():
    ours, theirs = await pair()
    await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(httpcore.ConnectError) as caught:
        await ours.start_tls(ssl.create_default_context(), "x", timeout=5)
    assert isinstance(caught.value.__cause__.__cause__, ssl.SSLError)
    await theirs.aclose()
    ours, theirs = await pair()
    with pytest.raises(httpcore.ConnectTimeout):
        await ours.start_tls(ssl.create_default_context(), "x", timeout=0.01)
    await theirs.aclose()
