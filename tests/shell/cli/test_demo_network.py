from pathlib import Path

import pytest
import trio

from p2p.cli.children import open_children
from p2p.cli.demo_image import make_image
from p2p.cli.demo_network import REPOSITORY, TAG, pull_everywhere, sent_to_clients, start_network, sum_metric

METRICS = """# HELP remora_sent_bytes_total Bytes.
remora_sent_bytes_total{to="peers"} 5.0
remora_sent_bytes_total{to="clients"} 1.5e+03
remora_sent_bytes_total_more{to="clients"} 7
remora_swarms 2.0
"""


def test_metrics_are_summed_by_label() -> None:
    assert sum_metric(METRICS, "remora_sent_bytes_total", 'to="clients"') == 1500
    assert sum_metric(METRICS, "remora_sent_bytes_total") == 1505
    assert sum_metric(METRICS, "remora_swarms") == 2
    assert sum_metric(METRICS, "remora_other") == 0


@pytest.mark.slow
async def test_a_small_network_pulls_a_small_image(tmp_path: Path) -> None:
    image = await trio.to_thread.run_sync(
        make_image, tmp_path / "images/demo", f"{REPOSITORY}:{TAG}", (3 << 20, 5000)
    )
    async with open_children(tmp_path) as children:
        network = await start_network(children, tmp_path, tmp_path / "images/demo", 2)
        rows = await pull_everywhere(network, image)
        sent = await sent_to_clients(network.origin)
    assert [row.name for row in rows] == ["node-1", "node-2"]
    assert sum(row.peers + row.origin for row in rows) >= 2 * (3 << 20)
    assert sent >= image.size
