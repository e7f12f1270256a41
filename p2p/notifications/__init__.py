"""Who is told of pushes, pulls, mounts and deletes: a durable queue, and sinks with retries."""
