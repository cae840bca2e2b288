"""healthCheckNodePort: tells load balancers whether this node has endpoints of a Service with the policy Local.

One small HTTP server per such Service, whatever the path: 200 with endpoints, 503 without.
Source: kubernetes.io/docs/reference/networking/virtual-ips, "healthCheckNodePort"; the body is upstream's.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from timonel.api.objects import Object, ObjectKey, get_path, key_of
from timonel.network.proxy.services import ServicePort

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
_LONGEST_HEAD = 8192


@dataclass(slots=True)
class _Port:
    number: int
    endpoints: int
    task: asyncio.Task[None] | None = None


class HealthPorts:
    def __init__(self, host: str = "0.0.0.0") -> None:
        self._host = host
        self._ports: dict[ObjectKey, _Port] = {}

    def tell(self, service: Object, ports: Sequence[ServicePort]) -> None:
        """The Service as it is now; its port is opened, moved or closed as that needs."""
        key = key_of(service)
        number = get_path(service, "spec", "healthCheckNodePort", default=0) or 0
        if not number or not any(port.keeps_client_address for port in ports):
            self.forget(key)
            return
        count = len({endpoint.address for port in ports for endpoint in port.external})
        known = self._ports.get(key)
        if known is not None and known.number == number:
            known.endpoints = count
            return
        self.forget(key)
        made = self._ports[key] = _Port(number, count)
        made.task = asyncio.get_running_loop().create_task(self._serve(key, made), name=f"health port of {key}")

    def forget(self, key: ObjectKey) -> None:
        known = self._ports.pop(key, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    def close(self) -> None:
        for key in list(self._ports):
            self.forget(key)

    async def _serve(self, key: ObjectKey, port: _Port) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(render_health(key, port.endpoints))
                    await writer.drain()
            except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass
            finally:
                writer.close()

        while True:
            try:
                server = await asyncio.start_server(answer, self._host, port.number, limit=_LONGEST_HEAD)
            except OSError as error:
                # Somebody else has it, perhaps the Service that had it before and goes just now.
                logger.error("health port not opened service=%s port=%d error=%s", key, port.number, error)
                await asyncio.sleep(REQUEST_SECONDS)
                continue
            async with server:
                await server.serve_forever()


def render_health(key: ObjectKey, endpoints: int) -> bytes:
    """A whole HTTP answer."""
    service = {"namespace": key.namespace, "name": key.name}
    body = json.dumps({"service": service, "localEndpoints": endpoints, "serviceProxyHealthy": True})
    status = "200 OK" if endpoints else "503 Service Unavailable"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {endpoints}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode()
