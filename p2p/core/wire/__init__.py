"""Messages between nodes and the tracker, and their codec.

One schema, shared with the tracker: arrays that begin with a tag, in msgpack. ``docs/protocol.md`` is
the reader's version.
"""
