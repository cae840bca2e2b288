"""What kubelets do by themselves: volumes from images, pods from files, ends of pods that take too much."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.cluster import sleeper, wait_until
from tests.e2e.kubectl import Kubectl

REASON = ("-o", "jsonpath={.status.reason}")


def with_image(name: str, *mounts: dict[str, Any]) -> dict[str, Any]:
    made = sleeper(name)
    made["spec"]["volumes"] = [{"name": "files", "image": {"reference": "nginx:1.27", "pullPolicy": "Always"}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "files", **mount} for mount in mounts]
    return made


def test_an_image_as_a_volume(kubectl: Kubectl) -> None:
    kubectl.apply(with_image("pictured", {"mountPath": "/image"}, {"mountPath": "/only", "subPath": "etc/nginx"}))
    kubectl("wait", "--for=condition=Ready", "pod/pictured", "--timeout=90s")
    inside = lambda *command: kubectl("exec", "pictured", "--", *command)  # noqa: E731
    assert "Debian" in inside("cat", "/image/etc/os-release")
    assert "nginx.conf" in inside("ls", "/only")
    table = inside("cat", "/proc/mounts").splitlines()
    (options,) = (line.split()[3].split(",") for line in table if line.split()[1] == "/image")
    assert {"ro", "noexec", "nosuid", "nodev"} <= set(options)
    assert "Read-only file system" in kubectl.fails("exec", "pictured", "--", "touch", "/image/mine")
    assert "Permission denied" in kubectl.fails(
        "exec", "pictured", "--", "sh", "-c", "/image/bin/busybox true", code=126
    )

    node = kubectl.get("pod", "pictured")["spec"]["nodeName"]
    uid = kubectl.get("pod", "pictured")["metadata"]["uid"]
    kubectl("delete", "pod", "pictured", "--wait")
    index = next(i for i in (1, 2, 3) if kubectl.cluster.node_name(i) == node)
    socket = kubectl.cluster.layout.node(index, node).containerd_socket
    listed = kubectl.cluster.on_node(index, "ctr", "-a", str(socket), "-n", "k8s.io", "snapshots", "ls").stdout
    assert uid not in listed
    assert uid not in kubectl.cluster.on_node(index, "cat", "/proc/mounts").stdout


def test_pods_from_files(kubectl: Kubectl) -> None:
    """They run on every node, whoever deletes what the API shows of them, and end with their file."""
    cluster = kubectl.cluster
    name = f"static-{kubectl.namespace}"
    made = sleeper(name)
    made["metadata"]["namespace"] = kubectl.namespace
    file = cluster.folder / "manifests" / f"{name}.json"
    file.write_text(json.dumps(made))
    pods = [f"{name}-{cluster.node_name(index)}" for index in (1, 2, 3)]
    wait_until("mirror pods are shown", lambda: all(kubectl.get("pod", each) for each in pods))
    kubectl("wait", "--for=condition=Ready", "--timeout=60s", *(f"pod/{each}" for each in pods))
    before = kubectl.get("pod", pods[0])["status"]["containerStatuses"][0]["containerID"]

    kubectl("delete", "pod", pods[0], "--wait")
    kubectl_ready = lambda: kubectl.get("pod", pods[0])["status"]["containerStatuses"][0]["ready"]  # noqa: E731
    wait_until("the mirror pod is back", kubectl_ready)
    assert kubectl.get("pod", pods[0])["status"]["containerStatuses"][0]["containerID"] == before

    file.unlink()
    wait_until("mirror pods are gone", lambda: name not in kubectl("get", "pods"))


def test_pods_that_take_more_of_the_disk_than_they_may(kubectl: Kubectl) -> None:
    layer = sleeper("own-layer", container={"resources": {"limits": {"ephemeral-storage": "10Mi"}}})
    volume = sleeper("own-volume")
    volume["spec"]["volumes"] = [{"name": "v", "emptyDir": {"sizeLimit": "10Mi"}}]
    volume["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    kubectl.apply(layer, volume)
    kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/own-layer", "pod/own-volume")
    for name, file in (("own-layer", "/big"), ("own-volume", "/v/big")):
        kubectl("exec", name, "--", "dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=20")
    for name in ("own-layer", "own-volume"):
        wait_until(f"{name} is evicted", lambda name=name: kubectl("get", "pod", name, *REASON) == "Evicted", 90)
    told = kubectl.get("pod", "own-volume")["status"]["message"]
    assert told == 'Usage of EmptyDir volume "v" exceeds the limit "10Mi". '
    kubectl("delete", "pod", "own-layer", "own-volume", "--wait=false")
