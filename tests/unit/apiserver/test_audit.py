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

from timonel.api.errors import ApiError, Forbidden, InternalError
from timonel.apiserver import audit
from timonel.apiserver.audit import (
    GATHER_SECONDS,
    AuditLog,
    AuditTrail,
    source_addresses,
)
from timonel.apiserver.audit_events import encode_asked, encode_event, encode_origin, encode_outcome, is_quiet
from timonel.apiserver.authn.authenticator import IMPERSONATOR
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes, Decision
from timonel.testing.clock import VirtualClock, settle

ANN = UserInfo("ann", "7", ("devs",))
CLOCK = VirtualClock()
PODS = Attributes(ANN, "create", "", "v1", "pods", "exec", "d", "p")


def finish(
    log: AuditLog, audit_id: str = "id-1", attributes: Attributes = PODS, path: str = "/api/v1/x?y", code: int = 201
) -> None:
    trail = AuditTrail(make_mocked_request("POST", path), audit_id, CLOCK.now())
    trail.attributes = attributes
    log.finish(trail, code)


def event_of(
    attributes: Attributes = PODS,
    *,
    request_uri: str = "/api/v1/x?y",
    origin: str = "",
    code: int = 201,
    error: ApiError | None = None,
    impersonator: UserInfo | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    asked, outcome = encode_asked(attributes, request_uri, impersonator), encode_outcome(code, error)
    line = encode_event("id-1", asked, origin, outcome, CLOCK.now(), CLOCK.now(), annotations or {})
    assert line.endswith(b"}\n")
    event: dict[str, Any] = orjson.loads(line)
    return event


def test_the_shape_is_upstreams() -> None:
    origin = encode_origin(["192.0.2.1"], "kubectl")
    assert event_of(origin=origin, annotations={"authorization.k8s.io/decision": "allow"}) == {
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
    event = event_of(code=403, error=Forbidden("no"), impersonator=UserInfo("root"))
    assert event["responseStatus"] == {
        "metadata": {}, "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403
    }  # fmt: skip
    assert event["user"] == {"username": "root"}
    assert event["impersonatedUser"]["username"] == "ann"


def test_what_clients_make_up_stays_inside_its_string() -> None:
    odd = 'a"\\\n},"user":{"username":"root"}\u2028é'
    attributes = Attributes(UserInfo(odd, odd, (odd,), {odd: (odd,)}), "get", odd, odd, odd, odd, odd, odd)
    event = event_of(
        attributes, request_uri=odd, origin=encode_origin([odd], odd), code=500, error=InternalError(odd),
        annotations={odd: odd},
    )  # fmt: skip
    assert event["user"] == {"username": odd, "uid": odd, "groups": [odd], "extra": {odd: [odd]}}
    assert set(event["objectRef"].values()) == {odd}
    assert len(event["objectRef"]) == 6
    assert event["requestURI"] == odd
    assert (event["sourceIPs"], event["userAgent"], event["annotations"]) == ([odd], odd, {odd: odd})
    assert (event["responseStatus"]["message"], event["responseStatus"]["reason"]) == (odd, "InternalError")


def test_bytes_that_are_no_text_are_told_as_escapes() -> None:
    assert event_of(request_uri=b"/\xff".decode("utf-8", "surrogateescape"))["requestURI"] == "/\\udcff"


def test_users_that_differ_in_extra_only_are_told_apart() -> None:
    for credential in ("JTI=1", "JTI=2"):
        user = UserInfo("ann", extra={"authentication.kubernetes.io/credential-id": (credential,)})
        event = event_of(Attributes(user, "get", resource="pods"))
        assert event["user"]["extra"] == {"authentication.kubernetes.io/credential-id": [credential]}


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


async def test_who_acts_for_somebody_is_told_though_the_same_was_asked_before(tmp_path: Path) -> None:
    """What an event says of who asks is kept with what is asked: an impersonator is of the request alone."""
    log = log_in(tmp_path / "audit.log")
    for impersonator in (None, UserInfo("root"), None, UserInfo("boss")):
        request = make_mocked_request("POST", "/api/v1/x?y")
        if impersonator is not None:
            request[IMPERSONATOR] = impersonator
        trail = AuditTrail(request, "id", CLOCK.now())
        trail.attributes = PODS
        log.finish(trail, 201)
    await log.flush()
    told = [(event["user"]["username"], "impersonatedUser" in event) for event in lines(tmp_path / "audit.log")]
    assert told == [("ann", False), ("root", True), ("ann", False), ("boss", True)]


def log_in(path: Path, **options: Any) -> AuditLog:
    return AuditLog(path, clock=CLOCK, **{"max_bytes": 1 << 20, "backups": 2, **options})


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_written_beside_the_requests(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = log_in(path)
    task = asyncio.create_task(log.run())
    finish(log)
    finish(log, attributes=Attributes(ANN, "get", path="/healthz"))
    await settle()
    assert not path.exists()  # more may come
    await CLOCK.advance(GATHER_SECONDS)
    while not path.exists():
        await asyncio.sleep(0)
    finish(log, audit_id="id-2")
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
        finish(log, audit_id=f"id-{number}")
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
        finish(log)
    assert log.dropped == 4
    await log.flush()
    written = lines(tmp_path / "audit.log")
    assert written[-1]["kind"] == "DroppedEvents"
    assert written[-1]["count"] == 4
    assert caplog.text.count("audit events are being dropped") == 1


async def test_a_disk_that_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_in(tmp_path / "missing" / "audit.log")
    finish(log)
    await log.flush()
    assert log.dropped == 1
    assert "No such file or directory" in caplog.text


async def test_a_disk_that_refuses_for_a_while_is_told_of_once_and_every_loss_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "missing" / "audit.log"
    log = log_in(path)
    for _ in range(3):
        finish(log)
        await log.flush()
    path.parent.mkdir()
    finish(log, audit_id="id-4")
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
    finish(log, audit_id="lost")
    await log.flush()
    finish(log, audit_id="kept")
    await log.flush()
    assert [event.get("auditID", event["kind"]) for event in lines(path)] == ["kept", "DroppedEvents"]


async def test_off() -> None:
    log = AuditLog(None, clock=CLOCK, max_bytes=1, backups=1)
    finish(log)
    await log.flush()
    assert log.dropped == 0
