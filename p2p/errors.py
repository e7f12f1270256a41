"""Every error that Remora raises on purpose.

::

    RemoraError
    ├── ConfigError               a setting is wrong: exit code 2
    ├── LocalError                this host is at fault
    │   ├── PortInUseError
    │   └── StoreError
    │       ├── StoreFullError        no room, over quota, or below the free-space floor
    │       ├── StoreUnhealthyError   an fsync or a write failed: the disk can't be trusted
    │       └── StoreCorruptError     stored bytes do not match their digest
    ├── RemoteError               another host is at fault
    │   ├── OriginError           names the upstream
    │   │   ├── OriginUnreachableError    no connection, timeout, connection lost
    │   │   ├── OriginStatusError         an unexpected status, with its number
    │   │   ├── OriginNotFoundError       404
    │   │   ├── OriginDeniedError         401 or 403, or an untrusted token realm
    │   │   ├── OriginLimitedError        429, or the breaker is open; says when to come back
    │   │   ├── OriginProtocolError       wrong length, wrong bytes, a body we refuse
    │   │   └── ContentError              the content that front ends share; says when to come back
    │   │       ├── ContentMissingError       it has no such object
    │   │       └── ContentRefusedError       no such bucket or directory, or our credentials are refused
    │   ├── PeerError             names the peer
    │   ├── TrackerError          names the tracker
    │   └── NotificationError     names the sink; may say when to come back
    ├── VerificationError         bytes do not match their digest or their link
    └── RegistryError             (p2p.core.oci.error) an answer of the /v2/ API: code and status

Foreign exceptions (OSError, httpx, trio, h11, msgpack) are mapped to these once, at the edge where they
enter, with the original as ``__cause__``.
"""

from __future__ import annotations


class RemoraError(Exception):
    """The root. A sentence in three parts: the thing, the cause, the mend.

    ``subject`` names the thing ("port 5000"), ``cause`` says what is wrong with it, ``mend`` what the
    reader can do; an empty ``mend`` is left out. ``exit_code`` is what a command ends with.
    """

    exit_code = 1

    def __init__(self, subject: str, cause: str, mend: str = "") -> None:
        self.subject = subject
        self.cause = cause
        self.mend = mend
        super().__init__(f"{subject}: {cause}" + (f". {mend}" if mend else ""))


class ConfigError(RemoraError):
    """A setting, flag or file that can't be used."""

    exit_code = 2


class LocalError(RemoraError):
    """A fault of this host: disk, port, permissions."""


class PortInUseError(LocalError):
    """A listener's address is taken."""


class StoreError(LocalError):
    """A fault of the content store."""


class StoreFullError(StoreError):
    """No room for a reservation: quota, free-space floor, or ENOSPC."""


class StoreUnhealthyError(StoreError):
    """A write or fsync failed; the store takes no more writes until restarted."""


class StoreCorruptError(StoreError):
    """Bytes at rest do not match their digest."""


class RemoteError(RemoraError):
    """A fault of another host."""


class OriginError(RemoteError):
    """A fault of an upstream registry; ``subject`` is its name."""


class OriginUnreachableError(OriginError):
    """No connection, a timeout, or the connection was lost."""


class OriginStatusError(OriginError):
    """An answer with a status that we did not expect."""

    def __init__(self, subject: str, cause: str, mend: str = "", *, status: int) -> None:
        super().__init__(subject, cause, mend)
        self.status = status


class OriginNotFoundError(OriginError):
    """The upstream has no such repository, tag or digest."""


class OriginDeniedError(OriginError):
    """The upstream refused our credentials, or we refused its token realm."""


class OriginLimitedError(OriginError):
    """The upstream limits us, or its breaker is open; ``retry_after`` in seconds."""

    def __init__(self, subject: str, cause: str, mend: str = "", *, retry_after: float) -> None:
        super().__init__(subject, cause, mend)
        self.retry_after = retry_after


class OriginProtocolError(OriginError):
    """The upstream's answer breaks the protocol: length, bytes, encoding."""


class ContentError(OriginError):
    """The content that front ends share failed: it is the origin of what is hosted.

    ``subject`` is its URL; ``retry_after`` in seconds.
    """

    def __init__(self, subject: str, cause: str, mend: str = "", *, retry_after: float = 1.0) -> None:
        super().__init__(subject, cause, mend)
        self.retry_after = retry_after


class ContentMissingError(ContentError):
    """The shared content has no object of this key."""


class ContentRefusedError(ContentError):
    """The shared content is not set up: no bucket, no directory, or it refuses our credentials."""


class PeerError(RemoteError):
    """A fault of a peer; ``subject`` names it."""


class TrackerError(RemoteError):
    """A fault of the tracker; ``subject`` names it."""


class NotificationError(RemoteError):
    """A receiver of notifications did not take them; ``retry_after`` in seconds, 0 where it named none."""

    def __init__(self, subject: str, cause: str, mend: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(subject, cause, mend)
        self.retry_after = retry_after


class VerificationError(RemoraError):
    """Bytes that do not match the digest or the link they were to hold."""


def lone(error: BaseException) -> BaseException:
    """Give the one error in a nursery's groups; the group itself where there are several."""
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        if len(inner.exceptions) > 1:
            return error
        inner = inner.exceptions[0]
    return inner
