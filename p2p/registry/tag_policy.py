"""Which tag policy holds for a repository. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from p2p.core.oci.glob import Glob, GlobError
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from p2p.config import TagRuleSettings, TagSettings
    from p2p.core.oci.reference import Repository


class TagPolicies:
    """``TagSettings`` with its rules: the first rule that matches changes what it names, the rest stays.

    Rules match ``registry/path`` of upstreams: ``docker.io/library/*``, ``ghcr.io/**``.
    """

    def __init__(self, settings: TagSettings) -> None:
        """ConfigError for a rule whose glob is none."""
        self._default = settings
        self._rules = [
            ([_glob(text, number) for text in rule.repositories], _changed(settings, rule))
            for number, rule in enumerate(settings.rules)
        ]

    def of(self, repository: Repository) -> TagSettings:
        """Give what holds for one repository."""
        if self._rules:
            name = f"{repository.registry}/{repository.path}"
            for globs, settings in self._rules:
                if any(glob.matches(name) for glob in globs):
                    return settings
        return self._default


def _changed(settings: TagSettings, rule: TagRuleSettings) -> TagSettings:
    named = {
        name: value
        for name in ("max_age", "stale_if_error", "from_peers")
        if (value := getattr(rule, name)) is not None
    }
    return msgspec.structs.replace(settings, **named)


def _glob(text: str, number: int) -> Glob:
    try:
        return Glob.parse(text)
    except GlobError as error:
        raise ConfigError(
            f"tags.rules[{number}]", f"{text!r} {error}", "Write it as docker.io/library/* or ghcr.io/**"
        ) from error
