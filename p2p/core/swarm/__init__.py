"""The swarm: how one blob is gathered from several peers, as a pure machine."""
