"""Errors of the server: what clients do wrong, or fail to do.

::

    RemoteError
    └── ClientError               the client at the other end is at fault
        ├── ClientGoneError           it closed or reset the connection
        │   └── SlowClientError       it gave or took fewer bytes than the limits ask
        ├── RefusedRequestError       its request is malformed, too large, or ambiguous
        └── BodyError                 the request's body broke the protocol
            ├── BodyLostError             the body stopped: the client left or is too slow
            └── BodyTooLargeError         the body passed the handler's limit
    LocalError
    ├── BrokenBodyError           a response's parts do not add up to its length
    └── ImpossibleResponseError   a handler's response is not HTTP
"""

from __future__ import annotations

from p2p.errors import LocalError, RemoteError


class ClientError(RemoteError):
    """A fault of the client; ``subject`` is its address."""


class ClientGoneError(ClientError):
    """The client closed or reset the connection before the exchange was over."""


class SlowClientError(ClientGoneError):
    """The client gave or took fewer bytes than ``minimum_rate`` or ``body_timeout`` ask: we left."""


class RefusedRequestError(ClientError):
    """A request that is answered by the server itself, with ``status``, and ends its connection."""

    def __init__(self, cause: str, *, status: int = 400) -> None:
        super().__init__("request", cause)
        self.status = status


class BodyError(ClientError):
    """The request's body breaks the protocol."""


class BodyLostError(BodyError):
    """The request's body stopped before its end; there is nobody to answer to."""


class BodyTooLargeError(BodyError):
    """The request's body is larger than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__("request body", f"larger than the {limit} bytes that are accepted here")
        self.limit = limit


class BrokenBodyError(LocalError):
    """A response's parts raise, end early, or run over: the connection is cut."""


class ImpossibleResponseError(LocalError):
    """A handler's response that can't be rendered as HTTP: a bug of ours, answered with 500."""
