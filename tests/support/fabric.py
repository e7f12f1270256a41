"""A network of namespaces on this machine: hosts with shaped links, in zones that a thin uplink joins.

Needs root, ``ip`` and ``tc`` with the token bucket filter. Every host is a network namespace behind a pair of
virtual Ethernet devices; each direction has a rate of its own. Zones are bridges. Nothing of it touches other
networks of the machine, and all of it is removed at the end.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.nodes import Node
from tests.support.processes import program, run
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NETWORK = "10.203.0"
"""A /24 that exists inside these namespaces and bridges alone."""
BURST = 192 * 1024
LATENCY = "60ms"
"""How long a packet may wait for its turn before it is dropped."""
MBIT = 1_000_000 / 8
GOODPUT = 1448 / 1514
"""Share of a link's rate that is TCP's payload: the shaper counts headers, Ethernet's too."""
CONGESTION = "cubic"
"""TCP's congestion control on the hosts, Linux's usual one."""


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace. ``device`` is the end of its link that stands in its zone's bridge."""

    namespace: str
    address: str
    zone: str
    device: str

    def inside(self, argv: Sequence[object]) -> list[str]:
        """A command that runs there."""
        return [program("ip"), "netns", "exec", self.namespace, *map(str, argv)]


@dataclass(slots=True)
class Fabric:
    """``rate`` of hosts' links and ``uplink`` between zones in Mbit/s each way; 0: not shaped."""

    zones: tuple[str, ...] = ("a",)
    rate: float = 100
    uplink: float = 0
    hosts: list[Host] = field(default_factory=list)
    _prefix: str = field(default_factory=lambda: f"rm{os.getpid() % 10_000}")
    _numbers: Iterable[int] = field(default_factory=lambda: itertools.count(2))

    def __enter__(self) -> Self:
        try:
            for zone in self.zones:
                _ip("link", "add", self._bridge(zone), "type", "bridge")
                _ip("link", "set", self._bridge(zone), "up")
            for zone in self.zones[1:]:
                self._join(self.zones[0], zone)
            # The machine itself stands in the first zone, unshaped: trackers run there, and measurements.
            _ip("address", "add", f"{self.outside}/24", "dev", self._bridge(self.zones[0]))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            _ip("netns", "delete", host.namespace, check=False)
        for zone in self.zones:
            _ip("link", "delete", self._bridge(zone), check=False)
            _ip("link", "delete", self._uplink(zone, 0), check=False)

    @property
    def outside(self) -> str:
        """The address of what runs beside the hosts."""
        return f"{NETWORK}.1"

    def host(self, zone: str = "a", *, rate: float | None = None) -> Host:
        """Add a host; ``rate`` of its link where it has another than the rest."""
        number = next(iter(self._numbers))
        name, device = f"{self._prefix}-{number}", f"{self._prefix}h{number}"
        host = Host(name, f"{NETWORK}.{number}", zone, device)
        _ip("netns", "add", name)
        self.hosts.append(host)
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", device, "master", self._bridge(zone), "up")
        for command in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{host.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            run(host.inside(["ip", *command]))
        # The machine's own choice may be another, and a namespace takes it over: BBR does not bear queues
        # of a few packets, and halves the rate.
        route = ["ip", "route", "change", f"{NETWORK}.0/24", "dev", "eth0", "congctl", CONGESTION]
        run(host.inside(route))
        self.shape(host, self.rate if rate is None else rate)
        return host

    def shape(self, host: Host, mbit: float) -> None:
        """Give a host's link a rate, once; 0: it stays as fast as the machine."""
        if mbit:
            run(_tbf(host.device, mbit))  # what it receives
            run(host.inside(_tbf("eth0", mbit)))  # what it sends

    @property
    def far(self) -> list[Host]:
        """Hosts behind an uplink, seen from the first zone."""
        return [host for host in self.hosts if host.zone != self.zones[0]]

    def crossed(self) -> int:
        """Bytes that went over all uplinks so far, both ways."""
        return sum(
            int(Path(f"/sys/class/net/{self._uplink(zone, side)}/statistics/tx_bytes").read_text())
            for zone in self.zones[1:]
            for side in (0, 1)
        )

    def _bridge(self, zone: str) -> str:
        return f"{self._prefix}b{zone}"

    def _uplink(self, zone: str, side: int) -> str:
        return f"{self._prefix}u{zone}{side}"

    def _join(self, one: str, other: str) -> None:
        ends = self._uplink(other, 0), self._uplink(other, 1)
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for end, zone in zip(ends, (one, other), strict=True):
            _ip("link", "set", end, "master", self._bridge(zone), "up")
            if self.uplink:
                run(_tbf(end, self.uplink))


class FabricNode(Node):
    """A node on a host of its own, whose zone is its own; its registry is for clients on that host alone."""

    def __init__(
        self,
        host: Host,
        name: str,
        directory: Path,
        *,
        upstreams: Mapping[str, str],
        trackers: Sequence[str] = (),
        peers: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        more = [option for tracker in trackers for option in ("--tracker", tracker)]
        super().__init__(name, directory, upstreams=upstreams, peers=peers, options=(*more, *options))
        self.host = host
        place = self.argv.index("--peer-listen") + 1
        self.argv[place] = f"{host.address}:5001"
        self.argv = host.inside(["env", f"REMORA_ZONE={host.zone}", *self.argv, "--insecure"])

    @property
    def address(self) -> str:
        """Where other nodes reach it."""
        return f"{self.host.address}:5001"

    def pull(self, path: str) -> subprocess.Popen[str]:
        """A client on that host that reads a blob to its end; prints seconds, bytes and status."""
        return subprocess.Popen(
            self.host.inside(
                [
                    *("curl", "--silent", "--output", "/dev/null"),
                    *("--write-out", "%{time_total} %{size_download} %{http_code}"),
                    f"http://{self.registry}{path}",
                ]
            ),
            stdout=subprocess.PIPE,
            text=True,
        )


class FabricRegistry(DockerRegistry):
    """The origin, on a host of its own."""

    def __init__(self, host: Host, directory: Path) -> None:
        super().__init__(directory, listen=f"{host.address}:5000")
        self.argv = host.inside(self.argv)


def _ip(*argv: str, check: bool = True) -> None:
    run(["ip", *argv], check=check)


def _tbf(device: str, mbit: float) -> list[str]:
    shape = ["rate", f"{mbit:g}mbit", "burst", str(BURST), "latency", LATENCY]
    return ["tc", "qdisc", "add", "dev", device, "root", "tbf", *shape]
