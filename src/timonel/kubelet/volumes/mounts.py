"""mount(2) and umount2(2), and what is mounted now. The calls take microseconds; nothing here talks to a network."""

from __future__ import annotations

import ctypes
import os
import re

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_SLAVE, MS_SHARED = 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

_libc = ctypes.CDLL(None, use_errno=True)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def _check(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Raises OSError."""
    _check(
        _libc.mount(
            os.fsencode(source), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), options.encode()
        ),
        target,
    )


def bind(source: str, target: str) -> None:
    """With all that is mounted below. What is mounted there later is seen here, but unmounting here changes nothing
    there: without the second step the end of a pod would unmount the node's own file systems (mount_namespaces(7)).
    The third lets containers have a part in it (mountPropagation).
    """
    mount(source, target, flags=MS_BIND | MS_REC)
    mount("", target, flags=MS_SLAVE | MS_REC)
    mount("", target, flags=MS_SHARED | MS_REC)


def mount_tmpfs(target: str, *, size_bytes: int = 0, mode: str = "0777") -> None:
    options = f"mode={mode}" + (f",size={size_bytes}" if size_bytes else "")
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options)


def unmount(target: str) -> None:
    """A busy mount is detached: it vanishes from the tree now and for good with its last user."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW), target)


def mount_points(below: str) -> list[str]:
    """Everything mounted at or below a path, deepest first."""
    root = os.path.realpath(below)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            path = _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), line.split(" ", 5)[4])
            if path == root or path.startswith(root + "/"):
                found.append(path)
    return found[::-1]


def is_mount_point(path: str) -> bool:
    try:
        return os.lstat(path).st_dev != os.lstat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        return False
