"""Gives a volume to the group that a pod's fsGroup names, as upstream does before the first container starts.

Containers, of this pod's last run or of another pod, may have put anything there, and may still be at it: every entry
is opened without following links, and what was opened is changed, so nothing outside the volume ever is.
Source: kubernetes.io/docs/tasks/configure-pod-container/security-context, "fsGroup" and "fsGroupChangePolicy"
"""

from __future__ import annotations

import logging
import os
import stat

log = logging.getLogger(__name__)

_FILE = 0o660
_FOLDER = 0o770 | stat.S_ISGID
_DEEPEST = 256
"""Levels that are walked: one descriptor each."""


def give_to_group(root: str, group: int, *, only_if_root_differs: bool) -> None:
    """Blocking: run it in a thread. Raises OSError."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if only_if_root_differs and found.st_gid == group and found.st_mode & _FOLDER == _FOLDER:
            return
        # The root last: while it differs, an interrupted walk is begun anew.
        _walk(descriptor, group, 0)
        _change(descriptor, group)
    finally:
        os.close(descriptor)


def _walk(parent: int, group: int, depth: int) -> None:
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        try:
            descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            continue
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISLNK(mode):
                os.chown(name, -1, group, dir_fd=parent, follow_symlinks=False)
                continue
            if stat.S_ISDIR(mode):
                if depth < _DEEPEST:
                    _descend(descriptor, group, depth + 1)
                else:
                    log.warning("folder too deep to be given to a group name=%s group=%d", name, group)
            _change(descriptor, group)
        except FileNotFoundError:
            continue
        finally:
            os.close(descriptor)


def _descend(opened: int, group: int, depth: int) -> None:
    folder = os.open(f"/proc/self/fd/{opened}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _walk(folder, group, depth)
    finally:
        os.close(folder)


def _change(descriptor: int, group: int) -> None:
    """Of an open file or folder: by its own name in /proc, which leads to it and nowhere else."""
    path = f"/proc/self/fd/{descriptor}"
    found = os.fstat(descriptor)
    wanted = stat.S_IMODE(found.st_mode) | (_FOLDER if stat.S_ISDIR(found.st_mode) else _FILE)
    if found.st_gid != group:
        os.chown(path, -1, group)
    if stat.S_IMODE(found.st_mode) != wanted or found.st_gid != group:
        os.chmod(path, wanted)  # chown may have taken the setgid bit away
