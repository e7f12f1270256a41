"""Field names as in distribution's documentation of notifications."""

from __future__ import annotations

import json
from typing import Any

from p2p.core.oci.reference import Repository
from p2p.notifications.api import Event, What
from p2p.notifications.distribution import CONTENT_TYPE, envelope
from tests.support.happenings import LAYER, NOW, happening, target


def entries(*events: Event) -> list[dict[str, Any]]:
    document = json.loads(envelope(events, node="web-1:5000"))
    assert list(document) == ["events"]
    found: list[dict[str, Any]] = document["events"]
    return found


def test_the_content_type() -> None:
    assert CONTENT_TYPE == "application/vnd.docker.distribution.events.v1+json"


def test_a_push_of_a_manifest() -> None:
    pushed = happening(tags=("1.0",), actor="ann", client="10.0.0.7:1234", user_agent="docker/29")
    manifest = target()
    assert entries(Event(7, "abc", pushed)) == [
        {
            "id": "abc",
            "timestamp": NOW.isoformat(),
            "action": "push",
            "target": {
                "mediaType": manifest.media_type,
                "size": manifest.size,
                "digest": str(manifest.digest),
                "length": manifest.size,
                "repository": "team/app",
                "url": f"/v2/team/app/manifests/{manifest.digest}",
                "tag": "1.0",
            },
            "request": {
                "id": "abc",
                "addr": "10.0.0.7:1234",
                "host": "hosted.invalid",
                "method": "PUT",
                "useragent": "docker/29",
            },
            "actor": {"name": "ann"},
            "source": {"addr": "web-1:5000"},
        }
    ]


def test_several_tags_are_several_events() -> None:
    pushed = entries(Event(7, "abc", happening(tags=("1", "2"))))
    assert [(one["id"], one["target"]["tag"]) for one in pushed] == [("abc", "1"), ("abc-1", "2")]


def test_a_mount_of_a_blob() -> None:
    layer = target(b"layer", LAYER)
    mounted = happening(What.MOUNT, target=layer, source=Repository("hosted.invalid", "base/os"))
    (one,) = entries(Event(1, "m", mounted))
    assert (one["action"], one["request"]["method"], one["actor"]) == ("mount", "POST", {})
    assert one["target"]["fromRepository"] == "base/os"
    assert one["target"]["url"] == f"/v2/team/app/blobs/{layer.digest}"
    assert "tag" not in one["target"]


def test_a_deleted_tag_has_no_digest() -> None:
    (one,) = entries(Event(1, "d", happening(What.DELETE, target=None, tags=("old",))))
    assert one["target"] == {"repository": "team/app", "tag": "old"}
    assert one["request"]["method"] == "DELETE"
