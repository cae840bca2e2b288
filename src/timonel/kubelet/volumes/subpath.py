"""subPath mounts that cannot be led out of their volume by symbolic links, not even by a race.

The path is resolved, checked to lie in the volume, and opened again component by component without following links;
what was opened is bound to a place of ours, and the container gets that place. Only then can nobody swap it any more.
Source: kubernetes.io/blog/2018/04/04/fixing-subpath-volume-vulnerability
"""

from __future__ import annotations

import os
import stat

from timonel.kubelet.volumes import mounts


class SubPathError(Exception):
    pass


def _inside(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def open_beneath(root: str, path: str, *, create_mode: int | None = 0o750) -> int:
    """A descriptor (O_PATH) of root/path; links inside the volume are followed, links out of it are refused.

    Missing directories are made with `create_mode`; None: they are not. The caller closes it.
    Raises SubPathError, OSError.
    """
    real_root = os.path.realpath(root)
    resolved = os.path.realpath(os.path.join(real_root, path))
    if not _inside(real_root, resolved):
        raise SubPathError(f"subpath {path!r} not within volume path {root!r}")
    descriptor = os.open(real_root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    relative = os.path.relpath(resolved, real_root)
    for part in [] if relative == "." else relative.split("/"):
        parent = descriptor
        try:
            descriptor = _step(parent, part, create_mode)
        finally:
            os.close(parent)
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SubPathError(f"subpath {path!r}: {part!r} became a symbolic link")
    return descriptor


def _step(parent: int, name: str, create_mode: int | None) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if create_mode is None:
            raise
    try:
        os.mkdir(name, create_mode, dir_fd=parent)
    except FileExistsError:
        pass  # somebody else was quicker: it is looked at like any other
    # The new directory belongs to whom its parent does, so that fsGroup holds below it.
    made = os.open(name, flags, dir_fd=parent)
    owner = os.fstat(parent)
    if stat.S_ISDIR(os.fstat(made).st_mode):
        os.chown(f"/proc/self/fd/{made}", -1, owner.st_gid)
        os.chmod(f"/proc/self/fd/{made}", create_mode | stat.S_IMODE(owner.st_mode) & 0o2777)
    return made


def bind_subpath(root: str, path: str, target: str, *, create_mode: int | None = 0o750) -> None:
    """Binds root/path to `target`, which is made as a file or a directory like it. Raises SubPathError, OSError."""
    descriptor = open_beneath(root, path, create_mode=create_mode)
    try:
        # Of the container's last run. What is bound on its own file system looks like any folder: the table tells.
        for point in mounts.mount_points(target):
            mounts.unmount(point)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            with open(target, "ab"):
                pass
        mounts.bind(f"/proc/self/fd/{descriptor}", target)
    finally:
        os.close(descriptor)
