"""Kademlia without sockets and clock: messages, routing, provider records, lookups, one node's machine."""
