"""Writes pods' statuses to the API: the newest one, only what differs, one write at a time for each pod.

While the API is away the newest status waits; what was between is never sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from timonel.api.clock import Clock
from timonel.api.errors import ApiError, Conflict, Invalid, NotFound
from timonel.api.objects import Object, find_by, name_of, namespace_of, resource_version_of, uid_of
from timonel.api.refs import PODS
from timonel.client.backoff import Backoff
from timonel.client.protocol import ApiClient
from timonel.kubelet.eviction.critical import is_static
from timonel.kubelet.pods.conditions import OWN_CONDITIONS, PASSING_CONDITIONS
from timonel.kubelet.tasks import Tasks

log = logging.getLogger(__name__)

_PARALLEL = 4
"""Enough for thousands a second. Each more costs a connection and its TLS handshake when many pods start together."""
_MERGED_BY = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}


@dataclass(slots=True)
class _Entry:
    pod: Object
    status: Object
    base: Object
    """What the API has, as far as known."""
    version: int = 0
    """resourceVersion of `base`."""
    since: float = 0.0
    """When the pod was first seen."""
    task: asyncio.Task[None] | None = None
    refused: Object | None = None
    """What the API called invalid: not sent again as it is."""


class Statuses:
    """`set` what a pod's status shall be; it is written as soon as can be. `run` fails when a write is lost."""

    def __init__(
        self, *, client: ApiClient, clock: Clock, on_running: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """`on_running` is told when a pod runs for the first time, and how many seconds after it was first seen."""
        self._on_running = on_running
        self._client = client
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._mirrors: dict[str, str] = {}
        """Uid of a static pod -> uid of the pod in the API that shows it."""
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._tasks = Tasks()

    async def run(self) -> None:
        """Until cancelled; then no more is written."""
        await self._tasks.run()

    def get(self, uid: str) -> Object | None:
        """The newest status set here, written or not."""
        entry = self._entries.get(uid)
        return entry.status if entry else None

    def set(self, pod: Object, status: Object) -> None:
        uid = uid_of(pod)
        entry = self._entries.get(uid)
        if entry is None:
            base = pod.get("status") or {}
            entry = self._entries[uid] = _Entry(pod, base, base, _version(pod), since=self._clock.monotonic())
        if status.get("phase") == "Running" and entry.status.get("phase") != "Running":
            self._on_running(self._clock.monotonic() - entry.since)
        entry.pod = pod
        entry.status = status
        self._start(uid, entry)

    def observe(self, pod: Object) -> None:
        """The API's copy of a pod: when somebody else changed what is the kubelet's to say, it is said again."""
        entry = self._entries.get(uid_of(pod))
        if entry is None or _version(pod) <= entry.version:
            return
        entry.base, entry.version = pod.get("status") or {}, _version(pod)
        if _contradicts(entry.base, entry.status):
            self._start(uid_of(pod), entry)

    def show_by(self, uid: str, mirror: Object | None) -> None:
        """The pod in the API by which a static pod is shown as it is there; None: there is none."""
        if mirror is None:
            self._mirrors.pop(uid, None)
            return
        is_other = self._mirrors.get(uid) != uid_of(mirror)
        self._mirrors[uid] = uid_of(mirror)
        entry = self._entries.get(uid)
        if entry is None or (not is_other and _version(mirror) <= entry.version):
            return
        entry.base, entry.version = mirror.get("status") or {}, _version(mirror)
        if is_other or _contradicts(entry.base, entry.status):
            self._start(uid, entry)

    def _uid_in_api(self, pod: Object) -> str:
        """ "": the API does not show it (yet)."""
        return self._mirrors.get(uid_of(pod), "") if is_static(pod) else uid_of(pod)

    def forget(self, uid: str) -> None:
        entry = self._entries.pop(uid, None)
        if entry is not None and entry.task is not None:
            entry.task.cancel()

    async def flush(self, uid: str) -> None:
        """Until the newest status is written, or nobody wants it any more."""
        while (entry := self._entries.get(uid)) is not None and entry.task is not None:
            await asyncio.wait((entry.task,))

    def _start(self, uid: str, entry: _Entry) -> None:
        patch = status_patch(entry.base, entry.status)
        if entry.task is None and patch and patch != entry.refused and self._uid_in_api(entry.pod):
            entry.task = self._tasks.start(self._write(uid, entry), name=f"status {name_of(entry.pod)}")

    async def _write(self, uid: str, entry: _Entry) -> None:
        backoff = Backoff(first=0.2, limit=10.0)
        try:
            while self._entries.get(uid) is entry:
                patch = status_patch(entry.base, entry.status)
                if not patch:
                    return
                try:
                    async with self._slots:
                        answer = await self._send(entry.pod, patch)
                except (NotFound, Conflict):
                    return  # the pod is gone, or another one has its name
                except Invalid as exc:
                    # Asking again would change nothing, and the end of the pod must not wait for it.
                    log.warning("status refused pod=%s error=%s", name_of(entry.pod), exc)
                    entry.refused = patch
                    if status_patch(entry.base, entry.status) == patch:
                        return
                    continue
                except (ApiError, OSError) as exc:
                    log.info("status not written pod=%s error=%s", name_of(entry.pod), exc)
                    await self._clock.sleep(backoff.next_delay())
                    continue
                except Exception:
                    # One pod's odd status must not end the kubelet for all others; and it may be another one next time.
                    log.exception("status write broke pod=%s", name_of(entry.pod))
                    await self._clock.sleep(backoff.next_delay())
                    continue
                entry.base, entry.version = answer.get("status") or {}, _version(answer)
                backoff.reset()
                if not _differs(entry.status, patch, entry.base):
                    return
        finally:
            entry.task = None

    async def _send(self, pod: Object, patch: Object) -> Object:
        body = {"metadata": {"uid": self._uid_in_api(pod)}, "status": patch}
        return await self._client.patch(
            PODS, name_of(pod), body, namespace_of(pod), type="strategic", subresource="status"
        )

    async def close(self) -> None:
        await self._tasks.close()


def _version(pod: Object) -> int:
    text = resource_version_of(pod)
    return int(text) if text.isdigit() else 0


def _differs(wanted: Object, sent: Object, stored: Object) -> bool:
    """Whether another write could help: not when the server stored something else than was just sent to it."""
    left = status_patch(stored, wanted)
    return bool(left) and left != sent


def _contradicts(stored: Object, own: Object) -> bool:
    if stored.get("phase") != own.get("phase"):
        return True
    for kind in OWN_CONDITIONS:
        mine, theirs = (find_by(status.get("conditions"), "type", kind) for status in (own, stored))
        if mine is not None and (theirs is None or theirs.get("status") != mine["status"]):
            return True
    return False


def only_own_status_differs(before: Object, after: Object) -> bool:
    """Of two versions of a pod in the API: whether nothing differs that is not for the kubelet itself to say."""
    return _foreign(before) == _foreign(after)


def _foreign(pod: Object) -> tuple[Object, Object, list[Object]]:
    metadata = {key: value for key, value in pod["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    conditions = (pod.get("status") or {}).get("conditions") or ()
    own = OWN_CONDITIONS + PASSING_CONDITIONS
    return metadata, pod["spec"], [entry for entry in conditions if entry.get("type") not in own]


def _plain(value: Any) -> Any:
    """Without nulls, which the API drops."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def status_patch(old: Object, new: Object) -> Object:
    """A strategic merge patch of status that turns `old` into `new`; {} when nothing differs. Pure.

    Conditions of others, and those that `new` does not mention, are left alone.
    """
    patch: Object = {}
    for key in old.keys() | new.keys():
        before, after = _plain(old.get(key)), _plain(new.get(key))
        if before == after:
            continue
        merge_key = _MERGED_BY.get(key)
        if merge_key is None:
            if after is not None or key not in ("resize", "nominatedNodeName", "resourceClaimStatuses"):
                patch[key] = after
            continue
        changes: list[Object] = []
        for entry in after or ():
            known = find_by(before, merge_key, entry[merge_key])
            if known != entry:
                # Entries are merged field by field, so what an entry no longer has is named as null.
                changes.append({field: None for field in known or () if field not in entry} | entry)
        gone = [entry for entry in before or () if find_by(after, merge_key, entry[merge_key]) is None]
        if key == "conditions":
            gone = [entry for entry in gone if entry["type"] in PASSING_CONDITIONS]
        changes += [{merge_key: entry[merge_key], "$patch": "delete"} for entry in gone]
        if changes:
            patch[key] = changes
    return patch
