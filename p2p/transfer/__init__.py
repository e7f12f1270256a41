"""Trio shells around the swarm: runner, peers' links, seeder."""
