"""Probes against real sockets on loopback. Source: configuration/liveness-readiness-startup-probes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.kubelet.pods import container
from timonel.api.objects import Object
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.probes.actions import Actions, Outcome, container_port, http_target
from timonel.testing.fake_runtime import FakeRuntime

C = container("c", ports=[{"name": "http", "containerPort": 8080}])


@asynccontextmanager
async def server(answer: bytes, seen: list[bytes] | None = None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(head)
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


async def ask(handler: Object, timeout: float = 1) -> Outcome:
    return await Actions(runtime=FakeRuntime()).run(handler, C, "id", "127.0.0.1", timeout)


@pytest.mark.parametrize(
    ("status", "passed"), [("200 OK", True), ("204 No Content", True), ("399 Odd", True), ("400 Bad", False)]
)
async def test_http_status_decides(status: str, passed: bool) -> None:
    async with server(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi".encode()) as port:
        outcome = await ask({"httpGet": {"port": port, "path": "/x"}})
    assert outcome.passed == passed
    if not passed:
        assert outcome.output == "HTTP probe failed with statuscode: 400"


async def test_http_request() -> None:
    seen: list[bytes] = []
    headers = [{"name": "Host", "value": "example.org"}, {"name": "X-A", "value": "1"}]
    async with server(b"HTTP/1.0 200 OK\r\n\r\nok", seen) as port:
        outcome = await ask({"httpGet": {"port": port, "path": "/a b?q=1", "httpHeaders": headers}})
    assert outcome == Outcome(True, "ok")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b?q=1 HTTP/1.1"
    assert "Host: example.org" in lines
    assert "X-A: 1" in lines
    assert any(line.startswith("User-Agent: kube-probe/1.") for line in lines)


async def test_an_answer_without_a_body_is_not_waited_for() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await asked.wait()  # keeps the connection, as HTTP/1.1 may
        writer.close()
        closed.set()

    asked, closed = asyncio.Event(), asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        outcome = await ask({"httpGet": {"port": listening.sockets[0].getsockname()[1]}})
        asked.set()
        await closed.wait()
    assert outcome.passed


async def test_redirects_elsewhere_are_a_warning() -> None:
    async with server(b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n") as port:
        outcome = await ask({"httpGet": {"port": port}})
    assert outcome.passed
    assert outcome.warning


async def test_nobody_listens() -> None:
    async with server(b"") as port:
        pass
    http = await ask({"httpGet": {"port": port, "path": "/"}})
    assert http.output == f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    tcp = await ask({"tcpSocket": {"port": port}})
    assert tcp.output == f"dial tcp 127.0.0.1:{port}: connect: connection refused"


async def test_no_answer_in_time() -> None:
    stop = asyncio.Event()

    async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    listening = await asyncio.start_server(hanging, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    outcome = await ask({"httpGet": {"port": port}}, timeout=0.05)
    stop.set()
    listening.close()
    await listening.wait_closed()
    assert not outcome.passed
    assert "context deadline exceeded" in outcome.output


async def test_rubbish_is_a_failure() -> None:
    async with server(b"SSH-2.0-x\r\n\r\n") as port:
        outcome = await ask({"httpGet": {"port": port}})
    assert "malformed HTTP response" in outcome.output


async def test_tcp() -> None:
    async with server(b"") as port:
        assert (await ask({"tcpSocket": {"port": port}})).passed


async def test_exec() -> None:
    runtime = FakeRuntime()
    sandbox = await runtime.run_pod_sandbox(cri.PodSandboxConfig())
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"))
    cid = await runtime.create_container(sandbox, config, cri.PodSandboxConfig())
    runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=2, stdout=b"out", stderr=b"err")
    outcome = await Actions(runtime=runtime).run({"exec": {"command": ["x"]}}, C, cid, "", 1)
    assert outcome == Outcome(False, "outerr")
    missing = await Actions(runtime=runtime).run({"exec": {"command": ["x"]}}, C, "gone", "", 1)
    assert missing.error


def test_ports_and_targets() -> None:
    assert container_port(C, "http") == 8080
    assert container_port(C, "81") == 81
    with pytest.raises(ValueError, match="couldn't find port: nope"):
        container_port(C, "nope")
    assert http_target({"port": "http", "scheme": "HTTPS"}, C, "fd00::1")[0] == "https://[fd00::1]:8080/"
