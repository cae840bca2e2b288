"""`timonel up --hollow` as a person uses it, root or not: the command, the real kubectl; nothing is left in the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from timonel.cluster.layout import layout_of
from timonel.cluster.teardown import processes_of

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


class Hollow:
    def __init__(self, folder: Path) -> None:
        self.data, self.run_dir = folder / "data", folder / "run"
        self.layout = layout_of("", self.data, self.run_dir)

    def timonel(self, *arguments: str) -> str:
        places = ["--data-dir", str(self.data), "--run-dir", str(self.run_dir)]
        command = [sys.executable, "-m", "timonel.cli.main", *arguments, *places]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    def kubectl(self, *arguments: str, fails: bool = False) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.layout.admin_kubeconfig)}
        result = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False, timeout=120,
                                env=environment)  # fmt: skip
        assert (result.returncode != 0) is fails, result.stderr
        return result.stderr if fails else result.stdout


@pytest.fixture(scope="module")
def hollow() -> Iterator[Hollow]:
    # Not below pytest's own folder: sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="tml") as folder:
        made = Hollow(Path(folder))
        try:
            made.timonel("up", "--hollow", "12", "--no-merge-kubeconfig", "--timeout", "180")
            yield made
        finally:
            made.timonel("down", "--purge")
        assert not made.data.exists()
        assert not made.run_dir.exists()
        assert processes_of(made.layout) == []


def test_nodes_are_ready_and_spread_over_zones(hollow: Hollow) -> None:
    nodes = hollow.kubectl("get", "nodes", "--no-headers", "-L", "topology.kubernetes.io/zone").splitlines()
    assert len(nodes) == 12
    assert all(" Ready " in line for line in nodes)
    assert {line.split()[-1] for line in nodes} == {"zone-a", "zone-b", "zone-c"}


def test_a_deployment_is_rolled_out(hollow: Hollow) -> None:
    hollow.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=24")
    hollow.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    hollow.kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    hollow.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    per_node = hollow.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert len(set(per_node)) == 12


def test_there_is_nothing_to_see_and_it_says_so(hollow: Hollow) -> None:
    hollow.kubectl("run", "box", "--image=busybox", "--", "sleep", "3600")
    hollow.kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
    told = 'pod "box" is on a hollow node, where pods exist in the API only'
    assert f"{told}: it has no log" in hollow.kubectl("logs", "box", fails=True)
    assert f"{told}: nothing can be run in it" in hollow.kubectl("exec", "box", "--", "ls", fails=True)


def test_a_job_ends_as_its_command_says(hollow: Hollow) -> None:
    hollow.kubectl("create", "job", "sum", "--image=busybox", "--", "sh", "-c", "sleep 1; exit 0")
    hollow.kubectl("wait", "--for=condition=Complete", "job/sum", "--timeout=60s")


def test_nodes_are_added(hollow: Hollow) -> None:
    hollow.timonel("node", "add", "--hollow", "3", "--timeout", "180")
    assert len(hollow.kubectl("get", "nodes", "-o", "name").splitlines()) == 15
    assert "15 hollow   Ready" in hollow.timonel("status")
