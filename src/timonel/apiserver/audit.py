"""The audit log: one JSON line for every request that means something, written beside the requests, never before them.

`finish` only appends to memory; one task hands what has gathered to a thread that writes and rotates. When the disk
cannot keep up, events are dropped and counted, and the log itself says how many.
Source: kubernetes.io/docs/tasks/debug/debug-cluster/audit, audit.k8s.io/v1 Event, level Metadata
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import orjson
from aiohttp import web

from timonel.api.clock import Clock, format_micro_time
from timonel.api.errors import ApiError
from timonel.apiserver.audit_events import encode_asked, encode_event, encode_origin, encode_outcome, is_quiet
from timonel.apiserver.authn.authenticator import IMPERSONATOR, TOKEN_NOTES
from timonel.apiserver.authn.user import ANONYMOUS
from timonel.apiserver.authz.attributes import Attributes, Decision
from timonel.apiserver.heads import head_of

log = logging.getLogger(__name__)

MAX_PENDING_BYTES = 8 * 1024 * 1024
"""What may wait to be written; about 10 000 events."""
GATHER_SECONDS = 0.05
"""Events that come meanwhile are written together. One write by one took a thread's turn of the interpreter from every
few requests."""


class AuditTrail:
    """What becomes known of one request on its way: filled by the server, recorded at its end."""

    attributes: Attributes | None = None
    """None until the sender is known; a request that never gets so far is recorded as nobody's."""
    error: ApiError | None = None
    is_terminated = False
    """Whether the server refused or ended it to protect itself."""
    head_lines = b""
    """For the head of the answer, whichever it will be."""
    queued_seconds = 0.0
    """How long it waited for a seat."""

    def __init__(self, request: web.BaseRequest, audit_id: str, received: datetime) -> None:
        self.request = request
        self.audit_id = audit_id
        self.received = received
        self.annotations: dict[str, str] = {}

    def decided(self, attributes: Attributes, decision: Decision) -> None:
        self.attributes = attributes
        self.annotations["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
        self.annotations["authorization.k8s.io/reason"] = decision.reason


def _origin_of(request: web.BaseRequest) -> str:
    """Worked out once for a head: it belongs to one connection."""
    head = head_of(request)
    if not head.audit_origin:
        head.audit_origin = encode_origin(source_addresses(request), head.user_agent)
    return head.audit_origin


def source_addresses(request: web.BaseRequest) -> list[str]:
    """Where the request came from; all but the last may be invented by the client."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    addresses = [item.strip() for item in forwarded.split(",") if item.strip()]
    remote = request.remote
    if remote and (not addresses or addresses[-1] != remote):
        addresses.append(remote)
    return addresses


class AuditLog:
    """`path` None: nothing is recorded. `run` writes until cancelled, then writes what is left.

    The file is moved to `path.1` when it has `max_bytes`, and `backups` such files are kept.
    """

    def __init__(self, path: Path | None, *, clock: Clock, max_bytes: int, backups: int) -> None:
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._backups = backups
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._unreported = 0
        """Dropped, and the log does not say so yet."""
        self.recorded = 0
        """Events made since the start."""
        self.passed_over = 0
        """Requests that say nothing, and have no event."""
        self.dropped = 0
        """Events lost since the start, because the disk was slower than the requests or refused to take them."""

    def finish(self, trail: AuditTrail, code: int) -> None:
        """Records a finished request, answered with HTTP status `code`. Never blocks and never raises."""
        if self._path is None:
            return
        request = trail.request
        if len(request) and (notes := request.get(TOKEN_NOTES)):
            trail.annotations.update(notes)
        attributes = trail.attributes or Attributes(ANONYMOUS, request.method.lower(), path=request.path)
        if is_quiet(attributes):
            self.passed_over += 1
            return
        impersonator = request.get(IMPERSONATOR) if len(request) else None  # asking for what is not there is slow
        asked = attributes.asked
        if asked is None or impersonator is not None:
            asked = encode_asked(attributes, request.raw_path, impersonator)
            if impersonator is None:
                attributes.asked = asked
        self.recorded += 1
        line = encode_event(
            trail.audit_id, asked, _origin_of(request), encode_outcome(code, trail.error), trail.received,
            self._clock.now(), trail.annotations,
        )  # fmt: skip
        if self._pending_bytes + len(line) > MAX_PENDING_BYTES:
            self._drop(1)
            return
        self._pending.append(line)
        self._pending_bytes += len(line)
        if len(self._pending) == 1:
            self._wake.set()

    async def run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                await self._clock.sleep(GATHER_SECONDS)
                await asyncio.shield(self.flush())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Writes what waits; the server calls it last, for requests that ended while it stopped."""
        async with self._writing:
            self._wake.clear()
            lines, self._pending, self._pending_bytes = self._pending, [], 0
            path = self._path
            if not lines or path is None:
                return
            events, lost = len(lines), self._unreported
            if lost:
                lines.append(self._report(lost))
            try:
                await asyncio.to_thread(self._write, path, b"".join(lines))
            except OSError as exc:
                self._drop(events, why=exc)
            else:
                self._unreported -= lost

    def _drop(self, count: int, why: object = "the disk is slower than the requests") -> None:
        if not self._unreported:  # one line for as long as it lasts, not one for each request
            log.error("audit events are being dropped path=%s why=%s", self._path, why)
        self.dropped += count
        self._unreported += count

    def _report(self, lost: int) -> bytes:
        """A line that is no Event, so that no reader takes it for one."""
        report = {"kind": "DroppedEvents", "apiVersion": "audit.timonel.io/v1", "count": lost,
                  "timestamp": format_micro_time(self._clock.now())}  # fmt: skip
        return orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE)

    def _write(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError:
                # Half a line would spoil the next one too.
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if size + len(data) >= self._max_bytes:
            self._rotate(path)

    def _rotate(self, path: Path) -> None:
        for number in range(self._backups - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{path}.{number}", f"{path}.{number + 1}")
        if self._backups > 0:
            os.replace(path, f"{path}.1")
        else:
            path.unlink()
