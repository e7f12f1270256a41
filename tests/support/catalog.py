"""The catalog's twin in memory, with images to put into it, and the events that a registry would tell of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.errors import PeerError
from p2p.metadata.hosting import Changed
from p2p.notifications.api import Event, Happening, What
from tests.support.happenings import LAYER, NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.errors import LocalError

CONFIG = "application/vnd.oci.image.config.v1+json"


class MemoryCatalog:
    """``Catalog`` in dictionaries. ``error`` is what every call raises, ``lost`` what no read gives now.

    ``reads`` has every digest that was asked for.
    """

    def __init__(self) -> None:
        self.content: dict[tuple[Repository, Digest], bytes] = {}
        self.tagged: dict[Repository, dict[str, Descriptor]] = {}
        self.listed: dict[Repository, dict[str, Descriptor]] = {}
        self.changed: dict[Repository, int] = {}
        self.database = "one"
        self.lost: set[Digest] = set()
        self.reads: list[Digest] = []
        self.now = 1_000_000
        self.failed = 0
        self.events: list[Event] = []
        self.error: LocalError | None = None

    def image(
        self,
        name: str,
        *tags: str,
        platform: str = "linux/amd64",
        annotations: dict[str, str] | None = None,
        size: int = 1000,
        **more: Any,
    ) -> Descriptor:
        """Push an image with one layer of ``size`` bytes."""
        os, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        parts = {"os": os, "architecture": architecture, "variant": variant or None}
        config = self._put(Repository("hosted", name), json.dumps(parts).encode(), CONFIG)
        layer = Descriptor(LAYER, Digest.of(f"{name}{tags}{size}".encode()), size)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json()],
            "annotations": annotations or {},
        }
        return self.manifest(name, document | more, *tags)

    def index(self, name: str, *tags: str, children: dict[str, Descriptor]) -> Descriptor:
        """Push an index of images by platform."""
        entries = []
        for platform, child in children.items():
            os, architecture = platform.split("/")
            entries.append(child.to_json() | {"platform": {"os": os, "architecture": architecture}})
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.manifest(name, document, *tags)

    def manifest(self, name: str, document: dict[str, Any], *tags: str) -> Descriptor:
        """Push any manifest."""
        repository = Repository("hosted", name)
        data = json.dumps(document).encode()
        target = self._put(repository, data, document["mediaType"])
        self.listed.setdefault(repository, {})[str(target.digest)] = target
        for tag in tags:
            self.tagged.setdefault(repository, {})[tag] = target
        self.tagged.setdefault(repository, {})
        self.tell(What.PUSH, repository, target, tags)
        return target

    def delete(self, name: str, target: Descriptor) -> None:
        """Delete a manifest with its tags."""
        repository = Repository("hosted", name)
        del self.content[repository, target.digest]
        del self.listed[repository][str(target.digest)]
        tags = tuple(tag for tag, one in self.tagged[repository].items() if one == target)
        for tag in tags:
            del self.tagged[repository][tag]
        self.tell(What.DELETE, repository, target, tags)

    def untag(self, name: str, tag: str) -> None:
        """Delete a tag."""
        repository = Repository("hosted", name)
        del self.tagged[repository][tag]
        self.tell(What.DELETE, repository, None, (tag,))

    def tell(
        self, what: What, repository: Repository, target: Descriptor | None, tags: tuple[str, ...] = ()
    ) -> None:
        if what in (What.PUSH, What.DELETE):
            self.now += 1
            self.changed[repository] = self.now
        number = len(self.events) + 1
        self.events.append(Event(number, str(number), Happening(what, repository, target, NOW, tags)))

    def _put(self, repository: Repository, data: bytes, media_type: str) -> Descriptor:
        target = Descriptor(media_type, Digest.of(data), len(data))
        self.content[repository, target.digest] = data
        return target

    async def name(self) -> str:
        self._fail()
        return self.database

    async def changes(self, n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        self._fail()
        known = sorted((at, one.path, one) for one, at in self.changed.items())
        return [Changed(one, at) for at, path, one in known if (at, path) > after][:n]

    async def manifests(self, repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        self._fail()
        known = self.listed.get(repository, {})
        return [known[digest] for digest in sorted(known) if digest > last][:n]

    async def tags(self, repository: Repository, n: int, last: str = "") -> Sequence[tuple[str, Descriptor]]:
        self._fail()
        return sorted(
            ((tag, one) for tag, one in self.tagged.get(repository, {}).items() if tag > last),
            key=lambda pair: pair[0],
        )[:n]

    async def read(self, repository: Repository, digest: Digest, limit: int) -> bytes | None:
        self._fail()
        self.reads.append(digest)
        if digest in self.lost:
            raise PeerError(str(digest), "nobody has it")
        data = self.content.get((repository, digest))
        return data if data is not None and len(data) <= limit else None

    def _fail(self) -> None:
        if self.error is not None:
            self.failed += 1
            raise self.error


def fill(catalog: MemoryCatalog) -> dict[str, Descriptor]:
    """Push what the tests of search look for."""
    pushed = {
        "web": catalog.image(
            "team/web", "1.0", "latest", annotations={"org.opencontainers.image.title": "Shop window"}
        ),
        "arm": catalog.image("team/web", "1.0-arm", platform="linux/arm64/v8", size=200_000_000),
        "db": catalog.image("other/db", "15.2", annotations={"vendor": "Crème & Söhne"}),
    }
    pushed["all"] = catalog.index(
        "team/web", "multi", children={"linux/amd64": pushed["web"], "linux/arm64": pushed["arm"]}
    )
    pushed["sbom"] = catalog.image(
        "team/web",
        subject={key: pushed["web"].to_json()[key] for key in ("mediaType", "digest", "size")},
        artifactType="application/spdx+json",
    )
    return pushed
