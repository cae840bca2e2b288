"""What /metrics counts, with upstream's names, labels and buckets."""

from __future__ import annotations

import re

import pytest

from tests.api.objects import config_map

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def metrics(server) -> dict[str, float]:
    """Values by name and labels, in the order of the text."""
    _, body = await server.request("GET", "/metrics")
    lines = (line for line in body.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def added(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after.get(name, 0) - before.get(name, 0)


async def test_calls_of_the_store_and_admission_are_counted(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    before = await metrics(server)
    await server.request("POST", path, config_map("a"))
    await server.request("POST", path, config_map("b"))
    await server.request("DELETE", f"{path}/a")
    after = await metrics(server)
    labels = 'group="",operation="create",resource="configmaps"'
    for name in (f"etcd_request_duration_seconds_count{{{labels}}}", f"etcd_requests_total{{{labels}}}"):
        assert added(before, after, name) == 2
    assert not [name for name in after if name.startswith("etcd_request_errors_total{") and "configmaps" in name]
    labels = '{operation="CREATE",rejected="false",type="admit"}'
    assert added(before, after, f"apiserver_admission_step_admission_duration_seconds_count{labels}") == 2
    pattern = (
        r'apiserver_admission_controller_admission_duration_seconds_bucket\{name="NamespaceLifecycle",.*le="0.005"'
    )
    assert [name for name in after if re.match(pattern, name)]


async def test_refusals_of_admission_are_told_apart(server):
    before = await metrics(server)
    status, _ = await server.request("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert status == 404
    after = await metrics(server)
    labels = '{operation="CREATE",rejected="true",type="admit"}'
    assert added(before, after, f"apiserver_admission_step_admission_duration_seconds_count{labels}") == 1


async def test_events_of_watches_are_counted(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await server.request("POST", path, config_map("a"))
    before = await metrics(server)
    await server.request("GET", f"{path}?watch=1&timeoutSeconds=1")
    after = await metrics(server)
    labels = '{group="",resource="configmaps",version="v1"}'
    assert added(before, after, f"apiserver_watch_events_total{labels}") == 1
    assert added(before, after, f"apiserver_watch_events_sizes_count{labels}") == 1
    assert 'apiserver_watch_events_sizes_bucket{group="",resource="configmaps",version="v1",le="1024"}' in after


async def test_what_services_were_given_is_counted(server, namespace):
    before = await metrics(server)
    spec = {"type": "NodePort", "ports": [{"port": 80}]}
    body = {"metadata": {"name": "s"}, "spec": spec}
    status, made = await server.request("POST", f"/api/v1/namespaces/{namespace}/services", body)
    assert status == 201
    after = await metrics(server)
    (allocated,) = [name for name in after if name.startswith("kube_apiserver_clusterip_allocator_allocated_ips{")]
    cidr = allocated.partition('"')[2].partition('"')[0]
    assert added(before, after, allocated) == 1
    assert added(before, after, f'kube_apiserver_clusterip_allocator_available_ips{{cidr="{cidr}"}}') == -1
    tries = f'kube_apiserver_clusterip_allocator_allocation_total{{cidr="{cidr}",scope="dynamic"}}'
    assert added(before, after, tries) == 1
    assert added(before, after, "kube_apiserver_nodeport_allocator_allocated_ports") == 1
    assert added(before, after, 'kube_apiserver_nodeport_allocator_allocation_total{scope="dynamic"}') == 1
    taken = {**body, "metadata": {"name": "t"}, "spec": {**spec, "clusterIP": made["spec"]["clusterIP"]}}
    status, _ = await server.request("POST", f"/api/v1/namespaces/{namespace}/services", taken)
    assert status == 422
    refused = f'kube_apiserver_clusterip_allocator_allocation_errors_total{{cidr="{cidr}",scope="static"}}'
    assert added(before, await metrics(server), refused) == 1


async def test_the_indicator_of_service_levels_counts_every_request_once(server, namespace):
    before = await metrics(server)
    await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("a"))
    await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All", config_map("b"))
    after = await metrics(server)
    labels = 'resource="configmaps",scope="namespace",subresource="",verb="POST",version="v1"}'
    name = "apiserver_request_sli_duration_seconds"
    assert added(before, after, f'{name}_count{{component="apiserver",group="",{labels}') == 2
    bucket = f'{name}_bucket{{component="apiserver",group="",{labels[:-1]},le='
    bounds = [re.findall('le="(.*?)"', key)[0] for key in after if key.startswith(bucket)]
    assert bounds[:2] == ["0.05", "0.1"]
    assert added(before, after, f'{bucket}"+Inf"}}') == 2


async def test_lifetimes_of_certificates_are_told(server):
    found = await metrics(server)
    assert 'apiserver_client_certificate_expiration_seconds_bucket{le="604800"}' in found
    assert "apiserver_client_certificate_expiration_seconds_count" in found


async def test_use_of_deprecated_kinds_is_told(server, namespace):
    await server.request("GET", f"/api/v1/namespaces/{namespace}/endpoints")
    labels = 'group="",removed_release="",resource="endpoints",subresource="",version="v1"'
    assert (await metrics(server))[f"apiserver_requested_deprecated_apis{{{labels}}}"] == 1


async def test_changes_from_the_store_its_size_and_own_queues_are_told(server, namespace):
    before = await metrics(server)
    await server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map("a"))
    after = await metrics(server)
    labels = '{group="",resource="configmaps"}'
    for name in ("storage", "watch_cache"):
        assert added(before, after, f"apiserver_{name}_events_received_total{labels}") == 1
    assert after['apiserver_storage_size_bytes{storage_cluster_id="etcd-0"}'] > 4096
    assert after['workqueue_adds_total{name="ipallocator-repair"}'] >= 1
