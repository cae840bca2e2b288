"""Priority and fairness through a real server: which level took a request, overload, and the objects behind it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from timonel.testing.server import RunningServer, start_api_server
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/apis/flowcontrol.apiserver.k8s.io/v1"
NODE = {"Impersonate-User": "system:node:node-1", "Impersonate-Group": "system:nodes"}


async def uid(server: RunningServer, kind: str, name: str) -> str:
    status, obj = await server.request("GET", f"{API}/{kind}/{name}")
    assert status == 200
    return str(obj["metadata"]["uid"])


async def head(server: RunningServer, path: str, **headers: str) -> tuple[int, dict[str, str]]:
    sent = {"Authorization": f"Bearer {server.token}", **headers}
    async with server.http.get(server.url + path, headers=sent) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}


async def test_answers_name_schema_and_level_by_uid(server: RunningServer) -> None:
    for path, headers, schema, level in (
        ("/api/v1/pods", {}, "exempt", "exempt"),
        ("/api/v1/nodes/node-1", NODE, "system-node-high", "node-high"),
        ("/api/v1/namespaces/default/pods", NODE, "system-nodes", "system"),
        ("/readyz", NODE, "probes", "exempt"),
        ("/api/v1/secrets", {"Impersonate-User": "bob"}, "global-default", "global-default"),  # 403
        ("/api/v1/pods?watch=true&timeoutSeconds=1", {}, "exempt", "exempt"),
    ):
        _, answered = await head(server, path, **headers)
        assert answered["x-kubernetes-pf-flowschema-uid"] == await uid(server, "flowschemas", schema), path
        level_uid = await uid(server, "prioritylevelconfigurations", level)
        assert answered["x-kubernetes-pf-prioritylevel-uid"] == level_uid, path


async def test_a_schema_of_ones_own_counts(server: RunningServer) -> None:
    level = {
        "metadata": {"name": "narrow"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}},
    }
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "carol"}}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
        ],
    }
    schema = {
        "metadata": {"name": "carols"},
        "spec": {"priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 50, "rules": [rule]},
    }
    status, made = await server.request("POST", f"{API}/flowschemas", schema)
    assert status == 201

    async def dangling(wanted: str) -> None:
        async def is_told() -> bool:
            _, obj = await server.request("GET", f"{API}/flowschemas/carols")
            conditions = (obj.get("status") or {}).get("conditions") or []
            return [each["status"] for each in conditions if each["type"] == "Dangling"] == [wanted]

        await wait_until(is_told)

    await dangling("True")
    assert (await server.request("POST", f"{API}/prioritylevelconfigurations", level))[0] == 201
    await dangling("False")
    _, answered = await head(server, "/api/v1/pods", **{"Impersonate-User": "carol"})
    assert answered["x-kubernetes-pf-flowschema-uid"] == made["metadata"]["uid"]
    assert (await server.request("DELETE", f"{API}/prioritylevelconfigurations/narrow"))[0] == 200
    await dangling("True")
    assert (await server.request("DELETE", f"{API}/flowschemas/carols"))[0] == 200


async def test_mandatory_specs_cannot_be_changed(server: RunningServer) -> None:
    status, obj = await server.request("GET", f"{API}/prioritylevelconfigurations/catch-all")
    assert status == 200
    obj["spec"]["limited"]["nominalConcurrencyShares"] = 77
    status, answer = await server.request("PUT", f"{API}/prioritylevelconfigurations/catch-all", obj)
    assert (status, answer["reason"]) == (422, "Invalid")


async def test_dumps_metrics_and_checks(server: RunningServer) -> None:
    for what, first in (
        ("priority_levels", "PriorityLevelName, ActiveQueues,"),
        ("queues", "PriorityLevelName, Index,"),
        ("requests", "PriorityLevelName, FlowSchemaName,"),
    ):
        status, text = await server.request("GET", f"/debug/api_priority_and_fairness/dump_{what}")
        assert status == 200
        assert text.decode().startswith(first)
    status, text = await server.request("GET", "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1")
    (line,) = [line for line in text.decode().splitlines() if "dump_requests" in line]  # itself
    assert [cell.strip() for cell in line.split(",")][:4] == ["exempt", "exempt", "-1", "-1"]
    _, metrics = await server.request("GET", "/metrics")
    lines = metrics.decode()
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="system"} 74' in lines
    for name in ("dispatched_requests_total", "current_executing_requests", "current_inqueue_requests",
                 "request_wait_duration_seconds_bucket", "request_execution_seconds_count", "current_limit_seats",
                 "demand_seats_smoothed", "work_estimated_seats_bucket"):  # fmt: skip
        assert f"apiserver_flowcontrol_{name}{{" in lines, name
    _, checks = await server.request("GET", "/readyz?verbose")
    for hook in ("config-consumer", "config-producer", "filter"):
        assert f"[+]poststarthook/priority-and-fairness-{hook} ok" in checks.decode()
    _, paths = await server.request("GET", "/")
    assert not [path for path in paths["paths"] if path.startswith("/debug")]


async def test_a_noisy_user_is_refused_and_a_node_is_served(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Few seats, so that a few hundred requests are an overload."""
    server = await start_api_server(
        tmp_path_factory.mktemp("small"), max_requests_inflight=8, max_mutating_requests_inflight=4
    )
    try:
        await server.request("POST", "/api/v1/nodes", {"metadata": {"name": "node-1"}})
        levels = server.api.flow.levels
        assert levels is not None
        codes: Counter[int] = Counter()
        refusal: dict[str, str] = {}
        noisy = {"Authorization": f"Bearer {server.alice_token}"}

        async def make_noise() -> None:
            async with server.http.get(server.url + "/api/v1/namespaces/default/pods/x", headers=noisy) as response:
                codes[response.status] += 1
                if response.status == 429:
                    refusal.update(response.headers)
                    refusal.update(await response.json())

        # Everybody of the level waits for its seats, which somebody holds.
        queue_set = levels.by_name["global-default"].queue_set
        levels.adjust = lambda now: None  # type: ignore[method-assign]
        queue_set.limit = 0
        server.http.connector._limit = 0  # type: ignore[union-attr]
        tasks = [asyncio.create_task(make_noise()) for _ in range(400)]
        await wait_until(lambda: queue_set.waiting >= 300 and codes[429] >= 100)
        started = time.monotonic()
        status, _ = await server.request("GET", "/api/v1/nodes/node-1", headers=NODE)
        assert status == 200
        assert time.monotonic() - started < 5
        assert (await server.request("GET", "/readyz"))[0] == 200
        assert (refusal["reason"], refusal["message"]) == (
            "TooManyRequests",
            "Too many requests, please try again later.",
        )
        seconds = int(refusal["Retry-After"])  # 1, and more the longer this takes
        assert 1 <= seconds <= 32
        assert refusal["details"] == {"retryAfterSeconds": seconds}
        # One user has a hand of six queues for fifty each.
        assert (queue_set.waiting, codes) == (300, Counter({429: 100}))
        queue_set.limit = 2
        levels_control = server.api.flow.control
        levels_control.dispatch_all(time.monotonic())  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        assert codes == Counter({403: 300, 429: 100})
        assert queue_set.is_idle
    finally:
        await server.stop()


async def test_plain_limits_instead(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = await start_api_server(tmp_path_factory.mktemp("plain"), enable_priority_and_fairness=False)
    try:
        status, answered = await head(server, "/api/v1/pods")
        assert status == 200
        assert "x-kubernetes-pf-flowschema-uid" not in answered
        assert (await server.request("GET", f"{API}/flowschemas/catch-all"))[0] == 200  # made all the same
        assert (await server.request("GET", "/debug/api_priority_and_fairness/dump_queues"))[0] == 404
    finally:
        await server.stop()
