"""The endpoints that answer at once: pods, health, metrics, stats, run; and what is refused by name."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from timonel.kubelet.streaming.backend import ExecResult
from timonel.kubelet.streaming.server import KubeletServer, KubeletServerConfig
from timonel.testing.clock import VirtualClock

from .conftest import Node
from .fakes import Certificates, FakeBackend, FakeReviewer, pod


async def test_pods(node: Node) -> None:
    node.backend.known["web"] = pod()
    async with node.client.get("/pods") as answer:
        body = await answer.json()
    assert (body["kind"], [item["metadata"]["name"] for item in body["items"]]) == ("PodList", ["web"])


async def test_health_says_what_failed(node: Node) -> None:
    node.backend.unhealthy = "no sync for 3 minutes"
    async with node.client.get("/healthz") as answer:
        assert answer.status == 500
        assert await answer.text() == (
            "[+]ping ok\n[+]log ok\n[-]syncloop failed: no sync for 3 minutes\nhealthz check failed\n"
        )
    async with node.client.get("/healthz/ping") as answer:
        assert answer.status == 200


async def test_metrics_count_requests(node: Node) -> None:
    await node.client.get("/healthz")
    async with node.client.get("/metrics") as answer:
        text = await answer.text()
    labels = '{long_running="false",method="GET",path="healthz",server_type="readwrite"}'
    assert f"kubelet_http_requests_total{labels} 1.0" in text
    assert text.endswith("\nmore 1\n")


async def test_other_pages_of_figures_are_the_backends(node: Node) -> None:
    node.backend.pages["resource"] = b"node_cpu_usage_seconds_total 1\n"
    async with node.client.get("/metrics/resource") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.text() == "node_cpu_usage_seconds_total 1\n"


@pytest.mark.parametrize(("query", "only"), [("", False), ("?only_cpu_and_memory=true", True)])
async def test_the_summary_is_json(node: Node, query: str, only: bool) -> None:
    async with node.client.get(f"/stats/summary{query}") as answer:
        assert await answer.json() == {"node": {"nodeName": "n1"}, "pods": [], "only": only}


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nothing", 404, "404 page not found\n"),
        ("GET", "/exec/default/web", 404, "404 page not found\n"),
        ("GET", "/containerLogs/default//app", 404, "404 page not found\n"),
        ("POST", "/pods", 405, "405: Method Not Allowed"),
        ("GET", "/logs/", 405, "logs endpoint is disabled."),
        ("GET", "/debug/pprof/", 405, "profiling endpoint is disabled."),
        ("POST", "/checkpoint/default/web/app", 501, "/checkpoint/default/web/app is not built in this kubelet"),
        ("GET", "/metrics/nothing", 404, "404 page not found\n"),
        ("GET", "/stats/container", 404, "404 page not found\n"),
        ("GET", "/exec/default/web/app?command=ls&output=1", 400, "Upgrade request required"),
        ("GET", "/exec/default/web/app?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("GET", "/exec/default/gone/app?command=ls&output=1", 404, "pod does not exist"),
        ("GET", "/exec/default/web/nope?command=ls&output=1", 404, 'container not found ("nope")'),
        ("GET", "/exec/default/web/other-uid/app?output=1", 404, "pod does not exist"),
    ],
)
async def test_refusals(node: Node, method: str, path: str, status: int, text: str) -> None:
    node.backend.known["web"] = pod()
    async with node.client.request(method, path) as answer:
        assert (answer.status, await answer.text()) == (status, text)


async def test_run_gives_the_output_and_fails_with_the_command(node: Node) -> None:
    node.backend.known["web"] = pod()
    node.backend.result = ExecResult(b"out", b"err", 0)
    async with node.client.post("/run/default/web/app?cmd=ls+-l") as answer:
        assert (answer.status, await answer.text()) == (200, "outerr")
    assert node.backend.asked == [("exec_sync", "id-app", ["ls", "-l"])]
    node.backend.result = ExecResult(b"", b"no such file", 2)
    async with node.client.post("/run/default/web/u-1/app?cmd=ls") as answer:
        assert (answer.status, await answer.text()) == (500, "command 'ls' exited with 2: no such file")


async def test_a_connection_that_asks_nothing_is_closed(certificates: Certificates) -> None:
    cert, key = certificates.pair("server")
    config = KubeletServerConfig(cert, key, certificates.ca_file, address="127.0.0.1", port=0, idle_seconds=0.05)
    server = KubeletServer(config=config, backend=FakeBackend(), client=FakeReviewer(), clock=VirtualClock())
    running = asyncio.create_task(server.run())
    await server.wait_ready()
    tls = certificates.client_context("admin")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    writer.write(b"GET /healthz HTTP/1.1\r\n")  # and never the rest of the head
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
