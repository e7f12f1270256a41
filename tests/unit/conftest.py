"""Property tests are bounded by pytest's timeout: a busy machine must not fail one for a slow example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("remora", deadline=None)
settings.load_profile("remora")
