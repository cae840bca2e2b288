"""What tests of resource quotas share: the controllers beside a server, quotas, and waiting for what is used."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from timonel.api.clock import SystemClock
from timonel.api.objects import Object
from timonel.api.refs import RESOURCE_QUOTAS
from timonel.client.config import ClientConfig
from timonel.client.informer import Informers
from timonel.client.rest import Client
from timonel.client.service_accounts import ServiceAccountClients
from timonel.cluster.pki import MANAGER
from timonel.controllers.resourcequota import ResourceQuotaController
from timonel.controllers.storage_protection import ClaimProtection
from timonel.testing.server import RunningServer


async def run_controllers(server: RunningServer) -> asyncio.Task[None]:
    """They see what the manager sees; each writes as its own service account, with its rights and no others."""
    clock = SystemClock()
    pair = server.pki.clients[MANAGER]
    config = ClientConfig(server=server.url, ca_file=str(server.ca), cert_file=str(pair.cert), key_file=str(pair.key))

    async def run() -> None:
        async with (
            Client(config) as client,
            aclosing(ServiceAccountClients(client, clock=clock)) as accounts,
            asyncio.TaskGroup() as group,
        ):
            informers = Informers(client, clock=clock)
            for cls, account in (
                (ResourceQuotaController, "resourcequota-controller"),
                (ClaimProtection, "pvc-protection-controller"),
            ):
                controller = cls(client=accounts.client(account), informers=informers, clock=clock)
                group.create_task(controller.run())
            group.create_task(informers.run())

    return asyncio.create_task(run())


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def used(server: RunningServer, namespace: str, expected: dict[str, str], name: str = "quota") -> None:
    """Waits until the status says that this is used, and nothing else."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/{name}"
    status, found = await server.request("GET", path)
    assert status == 200
    seen = (found.get("status") or {}).get("used")
    if seen == expected:
        return
    try:
        async with asyncio.timeout(10):
            revision = found["metadata"]["resourceVersion"]
            async for kind, obj in server.client.watch(RESOURCE_QUOTAS, namespace, resource_version=revision):
                if kind != "BOOKMARK" and obj["metadata"]["name"] == name:
                    seen = (obj.get("status") or {}).get("used")
                    if seen == expected:
                        return
    except TimeoutError:
        raise AssertionError(f"used is {seen}, not {expected}") from None


async def limit(server: RunningServer, namespace: str, hard: dict[str, str], name: str = "quota", **spec: Any) -> None:
    """A quota whose status is known."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    body = {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}
    status, answer = await server.request("POST", path, body)
    assert status == 201, answer
    await used(server, namespace, dict.fromkeys(hard, "0") | _itself(hard), name)


def _itself(hard: dict[str, str]) -> dict[str, str]:
    return {name: "1" for name in hard if name in ("resourcequotas", "count/resourcequotas")}


def config_map(name: str) -> Object:
    return {"metadata": {"name": name}}


def pod(name: str, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **spec: Any) -> Object:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}],
                                                "terminationGracePeriodSeconds": 0, **spec}}  # fmt: skip
