"""The tracker: a soft, central control plane that improves choices and is never required."""
