from __future__ import annotations

from p2p.node.families import counter, gauge, histogram


def test_names_labels_and_values() -> None:
    one = counter("sent_bytes", "Bytes.", {("peers",): 3, ("clients",): 4}, "to")
    assert [(s.name, s.labels, s.value) for s in one.samples] == [
        ("remora_sent_bytes_total", {"to": "peers"}, 3),
        ("remora_sent_bytes_total", {"to": "clients"}, 4),
    ]
    assert gauge("healthy", "Truth.", {(): True}).samples[0].value == 1.0


def test_a_histogram_sums_up() -> None:
    family = histogram("seconds", "Time.", (0.1, 1.0), (3, 2, 1), 4.5)
    assert [(s.name, s.labels.get("le"), s.value) for s in family.samples] == [
        ("remora_seconds_bucket", "0.1", 3),
        ("remora_seconds_bucket", "1.0", 5),
        ("remora_seconds_bucket", "+Inf", 6),
        ("remora_seconds_count", None, 6),
        ("remora_seconds_sum", None, 4.5),
    ]
