"""A happening as bytes, for the queue's file."""

from __future__ import annotations

import json
from datetime import datetime

from p2p.core.oci.descriptor import Descriptor, json_object, json_text, json_texts
from p2p.core.oci.reference import Repository
from p2p.errors import LocalError
from p2p.notifications.api import Happening, What


def dump(happening: Happening) -> bytes:
    """Write as JSON, without what is empty."""
    entry: dict[str, object] = {
        "what": happening.what.value,
        "registry": happening.repository.registry,
        "path": happening.repository.path,
        "at": happening.at.isoformat(),
    }
    if happening.target is not None:
        entry["target"] = happening.target.to_json()
    if happening.tags:
        entry["tags"] = list(happening.tags)
    if happening.source is not None:
        entry["source"] = [happening.source.registry, happening.source.path]
    for key in ("actor", "client", "user_agent"):
        if value := getattr(happening, key):
            entry[key] = value
    return json.dumps(entry, separators=(",", ":")).encode("ascii")


def load(data: bytes) -> Happening:
    """Read what ``dump`` wrote; LocalError for anything else."""
    try:
        entry = json_object(json.loads(data), "event")
        source = json_texts(entry, "source")
        target = entry.get("target")
        return Happening(
            what=What(json_text(entry, "what")),
            repository=Repository(json_text(entry, "registry"), json_text(entry, "path")),
            target=None if target is None else Descriptor.from_json(target),
            at=datetime.fromisoformat(json_text(entry, "at")),
            tags=json_texts(entry, "tags"),
            source=Repository(*source) if source else None,
            actor=json_text(entry, "actor"),
            client=json_text(entry, "client"),
            user_agent=json_text(entry, "user_agent"),
        )
    except Exception as error:  # whatever stands there in place of what ``dump`` wrote is told alike
        raise LocalError("a queued notification", f"it can't be read ({error})") from error
