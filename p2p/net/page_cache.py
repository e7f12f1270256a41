"""Is this part of a file in memory? ``sendfile`` of what is not would block the whole event loop."""

from __future__ import annotations

import errno
import os

STRIDE = 1024 * 1024
"""Distance of the probes in bytes: what lies between is a disk read of a millisecond or two at worst."""

_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def warm_bytes(fd: int, offset: int, length: int) -> int:
    """Count the bytes from ``offset``, at most ``length``, that can be read without waiting for a disk.

    One byte per ``STRIDE`` is read with ``RWF_NOWAIT``, so this is an estimate: good enough to keep disk
    waits off the loop, harmless where it errs. Filesystems that can't tell (tmpfs on older kernels,
    network filesystems) count as warm. Raises OSError for a descriptor that can't be read at all.
    """
    probe = [bytearray(1)]
    end = offset + length
    at = offset
    while at < end:
        if not _is_warm(fd, probe, at):
            return at - offset
        at += STRIDE
    if length and not _is_warm(fd, probe, end - 1):
        return max(min(at - STRIDE, end - 1) - offset, 0)
    return length


def send_cold(sock: int, fd: int, offset: int, length: int) -> int:
    """Read ahead and send, from a worker thread: waits for the disk, never for the client.

    Bytes sent; raises BlockingIOError when the client's socket is full, OSError otherwise.
    """
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)
    return os.sendfile(sock, fd, offset, length)


def _is_warm(fd: int, probe: list[bytearray], at: int) -> bool:
    try:
        os.preadv(fd, probe, at, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True
