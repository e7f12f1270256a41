"""The /v2/ front end."""
