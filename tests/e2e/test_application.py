"""A real application: examples/web as it stands, reached from everywhere, rolled out and back under load."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import ROOT, Cluster, container_status, sleeper, wait_until

EXAMPLE = str(ROOT / "examples" / "web")


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Cluster]:
    cluster.kubectl("apply", "-f", EXAMPLE)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    cluster.apply(sleeper("client"))
    cluster.wait_ready("client")
    yield cluster
    cluster.kubectl("delete", "-f", EXAMPLE, "--ignore-not-found", "--wait=true")
    cluster.kubectl("delete", "pod", "client", "--wait=true")


def pods_of(cluster: Cluster) -> list[dict[str, object]]:
    return cluster.items("pods", "-l", "app=web")


def test_three_replicas_with_their_sidecars_are_ready(web: Cluster) -> None:
    pods = pods_of(web)
    assert len(pods) == 3
    for pod in pods:
        assert container_status(pod, "herald")["ready"]
        assert container_status(pod, "nginx")["ready"]
        assert container_status(pod, "nginx")["restartCount"] == 0
    deployment = web.get("deployment", "web")
    assert deployment["status"]["readyReplicas"] == 3


@pytest.mark.parametrize("name", ["web", "web.default", "web.default.svc.cluster.local"])
def test_another_pod_reaches_it_by_name(web: Cluster, name: str) -> None:
    answer = web.kubectl("exec", "client", "--", "wget", "-qO-", f"http://{name}/")
    assert "Hello from Timonel" in answer.stdout


def test_secret_and_downward_api_reached_the_sidecar_and_its_files_reached_nginx(web: Cluster) -> None:
    answer = web.kubectl("exec", "client", "--", "wget", "-qO-", "http://web/pod").stdout.splitlines()
    assert answer[0] in {pod["metadata"]["name"] for pod in web.items("pods", "-l", "app=web")}
    assert answer[1] == "hello, this greeting came from a Secret"


def test_the_host_reaches_cluster_ip_and_node_port(web: Cluster) -> None:
    address = web.get("service", "web")["spec"]["clusterIP"]
    assert "Hello from Timonel" in web.fetch(1, f"http://{address}/")
    node = web.get("node", web.node_name(1))
    internal = next(item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP")
    assert "Hello from Timonel" in web.fetch(1, f"http://{internal}:30080/")
    assert "Hello from Timonel" in web.fetch(1, "http://127.0.0.1:30080/")
    # From outside the node, as anybody on its network would ask.
    outside = subprocess.run(
        ["curl", "-sSf", "--max-time", "5", f"http://{internal}:30080/"], capture_output=True, text=True, check=True
    )
    assert "Hello from Timonel" in outside.stdout


@pytest.mark.parametrize("path", ["services/web:http", "services/http:web:80"])
def test_the_api_server_proxies_to_it(web: Cluster, path: str) -> None:
    answer = web.kubectl("get", "--raw", f"/api/v1/namespaces/default/{path}/proxy/")
    assert "Hello from Timonel" in answer.stdout


def test_requests_spread_over_all_three_pods(web: Cluster) -> None:
    address = web.get("service", "web")["spec"]["clusterIP"]
    script = f"for i in $(seq 90); do curl -sSf --max-time 5 http://{address}/pod | head -n 1; done"
    answers = Counter(web.on_node(1, "sh", "-c", script).stdout.split())
    assert len(answers) == 3
    # An even random choice gives each 30 of 90; fewer than 10 happens once in a hundred thousand runs.
    assert min(answers.values()) >= 10


def test_a_changed_config_map_reaches_the_running_pods(web: Cluster) -> None:
    patch = json.dumps({"data": {"index.html": "<h1>Changed</h1>\n"}})
    web.kubectl("patch", "configmap", "web", "--type=merge", "-p", patch)
    address = web.get("service", "web")["spec"]["clusterIP"]

    def everybody_changed() -> bool:
        return all("Changed" in web.fetch(1, f"http://{address}/") for _ in range(12))

    wait_until("the new page everywhere", everybody_changed, timeout=90)
    web.kubectl("apply", "-f", EXAMPLE)


class Load:
    """A client that asks without pause, each time on a new connection, and remembers what failed."""

    def __init__(self, cluster: Cluster, url: str) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(cluster, url))

    def _ask(self, cluster: Cluster, url: str) -> None:
        for _ in itertools.count():
            if self._stop.is_set():
                return
            script = f"for i in $(seq 20); do curl -sS --fail --max-time 5 -o /dev/null {url} || echo FAILED; done"
            result = cluster.on_node(1, "sh", "-c", script, check=False)
            failed = result.stdout.count("FAILED")
            self.answers += 20 - failed
            if failed:
                self.failures.append(f"{time.strftime('%X')} {result.stderr.strip()}")

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_rollout_and_rollback_lose_no_request(web: Cluster) -> None:
    address = web.get("service", "web")["spec"]["clusterIP"]
    with Load(web, f"http://{address}/") as load:
        web.kubectl("set", "image", "deployment/web", "nginx=nginx:1.28")
        web.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
        images = {container["image"] for pod in running(web) for container in pod["spec"]["containers"]}
        assert images == {"nginx:1.28"}
        web.kubectl("rollout", "undo", "deployment/web")
        web.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
        images = {container["image"] for pod in running(web) for container in pod["spec"]["containers"]}
        assert images == {"nginx:1.27"}
        wait_until("the old pods are gone", lambda: len(pods_of(web)) == 3)
    assert load.failures == []
    assert load.answers > 100
    assert web.get("deployment", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def running(cluster: Cluster) -> list[dict[str, dict[str, list[dict[str, str]]]]]:
    return [pod for pod in cluster.items("pods", "-l", "app=web") if not pod["metadata"].get("deletionTimestamp")]
