"""The loop: when HAProxy runs, with what, and what Ingresses are told."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from timonel.api.refs import EVENTS, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.network.ingress.controller import IngressConfig, IngressController
from timonel.network.ingress.process import ProxyFailed
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient

Object = dict[str, Any]


class FakeProcess:
    """Instead of HAProxy: remembers the files, refuses them when told to."""

    def __init__(self) -> None:
        self.files: Mapping[str, str] | None = None
        self.refusal = ""
        self.socket = Path("/socket")

    def folder_of(self, digest: str) -> Path:
        return Path("/files")

    async def apply(self, digest: str, files: Mapping[str, str]) -> None:
        if self.refusal:
            raise ProxyFailed(self.refusal)
        self.files = files

    async def stop(self) -> None:
        self.files = None

    def leave(self) -> None:
        pass


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.client = FakeClient(clock=self.clock)
        self.informers = Informers(self.client, clock=self.clock)
        self.recorder = EventRecorder(self.client, component="ingress-controller", clock=self.clock)
        config = IngressConfig(address="192.0.2.1", folder=Path("/nowhere"))
        self.controller = IngressController(
            config=config,
            client=self.client,
            informers=self.informers,
            services=self.informers.of(SERVICES),
            recorder=self.recorder,
            clock=self.clock,
        )
        self.process = self.controller._process = FakeProcess()  # type: ignore[assignment]

    async def ingress(self, name: str = "web", **spec: Any) -> None:
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        rule = {"host": "x.org", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        made = {"metadata": {"name": name}, "spec": {"ingressClassName": "timonel", "rules": [rule], **spec}}
        await self.client.create(INGRESSES, made, "shop")
        await settle()

    async def address(self, name: str = "web") -> list[Object]:
        found = await self.client.get(INGRESSES, name, "shop")
        ingress: list[Object] = (found.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        return ingress

    async def events(self) -> list[str]:
        await settle()
        return [item["message"] for item in (await self.client.list(EVENTS, "shop"))["items"]]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    spec = {"clusterIP": "10.96.0.20", "ports": [{"port": 80}]}
    await made.client.create(SERVICES, {"metadata": {"name": "web"}, "spec": spec}, "shop")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work.run()) for work in (made.informers, made.recorder, made.controller)]
        await settle()
        yield made
        for task in tasks:
            task.cancel()


async def test_a_class_is_made_that_is_the_default_where_there_is_none(world: World) -> None:
    (made,) = (await world.client.list(INGRESS_CLASSES))["items"]
    assert made["spec"] == {"controller": "timonel.dev/ingress"}
    assert made["metadata"]["annotations"] == {"ingressclass.kubernetes.io/is-default-class": "true"}


async def test_haproxy_runs_from_the_first_ingress_to_the_last(world: World) -> None:
    assert world.process.files is None
    await world.ingress()
    assert world.process.files is not None
    assert world.process.files["prefix.map"] == "x.org/ shop:web:80\n"
    assert await world.address() == [{"ip": "192.0.2.1"}]
    assert await world.events() == ["Served at 192.0.2.1, port 80 of the node"]
    await world.client.delete(INGRESSES, "web", "shop")
    await settle()
    assert world.process.files is None


async def test_what_goes_to_another_class_is_let_go(world: World) -> None:
    await world.ingress()
    other = {"metadata": {"name": "other"}, "spec": {"controller": "example.org/other"}}
    await world.client.create(INGRESS_CLASSES, other)
    await world.client.patch(INGRESSES, "web", {"spec": {"ingressClassName": "other"}}, "shop", type="merge")
    await settle()
    assert world.process.files is None
    assert await world.address() == []


async def test_certificates_come_from_secrets_and_are_read_when_they_are_named(world: World) -> None:
    await world.ingress(tls=[{"hosts": ["x.org"], "secretName": "cert"}])
    assert await world.events() == ["Secret cert is not there, or holds no certificate and key"]
    pem = {name: base64.b64encode(b"-----BEGIN X-----\n").decode() for name in ("tls.crt", "tls.key")}
    secret = {"metadata": {"name": "cert"}, "type": "kubernetes.io/tls", "data": pem}
    await world.client.create(SECRETS, secret, "shop")
    await settle()
    assert world.process.files is not None
    assert "ssl crt-list /files/certificates" in world.process.files["haproxy.cfg"]
    assert "Served at 192.0.2.1, port 80 and 443 of the node" in await world.events()


async def test_what_haproxy_refuses_is_told_and_tried_again(world: World) -> None:
    world.process.refusal = "cannot bind socket (Address already in use) for [0.0.0.0:80]"
    await world.ingress()
    assert await world.events() == [f"HAProxy does not serve this: {world.process.refusal}"]
    assert await world.address() == []
    world.process.refusal = ""
    await world.clock.advance(60)
    await settle()
    assert await world.address() == [{"ip": "192.0.2.1"}]
