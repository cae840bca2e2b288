"""Real packets for tests of rules: network namespaces that stand for a node, its pods and a host outside.

Each place is a process in a namespace of its own, which ends with the test; the kernel takes the links with it. Run as
a script, this file is such a process: it listens, and connects when told to, a line of JSON each way.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

TCP_PORTS = (8080, 8081, 9090)
UDP_PORT = 7000
PORTS = (*(("TCP", port) for port in TCP_PORTS), ("UDP", UDP_PORT))
TIMEOUT_SECONDS = 0.4
"""Between namespaces of one machine an answer takes microseconds; what takes longer was dropped."""


class Place:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["unshare", "--net", sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def run(self, *command: str, stdin: str | None = None) -> str:
        inside = ["nsenter", "-t", str(self.process.pid), "-n", *command]
        result = subprocess.run(inside, input=stdin, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}\n{stdin}\n{result.stderr}"
        return result.stdout

    def start(self, *targets: tuple[str, str, int]) -> None:
        """Connects to each (protocol, address, port) at once; `answers` tells which answered."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(targets) + "\n")
        self.process.stdin.flush()

    def answers(self) -> list[bool]:
        found: list[bool] = self._read()
        return found

    def ask(self, *targets: tuple[str, str, int]) -> list[bool]:
        self.start(*targets)
        return self.answers()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def segment(addresses: Mapping[str, str], router: str = "node") -> Iterator[dict[str, Place]]:
    """Places by name, each with its address (IPv4) on a link of its own to the router, which forwards between them."""
    places: dict[str, Place] = {}
    try:
        for name in (router, *addresses):
            places[name] = Place()
        node = places[router]
        node.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        node.run("ip", "link", "set", "lo", "up")
        node.run("ip", "addr", "add", "192.0.2.254/32", "dev", "lo")
        for number, (name, address) in enumerate(addresses.items()):
            place, link = places[name], f"v{number}"
            node.run("ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", str(place.process.pid))
            node.run("ip", "link", "set", link, "up")
            place.run("ip", "link", "set", "lo", "up")
            place.run("ip", "addr", "add", f"{address}/32", "dev", "eth0")
            place.run("ip", "link", "set", "eth0", "up")
            place.run("ip", "route", "add", "192.0.2.254", "dev", "eth0")
            place.run("ip", "route", "add", "default", "via", "192.0.2.254", "dev", "eth0")
            node.run("ip", "route", "add", address, "dev", link)
        yield places
    finally:
        for place in places.values():
            place.close()


def _listen() -> None:
    def streams(port: int) -> None:
        server = socket.create_server(("", port), backlog=512)
        while True:
            connection, _ = server.accept()
            connection.close()

    def datagrams() -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("", UDP_PORT))
        while True:
            data, client = server.recvfrom(4096)
            with contextlib.suppress(OSError):
                server.sendto(data, client)

    for port in TCP_PORTS:
        threading.Thread(target=streams, args=(port,), daemon=True).start()
    threading.Thread(target=datagrams, daemon=True).start()


def _connect(targets: list[tuple[str, str, int]]) -> list[bool]:
    answered = [False] * len(targets)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as sockets:
        for number, (protocol, address, port) in enumerate(targets):
            kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
            made = sockets.enter_context(socket.socket(socket.AF_INET, kind))
            made.setblocking(False)
            made.connect_ex((address, port))
            if protocol == "UDP":
                with contextlib.suppress(OSError):
                    made.send(b"x")
            selector.register(made, selectors.EVENT_WRITE if protocol == "TCP" else selectors.EVENT_READ, number)
        waiting = len(targets)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                made = key.fileobj  # type: ignore[assignment]
                answered[key.data] = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                selector.unregister(made)
                waiting -= 1
    return answered


if __name__ == "__main__":
    _listen()
    print(json.dumps("ready"), flush=True)
    for text in sys.stdin:
        print(json.dumps(_connect(json.loads(text))), flush=True)
