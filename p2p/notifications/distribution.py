"""The event envelope of the registry "distribution", so that receivers written for it understand ours.

Fields: distribution's docs/content/about/notifications.md and its notifications/event.go. ``length`` equals
``size``, as there. A manifest that was pushed under several tags is one event per tag, told apart by a
suffix of its id; a deleted tag is a ``delete`` whose target has a tag and no digest. ``source.instanceID`` is
left out: a node has a name only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from p2p.core.oci.manifest import MANIFEST_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from p2p.notifications.api import Event

CONTENT_TYPE: Final = "application/vnd.docker.distribution.events.v1+json"

_METHODS: Final = {"push": "PUT", "pull": "GET", "mount": "POST", "delete": "DELETE"}


def envelope(events: Sequence[Event], *, node: str) -> bytes:
    """Render events for one request; ``node`` is the ``source``."""
    entries = [entry for event in events for entry in _entries(event, node)]
    return json.dumps({"events": entries}, separators=(",", ":")).encode("ascii")


def _entries(event: Event, node: str) -> Iterator[dict[str, object]]:
    happening = event.happening
    for position, tag in enumerate(happening.tags or ("",)):
        target = _target(event, tag)
        yield {
            "id": f"{event.id}-{position}" if position else event.id,
            "timestamp": happening.at.isoformat(),
            "action": happening.what.value,
            "target": target,
            "request": {
                "id": event.id,
                "addr": happening.client,
                "host": happening.repository.registry,
                "method": _METHODS[happening.what.value],
                "useragent": happening.user_agent,
            },
            "actor": {"name": happening.actor} if happening.actor else {},
            "source": {"addr": node},
        }


def _target(event: Event, tag: str) -> dict[str, object]:
    happening = event.happening
    target: dict[str, object] = {}
    if (content := happening.target) is not None:
        target["mediaType"] = content.media_type
        target["size"] = content.size
        target["digest"] = str(content.digest)
        target["length"] = content.size
    target["repository"] = happening.repository.path
    if content is not None:
        kind = "manifests" if content.media_type in MANIFEST_TYPES else "blobs"
        target["url"] = f"/v2/{happening.repository.path}/{kind}/{content.digest}"
    if happening.source is not None:
        target["fromRepository"] = happening.source.path
    if tag:
        target["tag"] = tag
    return target
