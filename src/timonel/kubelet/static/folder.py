"""Follows the folder (or the one file) with static pods, and has its pods run.

Files are read again after each change, and once in a while in case a change was not told. A pod that replaces another
one of the same name waits for its end. Source: kubernetes.io/docs/tasks/configure-pod-container/static-pod
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from timonel.api.clock import Clock
from timonel.api.objects import Object, ObjectKey, key_of, uid_of
from timonel.kubelet.static.manifest import InvalidManifest, parse_manifest, seen_at
from timonel.kubelet.streaming.logs.changes import DirectoryChanges
from timonel.kubelet.waiting import wait_event

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.1
"""Between a change and the look at it: files are seldom written in one go."""
_REPLACE_SECONDS = 0.5
_LARGEST_BYTES = 10 * 1024 * 1024


class StaticPods:
    """`start(pod)` and `end(uid)` run pods; `running(key)` tells whether one of that name has not ended yet."""

    def __init__(
        self,
        *,
        path: str,
        node_name: str,
        clock: Clock,
        check_seconds: float,
        start: Callable[[Object], None],
        end: Callable[[str], None],
        running: Callable[[ObjectKey], bool],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._node_name = node_name
        self._clock = clock
        self._check_seconds = check_seconds
        self._start = start
        self._end = end
        self._running = running
        self._changed = changed
        self._pods: dict[str, Object] = {}
        self._waiting: dict[str, Object] = {}
        """Pods whose predecessor of the same name has not ended yet, by uid."""
        self._problems: dict[str, str] = {}
        self._known: dict[str, tuple[tuple[int, int, int], Object | None]] = {}
        """File -> what it was like when it was read, and the pod in it."""

    @property
    def pods(self) -> dict[str, Object]:
        """Those that shall run, by uid."""
        return {**self._pods, **self._waiting}

    async def run(self) -> None:
        if not self._path:
            return
        changes, wake = DirectoryChanges(clock=self._clock), asyncio.Event()
        try:
            while True:
                folder = self._folder()
                if folder is None:
                    await self.look()
                    await self._clock.sleep(self._check_seconds)
                    continue
                with changes.watch(folder, wake):
                    while self._folder() == folder:
                        wake.clear()
                        await self.look()
                        await wait_event(wake, _REPLACE_SECONDS if self._waiting else self._check_seconds, self._clock)
                        if wake.is_set():
                            await self._clock.sleep(_SETTLE_SECONDS)
        finally:
            changes.close()

    def _folder(self) -> str | None:
        """Where changes are watched for; None: there is nothing yet."""
        for folder in (self._path, os.path.dirname(self._path)):
            if os.path.isdir(folder) and (folder == self._path or os.path.isfile(self._path)):
                return folder
        return None

    async def look(self) -> None:
        """Reads what has changed; starts and ends pods accordingly."""
        if not self._path:
            return
        found = await asyncio.to_thread(self._read)
        if found is None:
            return  # it could not be listed: no reason to end what runs
        wanted = {uid_of(pod): pod for pod in found}
        before = self.pods.keys()
        for uid in [uid for uid in self._waiting if uid not in wanted]:
            del self._waiting[uid]
        for uid in [uid for uid in self._pods if uid not in wanted]:
            log.info("static pod removed pod=%s", key_of(self._pods[uid]))
            del self._pods[uid]
            self._end(uid)
        for uid, pod in wanted.items():
            if uid in self._pods:
                continue
            if self._running(key_of(pod)) and uid not in before:
                self._waiting[uid] = pod
            elif uid not in self._waiting or not self._running(key_of(pod)):
                self._waiting.pop(uid, None)
                self._pods[uid] = seen_at(pod, self._clock.now())
                log.info("static pod found pod=%s uid=%s", key_of(pod), uid)
                self._start(self._pods[uid])
        if self.pods.keys() != before:
            self._changed()

    def _read(self) -> list[Object] | None:
        """Of all files that can be read. A file that cannot be understood any more leaves its pod as it was."""
        files = self._files()
        if files is None:
            return None
        self._known = {file: known for file, known in self._known.items() if file in files}
        for file in files:
            try:
                about = os.stat(file)
                likeness = about.st_mtime_ns, about.st_size, about.st_ino
                known = self._known.get(file)
                if known is not None and known[0] == likeness:
                    continue
                with open(file, "rb") as opened:
                    pod = parse_manifest(opened.read(_LARGEST_BYTES), file=file, node_name=self._node_name)
                self._problems.pop(file, None)
            except (OSError, InvalidManifest) as exc:
                if self._problems.get(file) != str(exc):
                    self._problems[file] = str(exc)
                    log.warning("static pod not read file=%s error=%s", file, exc)
                continue
            self._known[file] = likeness, pod
        return [pod for _, pod in self._known.values() if pod is not None]

    def _files(self) -> list[str] | None:
        try:
            if not os.path.isdir(self._path):
                return [self._path] if os.path.isfile(self._path) else []
            names = sorted(name for name in os.listdir(self._path) if not name.startswith("."))
            return [path for name in names if os.path.isfile(path := os.path.join(self._path, name))]
        except OSError as exc:
            log.warning("static pods not listed path=%s error=%s", self._path, exc)
            return None
