"""Attributes as in the CloudEvents specification 1.0 and its JSON format."""

from __future__ import annotations

import json

from p2p.core.oci.reference import Repository
from p2p.notifications.api import Event, What
from p2p.notifications.cloudevents import BATCH, ONE, structured
from tests.support.happenings import NOW, happening, target


def test_one_event_is_itself() -> None:
    kind, body = structured([Event(1, "abc", happening(tags=("1", "2"), actor="ann"))], node="web 1")
    assert kind == ONE == "application/cloudevents+json"
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "abc",
        "source": "/remora/web%201",
        "type": "dev.remora.push.v1",
        "subject": "team/app:1",
        "time": NOW.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "repository": "team/app",
            "tags": ["1", "2"],
            "target": target().to_json(),
            "actor": {"name": "ann"},
            "request": {"addr": "", "useragent": ""},
        },
    }


def test_several_are_a_batch() -> None:
    mount = happening(What.MOUNT, source=Repository("hosted.invalid", "base/os"))
    gone = happening(What.DELETE, target=None, tags=("old",))
    kind, body = structured([Event(1, "a", mount), Event(2, "b", gone)], node="n")
    assert kind == BATCH == "application/cloudevents-batch+json"
    first, second = json.loads(body)
    assert first["type"] == "dev.remora.mount.v1"
    assert first["subject"] == f"team/app@{target().digest}"
    assert first["data"]["fromRepository"] == "base/os"
    assert (second["type"], second["subject"]) == ("dev.remora.delete.v1", "team/app:old")
    assert "target" not in second["data"]
