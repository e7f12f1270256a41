"""The HTTP/1.1 server: h11 on trio with sendfile."""
