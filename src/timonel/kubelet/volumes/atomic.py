"""Files of a volume replaced all at once: readers see the old set or the new one, never a mixture.

The real files are in a directory named after the moment; `..data` is a link to it that is swapped by rename, and each
name users see is a link through `..data`. Programs watch for the swap, so the layout is part of the interface.
Source: kubernetes.io/docs/concepts/configuration/configmap, "Mounted ConfigMaps are updated automatically".
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

DATA = "..data"
_SWAP = "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int
    owner: int | None = None
    """uid; None: root."""


def write_files(directory: str, files: Mapping[str, File], *, now: datetime, group: int | None = None) -> bool:
    """Makes the directory show exactly these files, by relative path; False when it already does.

    `group` (fsGroup) owns files and directories and may read them. Raises OSError.
    """
    current = _current(directory)
    if current is not None and _same(os.path.join(directory, current), files, group):
        return False
    version = f"..{now:%Y_%m_%d_%H_%M_%S}.{now.microsecond:06d}{os.urandom(2).hex()}"
    payload = os.path.join(directory, version)
    os.mkdir(payload, 0o755)
    os.chmod(payload, 0o755)
    try:
        for path, file in files.items():
            _write(payload, path, file, group)
        if group is not None:
            _own_directories(directory, payload, group)
    except BaseException:
        # It is tried again, and again: what does not fit or contradicts itself must not pile up.
        shutil.rmtree(payload, ignore_errors=True)
        raise
    swap = os.path.join(directory, _SWAP)
    _unlink(swap)
    os.symlink(version, swap)
    os.rename(swap, os.path.join(directory, DATA))
    _link_names(directory, {path.split("/", 1)[0] for path in files})
    _remove_others(directory, version)
    return True


def _current(directory: str) -> str | None:
    try:
        return os.readlink(os.path.join(directory, DATA))
    except OSError:
        return None


def _mode(file: File, group: int | None) -> int:
    return file.mode if group is None else file.mode | 0o440


def _same(payload: str, files: Mapping[str, File], group: int | None) -> bool:
    present = set()
    for root, _, names in os.walk(payload):
        present |= {os.path.relpath(os.path.join(root, name), payload) for name in names}
    if present != set(files):
        return False
    for path, file in files.items():
        full = os.path.join(payload, path)
        info = os.stat(full)
        if stat.S_IMODE(info.st_mode) != _mode(file, group) or info.st_size != len(file.content):
            return False
        with open(full, "rb") as handle:
            if handle.read() != file.content:
                return False
    return True


def _write(payload: str, path: str, file: File, group: int | None) -> None:
    full = os.path.join(payload, path)
    os.makedirs(os.path.dirname(full), mode=0o755, exist_ok=True)
    descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(file.content)
    if file.owner is not None or group is not None:
        os.chown(full, -1 if file.owner is None else file.owner, -1 if group is None else group)
    os.chmod(full, _mode(file, group))


def _own_directories(directory: str, payload: str, group: int) -> None:
    os.chown(directory, -1, group)
    os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) | stat.S_ISGID | 0o550)
    for root, _, _ in os.walk(payload):
        os.chown(root, -1, group)
        os.chmod(root, stat.S_IMODE(os.stat(root).st_mode) | stat.S_ISGID | 0o550)


def _link_names(directory: str, names: set[str]) -> None:
    for name in names:
        link = os.path.join(directory, name)
        if not os.path.islink(link):
            os.symlink(os.path.join(DATA, name), link)
    for name in os.listdir(directory):
        if name not in names and not name.startswith("..") and os.path.islink(os.path.join(directory, name)):
            _unlink(os.path.join(directory, name))


def _remove_others(directory: str, keep: str) -> None:
    for name in os.listdir(directory):
        if name.startswith("..2") and name != keep:
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
