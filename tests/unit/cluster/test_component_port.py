"""A component's port: who may see what, and that metrics have upstream's names and hold what happened."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.controllers.cluster import Cluster, deployment, node
from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import name_of
from timonel.api.refs import PODS, SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from timonel.client.delegated_access import DelegatedAccess
from timonel.client.exposition import QueueCollector, RequestCollector
from timonel.client.request_figures import RequestFigures
from timonel.client.workqueue import WorkQueue
from timonel.cluster.component_port import ComponentPort, PortConfig
from timonel.cluster.pki import MANAGER_SERVING, PROXY, ensure_pki
from timonel.controllers.metrics import JobCollector, ZoneCollector, named_queues
from timonel.testing.clock import VirtualClock


class Reviews:
    """Token "scraper" belongs to prometheus, who may get /metrics; nobody else may do anything."""

    def __init__(self):
        self.asked = []
        self.error = None

    async def create(self, ref, obj):
        if self.error:
            raise self.error
        spec = obj["spec"]
        self.asked.append(spec)
        if ref == TOKEN_REVIEWS:
            known = spec["token"] == "scraper"
            return {"status": {"authenticated": known, "user": {"username": "prometheus"} if known else {}}}
        assert ref == SUBJECT_ACCESS_REVIEWS
        wanted = {"path": "/metrics", "verb": "get"}
        return {"status": {"allowed": spec["user"] == "prometheus" and spec["nonResourceAttributes"] == wanted}}


@asynccontextmanager
async def serving(tmp_path, reviews, *, registry=None, is_ready=True, pages=None):
    pki = ensure_pki(tmp_path, service_address="10.96.0.1")
    config = PortConfig(
        port=0,
        cert_file=str(tmp_path / f"{MANAGER_SERVING}.crt"),
        key_file=str(tmp_path / f"{MANAGER_SERVING}.key"),
        client_ca_file=str(pki.ca.cert),
    )
    port = ComponentPort(
        config,
        registry=registry or CollectorRegistry(),
        access=DelegatedAccess(client=reviews, clock=VirtualClock()),
        is_ready=lambda: is_ready,
        pages=pages,
    )
    task = asyncio.create_task(port.run())
    await asyncio.wait_for(port.wait_ready(), 5)

    async def get(path, token="", pair=None, method="GET"):
        context = ssl.create_default_context(cafile=str(pki.ca.cert))
        if pair:
            context.load_cert_chain(pair.cert, pair.key)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.request(method, f"https://localhost:{port.port}{path}", headers=headers) as response,
        ):
            return response.status, await response.text()

    try:
        yield get, pki
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_health_is_for_everybody_and_metrics_for_whom_the_server_lets(tmp_path):
    reviews = Reviews()
    async with serving(tmp_path, reviews) as (get, pki):
        for path in ("/healthz", "/livez", "/readyz"):
            assert await get(path) == (200, "ok")
        assert reviews.asked == []
        status, text = await get("/metrics")
        assert status == 403
        assert 'User \\"system:anonymous\\" cannot get path \\"/metrics\\"' in text
        assert (await get("/metrics", token="wrong"))[0] == 401
        assert (await get("/metrics", token="scraper"))[0] == 200
        assert (await get("/configz", token="scraper"))[0] == 403
        assert (await get("/healthz/etcd"))[0] == 403
        status, text = await get("/metrics", pair=pki.clients[PROXY])
        assert (status, "system:kube-proxy" in text) == (403, True)


async def test_answers_of_the_server_are_remembered(tmp_path):
    reviews = Reviews()
    async with serving(tmp_path, reviews) as (get, _):
        for _ in range(3):
            assert (await get("/metrics", token="scraper"))[0] == 200
        assert len(reviews.asked) == 2


async def test_a_server_that_cannot_be_asked_lets_nobody_in(tmp_path):
    reviews = Reviews()
    reviews.error = ServiceUnavailable("away")
    async with serving(tmp_path, reviews, is_ready=False) as (get, pki):
        assert (await get("/metrics", token="scraper"))[0] == 401
        assert (await get("/metrics", pair=pki.clients[PROXY]))[0] == 500
        assert (await get("/livez"))[0] == 200
        assert (await get("/readyz"))[0] == 500


def samples(registry):
    """{(name, values of the labels in the order of their names): value}"""
    from prometheus_client import generate_latest

    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def of(collector):
    registry = CollectorRegistry()
    registry.register(collector)
    return samples(registry)


async def test_queue_metrics_tell_what_happened():
    clock = VirtualClock()
    queue = WorkQueue(clock, name="job")
    for key in "abc":
        queue.add(key)
    queue.add("a")  # waits already
    await clock.advance(2)
    taken = await queue.get()
    await clock.advance(3)
    queue.add_rate_limited("c")
    found = of(QueueCollector(lambda: [("job", queue)]))
    assert found["workqueue_adds_total", "job"] == 3
    assert found["workqueue_depth", "job"] == 2
    assert found["workqueue_retries_total", "job"] == 1
    assert found["workqueue_unfinished_work_seconds", "job"] == 3
    assert found["workqueue_longest_running_processor_seconds", "job"] == 3
    assert found["workqueue_queue_duration_seconds_sum", "job"] == 2
    assert found["workqueue_queue_duration_seconds_bucket", "1", "job"] == 0
    assert found["workqueue_queue_duration_seconds_bucket", "10", "job"] == 1
    queue.done(taken)
    found = of(QueueCollector(lambda: [("job", queue), ("job", queue)]))  # two of a name are one to upstream as well
    assert found["workqueue_work_duration_seconds_sum", "job"] == 6
    assert found["workqueue_unfinished_work_seconds", "job"] == 0
    queue.close()


async def test_each_controllers_queue_has_upstreams_name():
    async with Cluster(deployment(), node("node-1")) as cluster:
        await cluster.run(3)
        found = of(QueueCollector(lambda: named_queues(cluster.manager)))
        names = {key[1] for key in found if key[0] == "workqueue_adds_total"}
        assert found["workqueue_adds_total", "deployment"] > 0
        zones = of(ZoneCollector(cluster.manager))
        assert (zones["node_collector_zone_size", ""], zones["node_collector_zone_health", ""]) == (1, 100)
    upstreams = {
        "deployment", "replicaset", "statefulset", "daemonset", "replicationmanager", "job", "job_orphan_pod",
        "cronjob", "ttl_jobs_to_delete", "endpoint_slice", "endpoint", "namespace", "serviceaccount",
        "root_ca_cert_publisher", "garbage_collector_attempt_to_delete", "disruption", "stale_pod_disruption",
        "resourcequota_primary", "ClusterRoleAggregator", "pvcprotection", "pvprotection", "vacprotection",
    } - {"root_ca_cert_publisher"}  # fmt: skip  # runs only with a CA to publish
    assert names >= upstreams


async def test_jobs_and_their_pods_are_counted_once():
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}
    spec = {"completions": 2, "parallelism": 2, "backoffLimit": 6, "template": template,
            "selector": {"matchLabels": {"job": "j"}}, "completionMode": "NonIndexed"}  # fmt: skip
    template["metadata"] = {"labels": {"job": "j"}}
    job = {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "j", "namespace": "default"}, "spec": spec}

    def runs(pod, age):
        return (pod.get("status") or {}).get("phase") != "Succeeded"

    async with Cluster(job, node("node-1"), kubelet=runs) as cluster:
        await cluster.run(3)
        for pod in cluster.pods:
            cluster.client.change(
                PODS, name_of(pod), "default", lambda obj: obj["status"].update(phase="Succeeded", conditions=[])
            )
        await cluster.run(5)
        found = of(JobCollector(cluster.manager))
    assert found["job_controller_job_pods_finished_total", "NonIndexed", "succeeded"] == 2
    assert found["job_controller_jobs_finished_total", "NonIndexed", "CompletionsReached", "succeeded"] == 1
    assert found["job_controller_job_syncs_total", "pods_created", "NonIndexed", "success"] == 1
    assert found["cronjob_controller_job_creation_skew_duration_seconds_count",] == 0


@pytest.mark.parametrize(("code", "seconds", "counted"), [("200", 0.2, 1), ("200", None, 0), ("<error>", 1.0, 1)])
def test_requests_of_clients_are_counted_and_watches_have_no_duration(code, seconds, counted):
    figures = RequestFigures()
    figures.answered("GET", code, seconds)
    found = of(RequestCollector("127.0.0.1:6443", figures))
    assert found["rest_client_requests_total", code, "127.0.0.1:6443", "GET"] == 1
    assert found.get(("rest_client_request_duration_seconds_count", "127.0.0.1:6443", "GET"), 0) == counted


async def test_pages_give_json_to_whom_the_server_lets(tmp_path):
    class MayDebug(Reviews):
        async def create(self, ref, obj):
            if ref == SUBJECT_ACCESS_REVIEWS and obj["spec"]["user"] == "prometheus":
                allowed = obj["spec"]["nonResourceAttributes"]["path"].startswith("/debug/scheduling/default/")
                return {"status": {"allowed": allowed}}
            return await super().create(ref, obj)

    pages = {"/debug/scheduling/": lambda rest: {"rest": rest} if rest != "default/nobody" else None}
    async with serving(tmp_path, MayDebug(), pages=pages) as (get, _):
        assert await get("/debug/scheduling/default/web", token="scraper") == (200, '{"rest":"default/web"}')
        assert (await get("/debug/scheduling/default/nobody", token="scraper"))[0] == 404
        assert (await get("/debug/scheduling/default/web"))[0] == 403
        assert (await get("/debug/scheduling/other/web", token="scraper"))[0] == 403
