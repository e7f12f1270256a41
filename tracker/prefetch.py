"""Prefetch jobs: a command names images and nodes, the nodes pull, the command gets the whole table.

A job is over when every row is final: done, failed, lost, or unknown. A node that disconnects is given
``RETURN`` seconds; back in time, it is sent the intent again and goes on from what it has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING

from p2p.core.wire.tracker import Intent, IntentCancel, IntentProgress, JobReport, NodeReport
from tracker.events import Send

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.core.wire.tracker import PrefetchAsk
    from tracker.peer_table import Node, PeerTable

RETURN = 10.0
REPORT_EVERY = 1.0
ABANDONED = 6 * 3600.0
"""Seconds that a job whose command is gone is still followed."""

REPORTED = frozenset({"resolving", "pulling", "done", "failed"})
FINAL = frozenset({"done", "failed", "lost", "unknown"})


@dataclass(frozen=True, slots=True)
class JobCaps:
    """Bounds; an ask above them is refused."""

    jobs: int = 64
    images: int = 256
    patterns: int = 1_000
    globs: int = 64
    rows: int = 2_500
    """A whole report is one message, and the wire bounds its elements and bytes."""
    text: int = 512
    detail: int = 160


@dataclass(slots=True)
class Job:
    """One job. ``conn`` None: its command is gone. ``rows`` by (node id or unmatched pattern, image)."""

    id: str
    conn: int | None
    images: tuple[str, ...]
    begun: float
    rows: dict[tuple[str, str], NodeReport] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)
    """Nodes with rows under way that are gone: when each is lost, first one first."""
    open: int = 0
    """Rows that are not final."""
    changed: bool = True
    report_at: float = 0.0

    def put(self, row: NodeReport, key: str = "") -> None:
        """Set a row, keeping count of those that are not final."""
        place = (key or row.node, row.image)
        before = self.rows.get(place)
        self.open += (row.state not in FINAL) - (before is not None and before.state not in FINAL)
        self.rows[place] = row
        self.changed = True

    def report(self) -> JobReport:
        """Give the whole table."""
        return JobReport(self.id, tuple(self.rows.values()), done=self.open == 0)


class Jobs:
    """All jobs. Methods give what is to be sent; ids are ``<prefix><number>``."""

    def __init__(self, table: PeerTable, caps: JobCaps | None = None, prefix: str = "job-") -> None:
        self._table = table
        self._caps = caps or JobCaps()
        self._prefix = prefix
        self._count = 0
        self._jobs: dict[str, Job] = {}
        self._of_node: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def items(self) -> list[Job]:
        """Give all jobs, for show; don't change them."""
        return list(self._jobs.values())

    def refusal(self, ask: PrefetchAsk) -> str:
        """Say why an ask is not taken; empty where it is."""
        caps = self._caps
        if len(self._jobs) >= caps.jobs:
            return f"{len(self._jobs)} jobs are under way; wait for one to end"
        if not 0 < len(ask.images) <= caps.images or not 0 < len(ask.nodes) <= caps.patterns:
            return f"a job has 1 to {caps.images} images and 1 to {caps.patterns} node patterns"
        if sum(map(_is_glob, ask.nodes)) > caps.globs:
            return f"more than {caps.globs} node patterns with wildcards"
        if any(not 0 < len(text) <= caps.text for text in (*ask.images, *ask.nodes)):
            return f"an image or a node pattern is empty or longer than {caps.text} characters"
        return ""

    def begin(self, conn: int, ask: PrefetchAsk, now: float) -> list[Send]:
        """Start a job that was not refused; sends intents, and the report at once."""
        self._count += 1
        job = Job(f"{self._prefix}{self._count}", conn, tuple(dict.fromkeys(ask.images)), now)
        nodes, unmatched = self._match(tuple(dict.fromkeys(ask.nodes)))
        # Nodes beyond the cap are left out whole and named, rather than half taken.
        room = max(1, self._caps.rows // len(job.images))
        self._jobs[job.id] = job
        out: list[Send] = []
        for node in nodes[:room]:
            if node.conn is not None:
                out.append(Send(node.conn, Intent(job.id, job.images)))
                self._of_node.setdefault(node.id, {})[job.id] = None
                state, detail = "waiting", ""
            else:
                state, detail = "lost", f"disconnected {_ago(now - node.seen)} ago"
            for image in job.images:
                job.put(NodeReport(node.id, node.name, image, state, 0, (), detail))
        for node in nodes[room:]:
            job.put(NodeReport(node.id, node.name, "", "failed", 0, (), "too many rows in one job"))
        for pattern in unmatched:
            why = "no node matches" if _is_glob(pattern) else "no node of this name was seen"
            for image in job.images:
                job.put(NodeReport("", pattern, image, "unknown", 0, (), why), key=f"?{pattern}")
        job.report_at = now
        return out + self._flush(job, now)

    def cancel(self, conn: int, job_id: str, now: float) -> list[Send]:
        """Stop a job of this connection; its open rows fail. An unknown one is a no-op."""
        job = self._jobs.get(job_id)
        if job is None or job.conn != conn:
            return []
        return self._stop(job, "canceled", now)

    def progress(self, node: Node, report: IntentProgress, now: float) -> list[Send]:
        """Take a node's word on a row; late words on jobs that are over, or on foreign images, are dropped.

        A row that was lost is taken up again: the node was cut off and worked on.
        """
        job = self._jobs.get(report.job)
        if job is None or (row := job.rows.get((node.id, report.image))) is None:
            return []
        if row.state not in ("done", "failed"):
            self._of_node.setdefault(node.id, {})[job.id] = None
            total, sources, detail = report.total, report.sources, report.detail[: self._caps.detail]
            job.put(NodeReport(node.id, node.name, report.image, report.state, total, sources, detail))
        return self._flush(job, now)

    def node_joined(self, node: Node, now: float) -> list[Send]:
        """Send the intents again to a node that came back."""
        out: list[Send] = []
        for job_id in self._of_node.get(node.id, ()):
            job = self._jobs[job_id]
            if job.absent.pop(node.id, None) is not None and node.conn is not None:
                out.append(Send(node.conn, Intent(job.id, job.images)))
                self._set_open(job, node.id, "waiting", "came back")
                out += self._flush(job, now)
        return out

    def node_left(self, node: Node, now: float) -> None:
        """Give a node that is gone some time to return."""
        for job_id in self._of_node.get(node.id, ()):
            job = self._jobs[job_id]
            if any(job.rows[node.id, image].state not in FINAL for image in job.images):
                job.absent[node.id] = now + RETURN

    def conn_left(self, conn: int) -> None:
        """Go on without the command: its nodes have their intents."""
        for job in self._jobs.values():
            if job.conn == conn:
                job.conn = None

    def tick(self, now: float) -> list[Send]:
        """Lose nodes that stayed away, and push reports that are due."""
        out: list[Send] = []
        for job in list(self._jobs.values()):
            while (first := next(iter(job.absent), None)) is not None and job.absent[first] <= now:
                del job.absent[first]
                self._set_open(job, first, "lost", f"disconnected {_ago(RETURN)} ago")
            if job.conn is None and now >= job.begun + ABANDONED:
                out += self._stop(job, "given up after hours without its command", now)
            else:
                out += self._flush(job, now)
        return out

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return min((at for job in self._jobs.values() for at in self._deadlines(job)), default=None)

    def _deadlines(self, job: Job) -> Iterable[float]:
        if job.absent:
            yield next(iter(job.absent.values()))
        if job.conn is None:
            yield job.begun + ABANDONED
        elif job.changed:
            yield job.report_at

    def _flush(self, job: Job, now: float) -> list[Send]:
        over = job.open == 0
        out: list[Send] = []
        if job.conn is not None and job.changed and (over or now >= job.report_at):
            out.append(Send(job.conn, job.report()))
            job.changed = False
            job.report_at = now + REPORT_EVERY
        if over:
            self._forget(job)
        return out

    def _stop(self, job: Job, why: str, now: float) -> list[Send]:
        out: list[Send] = []
        for node_id in dict.fromkeys(row.node for row in job.rows.values() if row.state not in FINAL):
            node = self._table.nodes.get(node_id)
            if node is not None and node.conn is not None:
                out.append(Send(node.conn, IntentCancel(job.id)))
            self._set_open(job, node_id, "failed", why)
        return out + self._flush(job, now)

    def _set_open(self, job: Job, node_id: str, state: str, detail: str) -> None:
        for image in job.images:
            row = job.rows[node_id, image]
            if row.state not in FINAL:
                job.put(NodeReport(node_id, row.name, image, state, row.total, row.sources, detail))

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        for node_id, _ in job.rows:
            jobs = self._of_node.get(node_id)
            if jobs is not None:
                jobs.pop(job.id, None)
                if not jobs:
                    del self._of_node[node_id]

    def _match(self, patterns: tuple[str, ...]) -> tuple[list[Node], list[str]]:
        """Find the nodes that patterns name, each once, and the patterns that name none.

        Where several nodes have one name, gone ones are left out if one of them is connected: that is a
        host which was set up anew.
        """
        by_name: dict[str, list[Node]] = {}
        for node in self._table.nodes.values():
            by_name.setdefault(node.name, []).append(node)
        found: dict[str, Node] = {}
        unmatched: list[str] = []
        for pattern in patterns:
            if _is_glob(pattern):
                matches = re.compile(translate(pattern)).match
                names = [name for name in by_name if matches(name)]
            else:
                names = [pattern] if pattern in by_name else []
            nodes = [node for name in names for node in _current(by_name[name])]
            if not nodes and pattern in self._table.nodes:
                nodes = [self._table.nodes[pattern]]
            if not nodes:
                unmatched.append(pattern)
            found.update((node.id, node) for node in nodes)
        return list(found.values()), unmatched


def _current(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.conn is not None] or nodes


def _is_glob(pattern: str) -> bool:
    return any(char in pattern for char in "*?[")


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
