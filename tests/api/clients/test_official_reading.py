"""Programs of the official Python client that list, watch, discover, keep caches and elect leaders."""

from __future__ import annotations

import asyncio
import json
import queue
import threading

import pytest
from kubernetes import client, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import exceptions
from kubernetes.informer import SharedInformer
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from tests.api.clients.inside import forget_config_maps
from tests.api.objects import config_map, deployment

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(30),
    # The library's watches keep an ApiClient of their own that nobody closes.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def core(connection) -> client.CoreV1Api:
    return client.CoreV1Api(connection)


async def test_lists_in_pages_are_one_snapshot(official, admin, namespace):
    def program():
        api = core(official(admin))
        for number in range(7):
            api.create_namespaced_config_map(namespace, config_map(f"c{number}"))
        page = api.list_namespaced_config_map(namespace, limit=3)
        assert page.metadata.remaining_item_count == 4
        first_revision, seen = page.metadata.resource_version, [each.metadata.name for each in page.items]
        api.delete_namespaced_config_map("c5", namespace)
        api.create_namespaced_config_map(namespace, config_map("c9"))
        while page.metadata._continue:
            page = api.list_namespaced_config_map(namespace, limit=3, _continue=page.metadata._continue)
            assert page.metadata.resource_version == first_revision
            seen += [each.metadata.name for each in page.items]
        assert seen == [f"c{number}" for number in range(7)]

    await asyncio.to_thread(program)


async def test_a_page_that_came_too_late(official, admin, namespace, server):
    def first_page():
        api = core(official(admin))
        for number in range(4):
            api.create_namespaced_config_map(namespace, config_map(f"c{number}"))
        page = api.list_namespaced_config_map(namespace, limit=2)
        api.delete_namespaced_config_map("c2", namespace)
        return page.metadata._continue

    def later(token):
        api = core(official(admin))
        with pytest.raises(ApiException) as expired:
            api.list_namespaced_config_map(namespace, limit=2, _continue=token)
        status = json.loads(expired.value.body)
        assert (expired.value.status, status["reason"]) == (410, "Expired")
        rest = api.list_namespaced_config_map(namespace, limit=2, _continue=status["metadata"]["continue"])
        assert [each.metadata.name for each in rest.items] == ["c3"]

    token = await asyncio.to_thread(first_page)
    await server.store.compact(await server.store.current_revision())
    await asyncio.to_thread(later, token)


async def test_selectors(official, admin, namespace):
    def program():
        api = core(official(admin))
        for name, labels in (("a", {"app": "x", "tier": "front"}), ("b", {"app": "y"}), ("c", {})):
            body = config_map(name)
            body["metadata"]["labels"] = labels
            api.create_namespaced_config_map(namespace, body)

        def names(**selectors):
            return [each.metadata.name for each in api.list_namespaced_config_map(namespace, **selectors).items]

        assert names(label_selector="app in (x, y), !tier") == ["b"]
        assert names(label_selector="app") == ["a", "b"]
        assert names(label_selector="app!=x") == ["b", "c"]
        assert names(field_selector="metadata.name!=b") == ["a", "c"]
        everywhere = api.list_config_map_for_all_namespaces(field_selector=f"metadata.namespace={namespace}")
        assert len(everywhere.items) == 3
        for bad in ({"label_selector": "a in b"}, {"field_selector": "spec.nodeName=n"}):
            with pytest.raises(ApiException) as refused:
                names(**bad)
            assert refused.value.status == 400

    await asyncio.to_thread(program)


async def test_a_watch_resumes_where_it_was(official, admin, namespace):
    def program():
        api = core(official(admin))
        start = api.list_namespaced_config_map(namespace).metadata.resource_version
        told = []
        watcher = watch.Watch()
        steps = iter((
            lambda: api.patch_namespaced_config_map("a", namespace, {"data": {"k": "2"}}),
            lambda: api.delete_namespaced_config_map("a", namespace),
            watcher.stop,
        ))  # fmt: skip
        api.create_namespaced_config_map(namespace, config_map("a", k="1"))
        for event in watcher.stream(api.list_namespaced_config_map, namespace, resource_version=start):
            assert isinstance(event["object"], client.V1ConfigMap)
            told.append((event["type"], event["object"].data["k"]))
            next(steps)()
        assert told == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]

        # One that the server ends goes on at the revision it had.
        api.create_namespaced_config_map(namespace, config_map("b"))
        again = watch.Watch()
        events = again.stream(
            api.list_namespaced_config_map, namespace, resource_version=watcher.resource_version, timeout_seconds=1
        )
        assert [(each["type"], each["object"].metadata.name) for each in events] == [("ADDED", "b")]

    await asyncio.to_thread(program)


async def test_a_watch_of_a_revision_that_is_gone(official, admin, namespace, server):
    def before():
        api = core(official(admin))
        start = api.list_namespaced_config_map(namespace).metadata.resource_version
        for name in ("a", "b", "c"):
            api.create_namespaced_config_map(namespace, config_map(name))
        return start

    def after(start):
        api = core(official(admin))
        with pytest.raises(ApiException) as gone:
            list(watch.Watch().stream(api.list_namespaced_config_map, namespace, resource_version=start))
        assert gone.value.status == 410
        assert gone.value.reason.startswith("Expired: too old resource version")

    start = await asyncio.to_thread(before)
    await forget_config_maps(server)
    await asyncio.to_thread(after, start)


async def test_a_watch_with_initial_events_and_bookmark(official, admin, namespace):
    def program():
        api = core(official(admin))
        api.create_namespaced_config_map(namespace, config_map("a"))
        watcher = watch.Watch()
        told = []
        for event in watcher.stream(
            api.list_namespaced_config_map,
            namespace,
            send_initial_events=True,
            allow_watch_bookmarks=True,
            resource_version_match="NotOlderThan",
        ):
            told.append(event["type"])
            if event["type"] == "BOOKMARK":
                annotations = event["raw_object"]["metadata"]["annotations"]
                assert annotations == {"k8s.io/initial-events-end": "true"}
                watcher.stop()
        assert told == ["ADDED", "BOOKMARK"]

    await asyncio.to_thread(program)


async def test_an_informer_keeps_what_there_is(official, admin, namespace):
    def program():
        api = core(official(admin))
        api.create_namespaced_config_map(namespace, config_map("before"))
        told: queue.Queue = queue.Queue()
        informer = SharedInformer(api.list_namespaced_config_map, namespace=namespace)
        for kind in ("ADDED", "MODIFIED", "DELETED"):
            informer.add_event_handler(kind, lambda obj, kind=kind: told.put((kind, obj.metadata.name)))
        informer.start()
        try:
            assert told.get(timeout=10) == ("ADDED", "before")
            api.create_namespaced_config_map(namespace, config_map("a"))
            assert told.get(timeout=10) == ("ADDED", "a")
            api.patch_namespaced_config_map("a", namespace, {"data": {"k": "v"}})
            assert told.get(timeout=10) == ("MODIFIED", "a")
            assert informer.cache.get_by_key(f"{namespace}/a").data == {"k": "v"}
            api.delete_namespaced_config_map("before", namespace)
            assert told.get(timeout=10) == ("DELETED", "before")
            assert [each.metadata.name for each in informer.cache.list()] == ["a"]
        finally:
            informer.stop()

    await asyncio.to_thread(program)


async def test_the_dynamic_client_discovers_every_kind(official, admin, namespace, tmp_path):
    def program():
        found = dynamic.DynamicClient(official(admin), cache_file=str(tmp_path / "cache.json"))
        assert found.version["kubernetes"]["gitVersion"].startswith("v1.36")
        for api_version, kind, plural, namespaced in (
            ("v1", "Pod", "pods", True),
            ("v1", "Node", "nodes", False),
            ("apps/v1", "Deployment", "deployments", True),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True),
            ("networking.k8s.io/v1", "IPAddress", "ipaddresses", False),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False),
        ):
            row = found.resources.get(api_version=api_version, kind=kind)
            assert (row.name, row.namespaced) == (plural, namespaced)
        pods = found.resources.get(api_version="v1", kind="Pod")
        assert pods.short_names == ["po"]
        assert pods.categories == ["all"]
        assert set(pods.subresources) >= {"status", "log", "exec", "binding", "eviction", "portforward"}
        assert found.resources.get(short_names=["deploy"]).kind == "Deployment"
        with pytest.raises(exceptions.ResourceNotFoundError):
            found.resources.get(api_version="v1", kind="Nothing")
        kinds = {row.kind for rows in found.resources for row in rows}
        assert kinds >= {"Secret", "Job", "CronJob", "StorageClass", "Lease", "PriorityClass", "Event"}

    await asyncio.to_thread(program)


async def test_the_dynamic_client_works_with_what_it_found(official, admin, namespace, tmp_path):
    def program():
        found = dynamic.DynamicClient(official(admin), cache_file=str(tmp_path / "cache.json"))
        deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
        made = deployments.create(body=deployment("web"), namespace=namespace)
        assert (made.kind, made.spec.strategy.type, made.spec.replicas) == ("Deployment", "RollingUpdate", 1)
        containers = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
        assert deployments.patch(body=containers, name="web", namespace=namespace).metadata.generation == 2
        merged = deployments.patch(
            body={"spec": {"replicas": 4}}, name="web", namespace=namespace,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        assert merged.spec.replicas == 4
        applying = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"by": "apply"}},
        }
        applied = deployments.server_side_apply(
            body=applying,
            name="web", namespace=namespace, field_manager="program",
        )  # fmt: skip
        assert applied.metadata.labels.by == "apply"
        scale = deployments.scale.get(name="web", namespace=namespace)
        assert (scale.kind, scale.spec.replicas) == ("Scale", 4)
        deployments.status.patch(
            body={"status": {"replicas": 4}}, name="web", namespace=namespace,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        listed = deployments.get(namespace=namespace, label_selector="by=apply")
        assert listed.kind == "DeploymentList"
        assert [(each.metadata.name, each.status.replicas) for each in listed.items] == [("web", 4)]
        for event in deployments.watch(namespace=namespace, resource_version="0", timeout=5):
            assert (event["type"], event["object"].metadata.name) == ("ADDED", "web")
            break
        made = deployments.get(name="web", namespace=namespace)
        with pytest.raises(exceptions.ConflictError):
            deployments.replace(body={**deployment("web"), "metadata": {"name": "web", "resourceVersion": "1"}},
                                namespace=namespace)  # fmt: skip
        deployments.delete(name="web", namespace=namespace)
        with pytest.raises(exceptions.NotFoundError):
            deployments.get(name="web", namespace=namespace)
        with pytest.raises(exceptions.BadRequestError) as strict:
            deployments.create(
                body={**deployment("b"), "unknown": 1}, namespace=namespace,
                query_params=[("fieldValidation", "Strict")],
            )  # fmt: skip
        assert 'unknown field "unknown"' in json.loads(strict.value.body)["message"]

    await asyncio.to_thread(program)


async def test_one_of_two_candidates_leads(official, admin, namespace):
    def program():
        api = official(admin)
        started: queue.Queue = queue.Queue()

        def candidate(name):
            lock = LeaseLock("leader", namespace, name)
            lock.api_instance = client.CoordinationV1Api(api)
            return leaderelection.LeaderElection(
                electionconfig.Config(
                    lock, lease_duration=4, renew_deadline=3, retry_period=1,
                    onstarted_leading=lambda: started.put(name), onstopped_leading=lambda: None,
                )
            )  # fmt: skip

        first, second = candidate("first"), candidate("second")
        assert first.try_acquire_or_renew()
        assert not second.try_acquire_or_renew()
        leases = client.CoordinationV1Api(api)
        lease = leases.read_namespaced_lease("leader", namespace)
        assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("first", 4)
        assert first.try_acquire_or_renew()
        renewed = leases.read_namespaced_lease("leader", namespace)
        assert renewed.spec.renew_time > lease.spec.renew_time
        assert renewed.spec.acquire_time == lease.spec.acquire_time
        # A candidate that did not see the last renewal cannot take the lease from who did.
        assert not second.election_config.lock.update("leader", namespace, second.observed_record)
        # The lease runs out, to the second one's eyes.
        second.observed_record = None
        second.try_acquire_or_renew()
        second.observed_time_milliseconds = 0
        thread = threading.Thread(target=second.acquire)
        thread.start()
        thread.join(timeout=10)
        assert leases.read_namespaced_lease("leader", namespace).spec.holder_identity == "second"
        assert not first.try_acquire_or_renew()

    await asyncio.to_thread(program)
