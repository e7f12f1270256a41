"""The documentation's links resolve, and the protocol's description names every message."""

import re
from pathlib import Path

import msgspec
import pytest

from p2p.core.dht.messages import DhtMessage
from p2p.core.wire.peer import PeerMessage
from p2p.core.wire.tracker import FromTracker, ToTracker

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in LINK.findall(text_of(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        resolved = (page.parent / path).resolve() if path else page
        assert resolved.exists(), f"{page.name}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(resolved), f"{page.name}: {target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_images_are_there_and_small(page: Path) -> None:
    for target in IMAGE.findall(text_of(page)):
        if "://" not in target:
            assert 0 < (page.parent / target).stat().st_size < 100_000, f"{page.name}: {target}"


@pytest.mark.parametrize(
    "message",
    [*PeerMessage.__args__, *ToTracker.__args__, *FromTracker.__args__, *DhtMessage.__args__],
    ids=lambda message: f"{message.__module__}.{message.__name__}",
)
def test_the_protocol_names_every_message_and_its_fields(message: type[msgspec.Struct]) -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    tag = message.__struct_config__.tag
    row = next(
        (line for line in text.splitlines() if f"`{tag}`" in line and f"| {message.__name__} |" in line), None
    )
    assert row, f"docs/protocol.md does not describe {message.__name__} (`{tag}`)"
    for field in message.__struct_fields__:
        assert f"`{field}`" in row, f"docs/protocol.md: {message.__name__} lacks {field}"


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/architecture.md").read_text()
    for page in (ROOT / "docs/adr").glob("*.md"):
        assert f"adr/{page.name}" in index, f"docs/architecture.md does not list {page.name}"
