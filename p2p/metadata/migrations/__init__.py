"""Alembic's scripts: one for each version of the schema. Run by ``p2p.metadata.upgrade``."""
