"""Folders that containers filled: as deep as they liked, with whatever they put there.

Python's own walks recurse by level, and one of them holds a descriptor per level: a thousand nested folders, which any
container can make, would stop a pod from ever being removed, or the agent. All here is blocking: run it in a thread.
"""

from __future__ import annotations

import errno
import os
from itertools import count

_DEEPEST = 8
"""Levels before a folder is moved up; nine names of 255 bytes stay well below the longest path (4096)."""


def used_bytes(path: str) -> int:
    """What the files below take on disk. What is too deep for a path, or gone meanwhile, is not counted."""
    total = 0
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += _blocks(entry) * 512
        except OSError:
            continue
    return total


def _blocks(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks
    except OSError:
        return 0


def remove_tree(root: str) -> None:
    """Removes a folder with all below it. Raises OSError when something cannot be removed.

    Follows no symbolic link, and goes through no mount: what is bound there may be somebody's data.
    """
    own_mount: str | None = None
    emptied: list[str] = []
    pending = [(root, 0)]
    numbers = count()
    while pending:
        folder, depth = pending.pop()
        emptied.append(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            mount = _mount_of(descriptor)
            if own_mount is None:
                own_mount = mount
            elif mount != own_mount:
                raise OSError(errno.EBUSY, "something is mounted there", folder)
            with os.scandir(descriptor) as found:
                entries = list(found)
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=descriptor)
                elif depth < _DEEPEST:
                    pending.append((f"{folder}/{entry.name}", depth + 1))
                else:
                    target = next(path for number in numbers if not os.path.lexists(path := f"{root}/.deep-{number}"))
                    os.rename(entry.name, target, src_dir_fd=descriptor)
                    pending.append((target, 1))
        finally:
            os.close(descriptor)
    for folder in reversed(emptied):  # each was noted after the one it is in, or was moved into the first
        os.rmdir(folder)


def _mount_of(descriptor: int) -> str:
    """Which mount an open folder is on: a folder that is bound somewhere has the same device number there.

    Source: proc(5), /proc/pid/fdinfo
    """
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
        return next((line for line in lines if line.startswith("mnt_id:")), "")
