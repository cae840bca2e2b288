"""What a probe or a lifecycle hook does once: exec, httpGet, tcpSocket, grpc.

Source: kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes; wording of failures is upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlunsplit

from timonel.api.objects import Object, find_by
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure
from timonel.kubelet.probes.http import HttpError, connect_error, http_get

OUTPUT_LIMIT = 10 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    passed: bool
    output: str = ""
    warning: bool = False
    """It passed, with something to tell."""
    error: bool = False
    """It could not be tried at all: says nothing of the container, counts as a failure."""


def container_port(container: Object, port: int | str) -> int:
    """A port by number or by name. Raises ValueError."""
    if isinstance(port, int):
        number = port
    elif port.isdigit():
        number = int(port)
    else:
        found = find_by(container.get("ports"), "name", port)
        if found is None:
            raise ValueError(f"couldn't find port: {port}")
        number = found["containerPort"]
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number


def http_target(action: Object, container: Object, pod_ip: str) -> tuple[str, list[tuple[str, str]]]:
    """URL and headers of an httpGet. Raises ValueError."""
    scheme = (action.get("scheme") or "HTTP").lower()
    host = action.get("host") or pod_ip
    if not host:
        raise ValueError("the pod has no address")
    port = container_port(container, action["port"])
    path, _, query = (action.get("path") or "").partition("?")
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    quoted = quote(path if path.startswith("/") else f"/{path}", safe="/%:@!$&'()*+,;=~-._")
    url = urlunsplit((scheme, netloc, quoted, query, ""))
    return url, [(header["name"], header.get("value", "")) for header in action.get("httpHeaders") or ()]


class Actions:
    """Asks containers. Every method answers within `timeout` seconds and raises nothing but cancellation."""

    def __init__(self, *, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(self, handler: Object, container: Object, container_id: str, pod_ip: str, timeout: float) -> Outcome:
        try:
            if handler.get("exec"):
                return await self._exec(container_id, handler["exec"].get("command") or [], timeout)
            if handler.get("httpGet"):
                url, headers = http_target(handler["httpGet"], container, pod_ip)
                return await self._http(url, headers, timeout)
            if handler.get("tcpSocket"):
                action = handler["tcpSocket"]
                return await self._tcp(action.get("host") or pod_ip, container_port(container, action["port"]), timeout)
            if handler.get("grpc"):
                action = handler["grpc"]
                return await _grpc(pod_ip, action["port"], action.get("service") or "", timeout)
        except ValueError as exc:
            return Outcome(False, str(exc), error=True)
        return Outcome(False, "missing probe handler", error=True)

    async def _exec(self, container_id: str, command: Sequence[str], timeout: float) -> Outcome:
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout)
        except RuntimeFailure as exc:
            if exc.code == "DeadlineExceeded":
                return Outcome(False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
            return Outcome(False, str(exc), error=True)
        output = (result.stdout + result.stderr)[:OUTPUT_LIMIT].decode(errors="replace")
        return Outcome(result.exit_code == 0, output)

    async def _http(self, url: str, headers: Sequence[tuple[str, str]], timeout: float) -> Outcome:
        try:
            answer = await http_get(url, headers, timeout)
        except HttpError as exc:
            return Outcome(False, str(exc))
        except TimeoutError:
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Outcome(False, f'Get "{url}": {why}')
        if answer.redirected_away:
            return Outcome(True, f"Probe terminated redirects, Response body: {answer.body}", warning=True)
        if 200 <= answer.status < 400:
            return Outcome(True, answer.body)
        return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")

    async def _tcp(self, host: str, port: int, timeout: float) -> Outcome:
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
            writer.transport.abort()
        except TimeoutError:
            return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
        except OSError as exc:
            return Outcome(False, connect_error(host, port, exc))
        return Outcome(True)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


_SERVING = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def _grpc(host: str, port: int, service: str, timeout: float) -> Outcome:
    """grpc.health.v1.Health/Check. Both messages have one field, so they are written and read here by hand.

    Source: github.com/grpc/grpc/blob/master/doc/health-checking.md
    """
    import grpc  # loaded anyway by the CRI client
    import grpc.aio

    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = service.encode()
    request = b"\x0a" + _varint(len(name)) + name if name else b""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer: bytes = await check(request, timeout=timeout, wait_for_ready=True)
        except grpc.aio.AioRpcError as exc:
            if exc.code() == grpc.StatusCode.UNIMPLEMENTED:
                return Outcome(
                    False,
                    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
                    f"{exc.details()}",
                )
            if exc.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                return Outcome(False, f'timeout: failed to connect service "{address}" within {timeout:g}s')
            return Outcome(False, f"error: health rpc probe failed: {exc.details()}")
    state = answer[1] if len(answer) > 1 and answer[0] == 0x08 else 0
    if state == 1:
        return Outcome(True, "service healthy")
    return Outcome(False, f'service unhealthy (responded with "{_SERVING.get(state, state)}")')
