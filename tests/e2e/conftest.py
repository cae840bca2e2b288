"""Shared by the end-to-end tests: one three-node cluster, a registry on its host side, images built from Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import Cluster, pod, run, wait_until
from tests.e2e.kubectl import Kubectl, debian_kubectl
from timonel.cluster.layout import layout_of
from timonel.cluster.segment import address_of, choose_segment
from timonel.testing.images import build_images, push_images

NAME = os.environ.get("TIMONEL_E2E_NAME", "e2e")
"""Of the shared cluster. Another one lets two people run these tests on one machine at the same time."""
SEGMENT = "10.89.250.0/24" if NAME == "e2e" else ""
REGISTRY_PORT = 5000
WITHOUT_ROOT = ("test_hollow_nodes.py",)
"""These need nothing but kubectl, and say so themselves."""
NEEDED = ("mmdebstrap", "docker-registry", "curl", "nft", "containerd", "kubectl", "busybox")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = ""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if os.geteuid() != 0:
        reason = "end-to-end tests run real containers and need root"
    elif missing:
        reason = f"end-to-end tests need {', '.join(missing)}; .ci/run installs them"
    for item in items:
        if "tests/e2e" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(300))
            if reason and item.path.name not in WITHOUT_ROOT:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(NAME)
    segment = SEGMENT or choose_segment(layout_of(NAME))
    host_address = address_of(segment, 0)
    made = Cluster(
        NAME,
        folder,
        nodes=3,
        config={
            "network": {
                "nodes": segment,
                "loadBalancerAddresses": [f"{address_of(segment, 230)}-{address_of(segment, 239)}"],
            },
            "registries": {
                "docker.io": {"mirrors": [f"http://{host_address}:{REGISTRY_PORT}"]},
                f"{host_address}:{REGISTRY_PORT}": {"plainHttp": True},
            },
            "node": {
                "monitorGraceSeconds": 20,
                "evictionSeconds": 5,
                "kubeletConfig": str(kubelet_configuration(folder)),
            },
        },
    )
    made.purge()
    images = build_images()
    made.up()
    with registry(folder, host_address):
        push_images(images, f"http://{host_address}:{REGISTRY_PORT}")
        yield made
    keep_logs(made)
    made.purge()


def kubelet_configuration(folder: Path) -> Path:
    """All nodes run the pods of one folder, `manifests`."""
    (folder / "manifests").mkdir()
    made = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    made |= {"staticPodPath": str(folder / "manifests"), "podPidsLimit": 4096}
    file = folder / "kubelet.yaml"
    file.write_text(yaml.safe_dump(made))
    return file


class registry:
    """Debian's docker-registry, on the host side of the cluster's segment."""

    def __init__(self, folder: Path, address: str, port: int = REGISTRY_PORT) -> None:
        self.address = f"{address}:{port}"
        self._config = folder / "registry.yml"
        self._log = folder / "registry.log"
        self._config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
            f"http: {{addr: '{self.address}'}}\nlog: {{level: warn}}\n"
        )

    def __enter__(self) -> registry:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until("the registry answers", lambda: run("curl", "-sSf", f"http://{self.address}/v2/").returncode == 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


def keep_logs(cluster: Cluster) -> None:
    """Where CI can be asked for them; purge removes the originals."""
    target = os.environ.get("TIMONEL_E2E_LOGS")
    if target:
        shutil.copytree(cluster.layout.logs, Path(target) / f"{cluster.name}-{int(time.time())}", dirs_exist_ok=True)


@pytest.fixture(scope="session", params=["installed", "debian"])
def kubectl(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Kubectl]:
    """The machine's kubectl, then Debian's 1.20, each in a namespace of its own."""
    program = cluster.kubectl_program if request.param == "installed" else debian_kubectl()
    found = Kubectl(cluster, program, f"kubectl-{request.param}")
    cluster.kubectl("create", "namespace", found.namespace)
    yield found
    cluster.kubectl("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture(scope="session")
def talker(kubectl: Kubectl) -> str:
    """A pod that many tests only look at and talk to: `main` prints lines, `echo` gives back what it is told."""
    talks = "trap exit TERM; echo out; echo err >&2; n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.5 & wait; done"
    echoes = "trap exit TERM; echo ready; cat; while :; do sleep 3600 & wait; done"
    main = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", talks]}
    echo = {"name": "echo", "image": "busybox:1.36", "command": ["sh", "-c", echoes], "stdin": True}
    talking = pod("talker", containers=[main, echo], nodeName=kubectl.cluster.node_name(1))
    kubectl.apply(talking)
    kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    return "talker"


@pytest.fixture(scope="session")
def server(kubectl: Kubectl) -> str:
    """A Deployment of two nginx with a Service, both of this name. Only looked at."""
    container = {"name": "nginx", "image": "nginx:1.27", "ports": [{"containerPort": 80, "name": "http"}]}
    labels = {"app": "server"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server", "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 8080, "targetPort": "http"}]},
    }
    kubectl.apply(deployment, service)
    kubectl("rollout", "status", "deployment/server", "--timeout=60s")
    return "server"
