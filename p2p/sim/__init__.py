"""A discrete-event simulator over the production classes: swarm, tracker, leases, claims."""
