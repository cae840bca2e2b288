"""A real HAProxy on loopback: it routes as the Ingress page says, and a reload costs no request."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from timonel.network.ingress.haproxy import render_files
from timonel.network.ingress.process import ProxyFailed, ProxyProcess, digest_of
from timonel.network.ingress.routing import Backend, Route, Routing

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("haproxy") is None, reason="needs root and haproxy, which drops its rights"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


class Web:
    """Backends that say their name, and the HAProxy before them."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.ends = 0
        self.process = ProxyProcess(folder=folder, on_end=self._ended)
        self.servers: list[asyncio.Server] = []

    def _ended(self) -> None:
        self.ends += 1

    async def backend(self, name: str) -> Backend:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\nConnection: close\r\n\r\n{name}".encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.servers.append(server)
        return Backend("shop", name, server.sockets[0].getsockname()[1], "127.0.0.1")

    async def apply(self, routing: Routing) -> None:
        def render(folder: str) -> dict[str, str]:
            return render_files(routing, {}, folder=folder, socket=str(self.process.socket), http=self.port, https=0)

        digest = digest_of(render(""))
        await self.process.apply(digest, render(str(self.process.folder_of(digest))))

    async def ask(self, host: str, path: str) -> str:
        """The body, or the status when it is not 200."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        status = head.split()[1]
        return body if status == "200" else status


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    made = Web(tmp_path / "ingress")
    yield made
    await made.process.stop()
    for server in made.servers:
        server.close()


async def test_hosts_and_paths_lead_where_the_documentation_says(web: Web) -> None:
    """kubernetes.io/docs/concepts/services-networking/ingress, "Examples" of path types and of wildcards."""
    a, b, c, d = [await web.backend(name) for name in "abcd"]
    await web.apply(
        Routing(
            (
                Route("", "/", False, d),
                Route("*.foo.org", "/", False, c),
                Route("foo.org", "/aaa/", False, a),
                Route("foo.org", "/aaa/bbb/", False, b),
                Route("foo.org", "/exact", True, c),
                Route("foo.org", "/gone/", False, Backend("shop", "gone", 80)),
            )
        )
    )
    for host, path, wanted in (
        ("foo.org", "/aaa", "a"),
        ("foo.org", "/aaa/", "a"),
        ("foo.org", "/aaa/ccc", "a"),
        ("foo.org", "/aaa/bbb", "b"),
        ("foo.org", "/aaa/bbbxyz", "a"),
        ("foo.org", "/aaaxyz", "404"),
        ("FOO.org:80", "/aaa?x=/y", "a"),
        ("foo.org", "/exact", "c"),
        ("foo.org", "/exact/", "404"),
        ("foo.org", "/gone/x", "503"),
        ("bar.foo.org", "/any", "c"),
        ("baz.bar.foo.org", "/any", "d"),
        ("elsewhere.org", "/", "d"),
    ):
        assert await web.ask(host, path) == wanted, f"{host}{path}"


async def test_a_reload_costs_no_request(web: Web) -> None:
    one, other = await web.backend("one"), await web.backend("other")
    await web.apply(Routing((Route("", "/", False, one),)))
    answers: list[str] = []
    done = asyncio.Event()

    async def ask_on() -> None:
        while not done.is_set():
            answers.append(await web.ask("x.org", "/"))

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask_on())
        for number in range(6):
            await web.apply(Routing((Route("", "/", False, other if number % 2 == 0 else one),)))
            count = len(answers)
            while len(answers) < count + 40:
                await asyncio.sleep(0)
        done.set()
    assert set(answers) == {"one", "other"}


async def test_another_agent_finds_it_running(web: Web, tmp_path: Path) -> None:
    routing = Routing((Route("", "/", False, await web.backend("one")),))
    await web.apply(routing)
    pid = web.process._pid
    web.process.leave()
    web.process = ProxyProcess(folder=tmp_path / "ingress", on_end=lambda: None)
    await web.apply(routing)
    assert web.process._pid == pid
    assert await web.ask("x.org", "/") == "one"


async def test_files_that_haproxy_refuses_change_nothing(web: Web) -> None:
    await web.apply(Routing((Route("", "/", False, await web.backend("one")),)))
    with pytest.raises(ProxyFailed, match="certificate"):
        await web.process.apply("broken", {"haproxy.cfg": "frontend x\n  mode http\n  bind :1 ssl crt /nowhere.pem\n"})
    assert await web.ask("x.org", "/") == "one"


async def test_a_port_that_is_taken_is_told(web: Web) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        web.port = taken.getsockname()[1]
        with pytest.raises(ProxyFailed, match=r"[Aa]ddress already in use|cannot bind"):
            await web.apply(Routing((Route("", "/", False, Backend("shop", "x", 80, "127.0.0.1")),)))
