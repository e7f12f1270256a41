"""``remora doctor``: check this host and its configuration, and say what to mend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from p2p.cli.checks import Finding
    from p2p.config import NodeSettings


def examine(settings: NodeSettings) -> list[Finding]:
    """Make all checks that need no other host."""
    from p2p.cli import checks
    from p2p.cli.dht_checks import check_dht

    found = [
        checks.check_python(),
        checks.check_hashing(),
        *checks.check_state(settings),
        *checks.check_ports(settings),
        checks.check_private(settings),
        *check_dht(settings, running=checks.node_runs(settings)),
        checks.check_descriptors(),
        checks.check_clock(),
        checks.check_docker(settings),
        checks.check_containerd(settings),
        checks.check_podman(settings),
    ]
    return [finding for finding in found if finding is not None]


def report(findings: list[Finding]) -> None:
    """Print a line for each, the mend below it."""
    from p2p.cli.checks import Verdict

    colors = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red"}
    for finding in findings:
        mark = click.style(finding.verdict.value, fg=colors[finding.verdict])
        click.echo(f"{mark} {finding.thing}: {finding.state}")
        if finding.mend:
            click.echo(f"    → {finding.mend}")


@click.command("doctor")
@click.option("--state", metavar="DIR", help="State directory of the node; else the configured one.")
@click.option("--config", metavar="FILE", help="The node's configuration file.")
@click.option("--network", is_flag=True, help="Ask the upstream registries too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(state: str | None, config: str | None, network: bool, as_json: bool) -> None:
    """Check this host and its configuration, and say what to mend.

    Ends with 0 where nothing stands in the way of a node, 1 otherwise.
    """
    import trio

    from p2p.cli.checks import Verdict
    from p2p.cli.content_checks import check_content
    from p2p.cli.network_checks import check_network
    from p2p.cli.settings import load_settings

    settings = load_settings({"state": state} if state else {}, file=config)

    async def ask() -> list[Finding]:
        return [*await check_content(settings), *await check_network(settings, upstreams=network)]

    findings = [*examine(settings), *trio.run(ask)]
    good = all(finding.verdict is not Verdict.BAD for finding in findings)
    if as_json:
        rows = [
            {
                "verdict": finding.verdict.name.lower(),
                "thing": finding.thing,
                "state": finding.state,
                "mend": finding.mend,
            }
            for finding in findings
        ]
        click.echo(json.dumps({"good": good, "findings": rows}, indent=2))
    else:
        report(findings)
    raise SystemExit(0 if good else 1)
