"""A reference model of hosting: sets and times, written from the rules and not from an implementation."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class HostingModel:
    """Repositories and contents by small numbers, times in hours.

    Content ``n`` of the images is a manifest that refers to ``children[n]``. ``linked`` has what each
    repository reaches, with the end of its lease (0: none was given).
    """

    children: dict[int, frozenset[int]]
    linked: dict[tuple[int, int], int] = field(default_factory=dict)
    manifests: set[tuple[int, int]] = field(default_factory=set)
    tags: dict[tuple[int, str], int] = field(default_factory=dict)
    owned: set[int] = field(default_factory=set)
    deleting: set[int] = field(default_factory=set)
    places: dict[int, str] = field(default_factory=dict)

    def referred(self, repository: int, content: int) -> bool:
        """Whether a manifest of the repository has it among its children."""
        return any(r == repository and content in self.children[m] for r, m in self.manifests)

    def needed(self, repository: int, content: int) -> bool:
        """Whether it stays in the repository whatever the time is."""
        return (repository, content) in self.manifests or self.referred(repository, content)

    def reachable(self, content: int, now: int) -> bool:
        """Whether some repository's link to it must outlive a review now."""
        return any(self.needed(r, c) or end > now for (r, c), end in self.linked.items() if c == content)

    def add(self, repository: int, content: int, lease: int) -> bool:
        """A push of a blob."""
        if content in self.deleting:
            return False
        self.owned.add(content)
        key = (repository, content)
        self.linked[key] = max(lease, self.linked.get(key, 0))
        return True

    def put_at(self, repository: int, content: int, lease: int, key: str) -> None:
        """A push of a blob to a new place: it takes over what is being deleted."""
        if content in self.deleting or content not in self.places:
            self.places[content] = key
        self.deleting.discard(content)
        self.add(repository, content, lease)

    def collected(self, content: int, key: str) -> None:
        """A deletion that is told of, perhaps too late."""
        if content in self.deleting and self.places.get(content, "") == key:
            self.deleting.remove(content)
            self.places.pop(content, None)

    def mount(self, repository: int, content: int, source: int | None, lease: int) -> bool:
        """A mount; None: from anywhere."""
        sources = {r for r, c in self.linked if c == content and source in (None, r)}
        return bool(sources) and content in self.owned and self.add(repository, content, lease)

    def hold(self, repository: int, content: int, lease: int) -> bool:
        """An answer "exists"."""
        key = (repository, content)
        if key not in self.linked:
            return False
        self.linked[key] = max(lease, self.linked[key])
        return True

    def put(self, repository: int, manifest: int, tag: str | None) -> set[int]:
        """A push of a manifest; gives what is missing."""
        missing = {c for c in self.children[manifest] if (repository, c) not in self.linked}
        missing |= {c for c in (*self.children[manifest], manifest) if c in self.deleting}
        if not missing:
            self.owned.add(manifest)
            self.linked.setdefault((repository, manifest), 0)
            self.manifests.add((repository, manifest))
            if tag is not None:
                self.tags[repository, tag] = manifest
        return missing

    def remove(self, repository: int, manifest: int) -> list[str] | None:
        """A delete of a manifest; gives its tags."""
        if (repository, manifest) not in self.manifests:
            return None
        tags = sorted(t for (r, t), m in self.tags.items() if (r, m) == (repository, manifest))
        for tag in tags:
            del self.tags[repository, tag]
        self.manifests.remove((repository, manifest))
        del self.linked[repository, manifest]
        return tags

    def remove_blob(self, repository: int, content: int) -> bool | None:
        """A delete of a blob."""
        if (repository, content) not in self.linked:
            return None
        if self.needed(repository, content):
            return False
        del self.linked[repository, content]
        return True

    def drop(self, repository: int) -> int:
        """A delete of all."""
        gone = [key for key in self.linked if key[0] == repository]
        for key in gone:
            del self.linked[key]
        self.manifests = {each for each in self.manifests if each[0] != repository}
        self.tags = {key: m for key, m in self.tags.items() if key[0] != repository}
        return len(gone)

    def claim(self, content: int, now: int) -> bool:
        """A review; whether its bytes may go."""
        if content not in self.owned:
            return False
        for key, end in list(self.linked.items()):
            if key[1] == content and not self.needed(*key) and end <= now:
                del self.linked[key]
        if any(key[1] == content for key in self.linked):
            return False
        self.owned.remove(content)
        self.deleting.add(content)
        return True
