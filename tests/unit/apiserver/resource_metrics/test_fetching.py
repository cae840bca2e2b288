"""Pages over TLS: both sides prove who they are; what goes wrong is an error the collector knows."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from timonel.api.errors import InternalError, ServiceUnavailable
from timonel.api.objects import Object
from timonel.apiserver.proxy.kubelets import Kubelets
from timonel.apiserver.resource_metrics.fetching import KubeletPages
from timonel.cluster.pki import ensure_pki


@dataclass
class FakeKubelet:
    """On 127.0.0.1, with a certificate of the cluster."""

    kubelets: Kubelets
    port: int = 0
    status: int = 200
    text: str = "node_cpu_usage_seconds_total 1\n"
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path, and whose certificate was shown."""
    connections: set[int] = field(default_factory=set)

    def node(self, **status: object) -> Object:
        told = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
        }
        return {"metadata": {"name": "n1"}, "status": {**told, **status}}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        self.connections.add(transport.get_extra_info("peername")[1])
        subject = dict(pair for (pair,) in transport.get_extra_info("peercert")["subject"])
        self.asked.append((request.path, subject["commonName"]))
        return web.Response(status=self.status, text=self.text)


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[FakeKubelet]:
    pki = ensure_pki(tmp_path, service_address="10.96.0.1")
    client = pki.kubelet_client
    made = FakeKubelet(Kubelets(pki.ca.cert, client.cert, client.key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca.cert))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pki.apiserver.cert, pki.apiserver.key)
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert runner.addresses
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


async def test_a_page(kubelet: FakeKubelet) -> None:
    pages = KubeletPages(kubelet.kubelets)
    assert await pages.fetch(kubelet.node()) == kubelet.text
    assert await pages.fetch(kubelet.node()) == kubelet.text
    assert set(kubelet.asked) == {("/metrics/resource", "kube-apiserver-kubelet-client")}
    assert len(kubelet.connections) == 1
    await pages.close()
    await pages.fetch(kubelet.node())
    assert len(kubelet.connections) == 2
    await pages.close()


async def test_a_refusal(kubelet: FakeKubelet) -> None:
    kubelet.status, kubelet.text = 403, "Forbidden (user=x)"
    pages = KubeletPages(kubelet.kubelets)
    with pytest.raises(ServiceUnavailable, match=r"kubelet of n1 answered 403: Forbidden \(user=x\)"):
        await pages.fetch(kubelet.node())
    await pages.close()


async def test_nobody_there(kubelet: FakeKubelet) -> None:
    pages = KubeletPages(kubelet.kubelets)
    with pytest.raises(OSError, match="kubelet of n1"):
        await pages.fetch(kubelet.node(daemonEndpoints={"kubeletEndpoint": {"Port": 1}}))
    with pytest.raises(InternalError, match="has reported no address"):
        await pages.fetch(kubelet.node(addresses=[]))
    await pages.close()


async def test_a_server_without_a_certificate_for_kubelets(kubelet: FakeKubelet) -> None:
    pages = KubeletPages(Kubelets(None, None, None))
    with pytest.raises(ServiceUnavailable):
        await pages.fetch(kubelet.node())
    await pages.close()
