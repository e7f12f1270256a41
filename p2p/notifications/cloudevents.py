"""Events as CloudEvents 1.0 in structured mode: one as itself, several as a batch.

Attributes: the CloudEvents specification 1.0.2, "Context Attributes", and its JSON format, "Envelope" and
"JSON Batch Format". ``type`` is ``dev.remora.<action>.v1``, ``subject`` the repository with
the tag or digest, ``data`` our own: repository, target, tags, fromRepository, actor, request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.notifications.api import Event

ONE: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
TYPE: Final = "dev.remora.{}.v1"


def structured(events: Sequence[Event], *, node: str) -> tuple[str, bytes]:
    """Render events for one request: content type and body."""
    entries = [_entry(event, node) for event in events]
    if len(entries) == 1:
        return ONE, _json(entries[0])
    return BATCH, _json(entries)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _entry(event: Event, node: str) -> dict[str, object]:
    happening = event.happening
    data: dict[str, object] = {"repository": happening.repository.path}
    subject = happening.repository.path
    if happening.tags:
        data["tags"] = list(happening.tags)
        subject = f"{subject}:{happening.tags[0]}"
    if happening.target is not None:
        data["target"] = happening.target.to_json()
        subject = subject if happening.tags else f"{subject}@{happening.target.digest}"
    if happening.source is not None:
        data["fromRepository"] = happening.source.path
    if happening.actor:
        data["actor"] = {"name": happening.actor}
    data["request"] = {"addr": happening.client, "useragent": happening.user_agent}
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/remora/{quote(node, safe='')}",
        "type": TYPE.format(happening.what.value),
        "subject": subject,
        "time": happening.at.isoformat(),
        "datacontenttype": "application/json",
        "data": data,
    }
