"""Images: without any registry, from archives, from mirrors and plain-HTTP registries; what the helper builds works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, container_status, pod, run, sleeper, wait_until
from tests.e2e.conftest import REGISTRY_PORT
from timonel.cluster.containerd import PAUSE_IMAGE
from timonel.cluster.oci import Image, docker_archive, oci_archive, push
from timonel.cluster.segment import address_of
from timonel.testing.images import RECIPES, build_images


@pytest.fixture(scope="module")
def images() -> dict[str, Image]:
    return build_images()


@pytest.fixture(scope="module")
def registry_address(cluster: Cluster) -> str:
    return f"{address_of(cluster.config['network']['nodes'], 0)}:{REGISTRY_PORT}"


@pytest.fixture(scope="module")
def plain(cluster: Cluster, registry_address: str) -> Iterator[str]:
    """A registry named by host and port in image names, told in the configuration to speak plain HTTP."""
    cluster.config["registries"][registry_address] = {"plainHttp": True}
    cluster.up()
    yield registry_address
    del cluster.config["registries"][registry_address]
    cluster.up()


def images_on(cluster: Cluster, index: int) -> set[str]:
    node = cluster.node_name(index)
    lines = cluster.timonel("image", "ls").stdout.splitlines()
    return {line.split()[1] for line in lines if line.split()[0] == node}


def ran(cluster: Cluster, *pods: dict[str, Any]) -> list[str]:
    """Logs of pods that run to their end."""
    cluster.apply(*pods)
    names = [item["metadata"]["name"] for item in pods]
    for name in names:
        cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s", timeout=70)
    logs = [cluster.kubectl("logs", name).stdout for name in names]
    cluster.kubectl("delete", "pod", *names, "--wait=false")
    return logs


def test_the_pause_image_was_made_on_every_node_without_a_registry(cluster: Cluster) -> None:
    for index in (1, 2, 3):
        assert PAUSE_IMAGE in images_on(cluster, index)


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_archive_is_imported_listed_run_and_removed(
    cluster: Cluster, images: dict[str, Image], tmp_path: Path, kind: str
) -> None:
    name = f"example.com/from-{kind}:1"
    write = docker_archive if kind == "docker" else oci_archive
    file = tmp_path / "image.tar"
    file.write_bytes(write(images["busybox:1.36"], name))
    imported = cluster.timonel("image", "import", str(file)).stdout.splitlines()
    assert sorted(imported) == [f"{cluster.node_name(index)}: {name}" for index in (1, 2, 3)]
    assert all(name in images_on(cluster, index) for index in (1, 2, 3))
    made = pod(f"from-{kind}", name, "echo", "it runs", restartPolicy="Never", container={"imagePullPolicy": "Never"})
    assert ran(cluster, made) == ["it runs\n"]
    wait_until(
        "the pod is gone",
        lambda: cluster.kubectl("get", "pod", f"from-{kind}", check=False).returncode != 0,
    )
    removed = cluster.timonel("image", "rm", name).stdout
    assert removed == f"removed from {', '.join(cluster.node_name(index) for index in (1, 2, 3))}\n"
    assert name not in images_on(cluster, 1)


def one_line(cluster: Cluster, *arguments: str) -> str:
    result = cluster.timonel(*arguments, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    return line


def test_what_is_no_image_is_refused_in_one_line(cluster: Cluster, images: dict[str, Image], tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.tar"
    garbage.write_bytes(b"\x00garbage" * 1000)
    assert "is not an image archive" in one_line(cluster, "image", "import", str(garbage))
    assert "does not exist" in one_line(cluster, "image", "import", str(tmp_path / "absent.tar"))
    (tmp_path / "some.txt").write_text("text")
    other = tmp_path / "other.tar"
    run("tar", "-cf", str(other), "-C", str(tmp_path), "some.txt")
    assert "neither a `docker save` nor an OCI archive" in one_line(cluster, "image", "import", str(other))
    whole = oci_archive(images["busybox:1.36"], "example.com/cut:1")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: len(whole) // 2])
    assert str(cut) in one_line(cluster, "image", "import", str(cut))
    assert "no node has the image example.com/none:1" in one_line(cluster, "image", "rm", "example.com/none:1")


def test_images_come_from_the_mirror_of_docker_io(cluster: Cluster) -> None:
    """busybox:1.37 is docker.io/library/busybox:1.37, which only the mirror can have given."""
    made = pod("mirrored", "busybox:1.37", "echo", "mirrored", restartPolicy="Never", nodeName=cluster.node_name(2))
    assert ran(cluster, made) == ["mirrored\n"]
    assert "docker.io/library/busybox:1.37" in images_on(cluster, 2)


def test_a_registry_named_by_host_and_port_speaks_plain_http(cluster: Cluster, plain: str) -> None:
    """No part restarts for it: containerd reads registries at each pull."""
    made = pod("plain", f"{plain}/library/busybox:1.36", "echo", "plain", restartPolicy="Never")
    assert ran(cluster, made) == ["plain\n"]


def test_pull_policies(cluster: Cluster, plain: str, images: dict[str, Image]) -> None:
    """IfNotPresent keeps the image that is there; Always looks whether the tag moved; Never asks nobody."""
    repository, node = "policies", cluster.node_name(3)
    name = f"{plain}/{repository}:1"

    def run_with(policy: str, suffix: str) -> str:
        made = pod(
            f"policy-{suffix}", name, restartPolicy="Never", nodeName=node, container={"imagePullPolicy": policy}
        )
        return ran(cluster, made)[0]

    def tag(text: str) -> None:
        layers = images["busybox:1.36"].layers
        push(Image(layers, {"Cmd": ["echo", text], "Env": ["PATH=/usr/bin"]}), f"http://{plain}", repository, ["1"])

    tag("old")
    cluster.apply(
        pod("never", f"{plain}/{repository}:2", nodeName=node, container={"imagePullPolicy": "Never"}),
    )
    assert run_with("IfNotPresent", "first") == "old\n"
    tag("new")
    assert run_with("IfNotPresent", "second") == "old\n"
    assert run_with("Always", "third") == "new\n"
    waiting = wait_until(
        "Never has a reason",
        lambda: (
            container_status(cluster.get("pod", "never"), "main")["state"]["waiting"]["reason"] == "ErrImageNeverPull"
        ),
    )
    assert waiting
    cluster.kubectl("delete", "pod", "never", "--wait=false")


def test_every_built_image_has_layers_and_shares_the_first(images: dict[str, Image]) -> None:
    assert set(images) == {f"{recipe.name}:{tag}" for recipe in RECIPES for tag in recipe.tags}
    assert all(len(image.layers) >= 2 for image in images.values())
    assert len({image.layers[0].diff_id for image in images.values()}) == 1


def test_every_built_image_does_its_job(cluster: Cluster) -> None:
    """As they come, without a command: the servers serve; python and busybox are given something to do."""
    programs = [
        pod("job-nginx", "nginx:1.27"),
        pod("job-redis", "redis:7.4"),
        pod("job-python", "python:3.13", "python3", "-c", "import json, ssl; print(6 * 7)", restartPolicy="Never"),
        sleeper("job-busybox"),
    ]
    cluster.apply(*programs)
    cluster.wait_ready("job-nginx", "job-redis", "job-busybox")
    nginx = cluster.get("pod", "job-nginx")["status"]["podIP"]

    def in_busybox(*command: str) -> str:
        return cluster.kubectl("exec", "job-busybox", "--", *command).stdout

    assert "Welcome to nginx" in wait_until("nginx answers", lambda: in_busybox("wget", "-qO-", f"http://{nginx}/"))

    def in_redis(*command: str) -> str:
        return cluster.kubectl("exec", "job-redis", "--", "redis-cli", *command).stdout.strip()

    wait_until("redis answers", lambda: in_redis("ping") == "PONG")
    assert in_redis("set", "key", "value") == "OK"
    assert in_redis("get", "key") == "value"
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/job-python", "--timeout=60s")
    assert cluster.kubectl("logs", "job-python").stdout == "42\n"
    assert in_busybox("sh", "-c", "echo b a | tr ' ' '\\n' | sort | head -n 1") == "a\n"
    cluster.kubectl("delete", "pod", *(item["metadata"]["name"] for item in programs), "--wait=false")


def test_what_the_registry_has_is_what_was_built(registry_address: str, cluster: Cluster) -> None:
    catalog = json.loads(run("curl", "-sSf", f"http://{registry_address}/v2/_catalog").stdout)["repositories"]
    assert {f"library/{recipe.name}" for recipe in RECIPES} <= set(catalog)
