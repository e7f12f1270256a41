"""The dashboard: one page without scripts, of what the tracker knows just now."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracker.core import Tracker

ROWS = 500
"""Rows in a table; what is beyond them is counted."""

_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1b2733;background:#fff}"
    "table{border-collapse:collapse;margin:0 0 2rem}"
    "th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #dde3ea}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:12px}"
    "@media(prefers-color-scheme:dark){body{color:#d7dee6;background:#12181f}th,td{border-color:#2c3742}}"
)

HEADERS = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Cache-Control", b"no-store"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Refresh", b"5"),
)


def render(tracker: Tracker, now: float) -> str:
    """Write the page; everything that came from a node is escaped."""
    nodes = tracker.table.nodes
    blobs = tracker.table.blobs
    leases = dict(tracker.leases.items())
    connected = sum(node.conn is not None for node in nodes.values())
    summary = (
        f"{connected} of {len(nodes)} nodes connected, {len(blobs)} blobs, {len(leases)} leases, "
        f"{len(tracker.jobs)} prefetch jobs."
    )
    parts = [
        f"<p>{summary}</p>",
        _table(
            "Nodes",
            ("name", "address", "state", "complete", "partial", "wants", "children"),
            (
                (
                    node.name,
                    f"{node.host}:{node.port}",
                    "connected" if node.conn is not None else f"gone for {now - node.seen:.0f} s",
                    node.complete,
                    len(node.holdings) - node.complete,
                    len(node.wants),
                    node.children,
                )
                for node in nodes.values()
            ),
            len(nodes),
        ),
        _table(
            "Leases",
            ("digest", "holder", "epoch", "offset"),
            (
                (
                    digest,
                    nodes[lease.holder].name if lease.holder in nodes else lease.holder,
                    lease.epoch,
                    max(lease.offset, 0),
                )
                for digest, lease in leases.items()
            ),
            len(leases),
        ),
        _table(
            "Blobs",
            ("digest", "size", "complete", "partial", "wanted"),
            (
                (blob.digest, blob.size, len(blob.complete), len(blob.partial), len(blob.wants))
                for blob in blobs.values()
            ),
            len(blobs),
        ),
        _table(
            "Prefetch jobs",
            ("job", "images", "rows", "open"),
            ((job.id, ", ".join(job.images), len(job.rows), job.open) for job in tracker.jobs.items()),
            len(tracker.jobs),
        ),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Remora tracker</title>'
        f"<style>{_STYLE}</style></head><body><h1>Remora tracker</h1>{''.join(parts)}</body></html>\n"
    )


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str | int, ...]], count: int) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in islice(rows, ROWS))
    more = f"<p>and {count - ROWS} more</p>" if count > ROWS else ""
    if not count:
        return f"<h2>{escape(title)}</h2><p>none</p>"
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>{more}"


def _cell(value: str | int) -> str:
    if isinstance(value, int):
        return f'<td class="n">{value}</td>'
    return f"<td>{escape(value)}</td>"
