"""``remora cluster``: what the nodes of a cluster have in common."""

from __future__ import annotations

import click


@click.group("cluster")
def command() -> None:
    """Make what the nodes of a cluster have in common."""


@command.command("key")
def make_key() -> None:
    """Print a new cluster key.

    All nodes that are to find each other by the DHT are given the same one: dht.cluster_keys,
    REMORA_DHT__CLUSTER_KEYS, or a file that dht.cluster_key_file names. Whoever has it is a member.
    """
    from p2p.discovery.dht.keyring import new_key

    click.echo(new_key())
