"""The audit log: upstream's Event shape, rotation, and nothing lost without a word."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from timonel.api.errors import Forbidden
from timonel.apiserver import audit
from timonel.apiserver.audit import (
    GATHER_SECONDS,
    AuditLog,
    AuditRecord,
    AuditTrail,
    is_quiet,
    render_event,
    source_addresses,
)
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes, Decision
from timonel.testing.clock import VirtualClock, settle

ANN = UserInfo("ann", "7", ("devs",))
CLOCK = VirtualClock()
PODS = Attributes(ANN, "create", "", "v1", "pods", "exec", "d", "p")


def record(**fields: Any) -> AuditRecord:
    values: dict[str, Any] = {
        "audit_id": "id-1", "attributes": PODS, "request_uri": "/api/v1/x?y", "received": CLOCK.now(), "code": 201
    }  # fmt: skip
    return AuditRecord(**{**values, **fields})


def test_the_shape_is_upstreams() -> None:
    made = record(
        source_ips=["192.0.2.1"], user_agent="kubectl", annotations={"authorization.k8s.io/decision": "allow"}
    )
    assert render_event(made, CLOCK.now()) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "id-1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/x?y",
        "verb": "create",
        "user": {"username": "ann", "uid": "7", "groups": ["devs"]},
        "sourceIPs": ["192.0.2.1"],
        "userAgent": "kubectl",
        "objectRef": {
            "resource": "pods", "namespace": "d", "name": "p", "apiVersion": "v1", "subresource": "exec"
        },
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }  # fmt: skip


def test_failures_and_impersonation() -> None:
    event = render_event(record(code=403, reason="Forbidden", message="no", impersonator=UserInfo("root")), CLOCK.now())
    assert event["responseStatus"] == {
        "metadata": {}, "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403
    }  # fmt: skip
    assert event["user"] == {"username": "root"}
    assert event["impersonatedUser"]["username"] == "ann"


@pytest.mark.parametrize(
    ("attributes", "quiet"),
    [
        (Attributes(ANN, "get", path="/livez"), True),
        (Attributes(ANN, "get", path="/livez/ping"), True),
        (Attributes(ANN, "get", path="/apis/apps/v1"), True),
        (Attributes(ANN, "post", path="/livez"), False),
        (Attributes(ANN, "get", path="/secret"), False),
        (Attributes(ANN, "create", resource="events"), True),
        (Attributes(ANN, "get", resource="pods"), False),
    ],
)
def test_what_says_nothing_is_left_out(attributes: Attributes, quiet: bool) -> None:
    assert is_quiet(attributes) is quiet


def test_where_requests_come_from() -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    assert source_addresses(request)[:2] == ["198.51.100.1", "203.0.113.9"]


def log_in(path: Path, **options: Any) -> AuditLog:
    return AuditLog(path, clock=CLOCK, **{"max_bytes": 1 << 20, "backups": 2, **options})


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_written_beside_the_requests(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = log_in(path)
    task = asyncio.create_task(log.run())
    log.record(record())
    log.record(record(attributes=Attributes(ANN, "get", path="/healthz")))
    await settle()
    assert not path.exists()  # more may come
    await CLOCK.advance(GATHER_SECONDS)
    while not path.exists():
        await asyncio.sleep(0)
    log.record(record(audit_id="id-2"))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [event["auditID"] for event in lines(path)] == ["id-1", "id-2"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_trail_becomes_an_event(tmp_path: Path) -> None:
    log = log_in(tmp_path / "audit.log")
    trail = AuditTrail(make_mocked_request("POST", "/api/v1/pods"), "id-3", CLOCK.now())
    trail.decided(PODS, Decision(False, "because"))
    trail.error = Forbidden("no")
    log.finish(trail, 403)
    await log.flush()
    (event,) = lines(tmp_path / "audit.log")
    assert event["annotations"] == {
        "authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": "because"
    }  # fmt: skip
    assert event["responseStatus"]["reason"] == "Forbidden"


async def test_rotation_keeps_so_many(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = log_in(path, max_bytes=1, backups=2)
    for number in range(4):
        log.record(record(audit_id=f"id-{number}"))
        await log.flush()
    assert not path.exists()
    assert [lines(Path(f"{path}.{number}"))[0]["auditID"] for number in (1, 2)] == ["id-3", "id-2"]
    assert not Path(f"{path}.3").exists()


async def test_drops_are_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "MAX_PENDING_BYTES", 700)
    log = log_in(tmp_path / "audit.log")
    for _ in range(5):
        log.record(record())
    assert log.dropped == 4
    await log.flush()
    written = lines(tmp_path / "audit.log")
    assert written[-1]["kind"] == "DroppedEvents"
    assert written[-1]["count"] == 4
    assert caplog.text.count("audit events are being dropped") == 1


async def test_a_disk_that_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_in(tmp_path / "missing" / "audit.log")
    log.record(record())
    await log.flush()
    assert log.dropped == 1
    assert "No such file or directory" in caplog.text


async def test_a_disk_that_refuses_for_a_while_is_told_of_once_and_every_loss_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "missing" / "audit.log"
    log = log_in(path)
    for _ in range(3):
        log.record(record())
        await log.flush()
    path.parent.mkdir()
    log.record(record(audit_id="id-4"))
    await log.flush()
    written = lines(path)
    assert (written[0]["auditID"], written[1]["kind"], written[1]["count"]) == ("id-4", "DroppedEvents", 3)
    assert log.dropped == 3
    assert len([entry for entry in caplog.records if entry.levelname == "ERROR"]) == 1


async def test_a_disk_that_fills_up_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    log = log_in(path)
    real, calls = os.write, 0

    def fill(descriptor: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:20] if calls == 1 else data)

    monkeypatch.setattr(os, "write", fill)
    log.record(record(audit_id="lost"))
    await log.flush()
    log.record(record(audit_id="kept"))
    await log.flush()
    assert [event.get("auditID", event["kind"]) for event in lines(path)] == ["kept", "DroppedEvents"]


async def test_off() -> None:
    log = AuditLog(None, clock=CLOCK, max_bytes=1, backups=1)
    log.record(record())
    await log.flush()
    assert log.dropped == 0
