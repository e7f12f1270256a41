"""Upstream registries: authentication, redirects, breaker."""
