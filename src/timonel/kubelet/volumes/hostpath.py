"""hostPath volumes: a path of the node, checked or made by its type.

Source: kubernetes.io/docs/concepts/storage/volumes, "hostPath volume types".
"""

from __future__ import annotations

import os
import stat

_CHECKS = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


class HostPathError(Exception):
    pass


def ensure_host_path(path: str, kind: str) -> None:
    """Raises HostPathError, OSError."""
    if kind == "DirectoryOrCreate":
        if not os.path.exists(path):
            os.makedirs(path, 0o755)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not os.path.exists(path):
            with open(path, "xb"):
                os.chmod(path, 0o644)
        kind = "File"
    if kind not in _CHECKS:
        return
    test, message = _CHECKS[kind]
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise HostPathError(f"hostPath type check failed: {path} {message}") from None
    if not test(mode):
        raise HostPathError(f"hostPath type check failed: {path} {message}")
