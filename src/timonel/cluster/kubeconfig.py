"""The user's own kubeconfig: the cluster's context goes in at `up` and comes out at `down --purge`."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from pathlib import Path
from typing import Any

import yaml

from timonel.cluster.errors import UserError
from timonel.cluster.lock import exclusive

_SECTIONS = ("clusters", "users", "contexts")


def user_kubeconfig() -> tuple[Path, int, int]:
    """The file, and who owns it: first of $KUBECONFIG, else ~/.kube/config of the person behind sudo."""
    configured = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    person = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    entry = None
    if person:
        try:
            entry = pwd.getpwnam(person)
        except KeyError:
            entry = None
    uid, gid = (entry.pw_uid, entry.pw_gid) if entry else (os.geteuid(), os.getegid())
    home = Path(entry.pw_dir) if entry else Path.home()
    return (Path(configured) if configured else home / ".kube" / "config"), uid, gid


def merge_context(source: Path, context: str) -> tuple[Path, bool]:
    """Puts `source`'s only cluster, user and context under the name `context` and makes it current.

    Everything else in the file stays. Returns the file and whether it changed. Raises UserError for a damaged file.
    """
    target, uid, gid = user_kubeconfig()
    ours = yaml.safe_load(source.read_text())
    with _alone_with(target):
        merged = _load(target)
        before = yaml.safe_dump(merged)
        for section in _SECTIONS:
            entry = dict(ours[section][0])
            entry["name"] = context
            if section == "contexts":
                entry["context"] = {**entry["context"], "cluster": context, "user": context}
            merged[section] = [item for item in merged[section] if item.get("name") != context] + [entry]
        merged["current-context"] = context
        if yaml.safe_dump(merged) == before:
            return target, False
        _store(target, merged, uid, gid)
        return target, True


def remove_context(context: str) -> None:
    target, uid, gid = user_kubeconfig()
    with _alone_with(target):
        if not target.exists():
            return
        merged = _load(target)
        before = yaml.safe_dump(merged)
        for section in _SECTIONS:
            merged[section] = [item for item in merged[section] if item.get("name") != context]
        if merged.get("current-context") == context:
            others = [item["name"] for item in merged["contexts"]]
            merged["current-context"] = others[0] if others else ""
        if yaml.safe_dump(merged) == before:
            return
        if any(merged[section] for section in _SECTIONS):
            _store(target, merged, uid, gid)
        else:
            target.unlink()
            with contextlib.suppress(OSError):
                target.parent.rmdir()  # only if nothing else, such as kubectl's cache, is in it


def _alone_with(target: Path) -> contextlib.AbstractContextManager[None]:
    """Clusters that come up or go at the same time must not lose each other's context."""
    return exclusive(f"kubeconfig {target.resolve()}", lambda _: None)


def _load(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        data = {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"your kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"your kubeconfig {path} is not a mapping")
    data.setdefault("apiVersion", "v1")
    data.setdefault("kind", "Config")
    for section in _SECTIONS:
        data[section] = list(data.get(section) or [])
    return data


def _store(path: Path, data: dict[str, Any], uid: int, gid: int) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        os.chown(path.parent, uid, gid)
    path = path.resolve()
    # A new name each time, made by us and by nobody else: root writes here into a folder that belongs to a person.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchown(file.fileno(), uid, gid)
            yaml.safe_dump(data, file, sort_keys=False)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
