"""A real cluster for the end-to-end tests: `timonel up --name …`, the real kubectl, a real registry.

It copes with what an interrupted run left behind (the same names, purged first) and touches no other cluster.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from timonel.cluster.layout import Layout, layout_of

ROOT = Path(__file__).parents[2]
TIMONEL = (sys.executable, "-m", "timonel.cli.main")


class CommandError(AssertionError):
    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        command = shlex.join(map(str, result.args))
        super().__init__(f"{command}\nexit code {result.returncode}\n{result.stdout}\n{result.stderr}")
        self.result = result


def run(
    *command: str,
    check: bool = True,
    stdin: str | None = None,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    if check and result.returncode != 0:
        raise CommandError(result)
    return result


def wait_until(what: str, condition: Callable[[], Any], timeout: float = 60, interval: float = 0.1) -> Any:
    """Returns the condition's first true value; fails with the last exception or value it saw."""
    deadline = time.monotonic() + timeout
    last: Any = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (AssertionError, OSError, subprocess.TimeoutExpired, LookupError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:.0f} s; last: {last}")
        time.sleep(interval)


@dataclass
class Cluster:
    name: str
    folder: Path
    """For configuration, kubeconfig and whatever a test writes."""
    nodes: int = 1
    config: dict[str, Any] = field(default_factory=dict)
    kubectl_program: str = "kubectl"

    @property
    def layout(self) -> Layout:
        return layout_of(self.name)

    @property
    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.folder / "kubeconfig"), "HOME": str(self.folder)}

    def timonel(self, *arguments: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return run(*TIMONEL, *arguments, "--name", self.name, check=check, timeout=timeout, env=self.environment)

    def up(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        config_file = self.folder / "config.yaml"
        config_file.write_text(yaml.safe_dump(self.config))
        return self.timonel(
            "up", "--yes", "--nodes", str(self.nodes), "--config", str(config_file), *arguments, check=check
        )

    def purge(self) -> subprocess.CompletedProcess[str]:
        return self.timonel("down", "--purge")

    # kubectl

    def kubectl(
        self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return run(self.kubectl_program, *arguments, check=check, stdin=stdin, timeout=timeout, env=self.environment)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def items(self, *arguments: str) -> list[Any]:
        found: list[Any] = self.get(*arguments)["items"]
        return found

    def apply(self, *documents: Mapping[str, Any] | str) -> None:
        text = "\n---\n".join(item if isinstance(item, str) else yaml.safe_dump(dict(item)) for item in documents)
        self.kubectl("apply", "-f", "-", stdin=text)

    def wait_ready(self, *pods: str, namespace: str = "default", timeout: float = 60) -> None:
        names = [f"pod/{pod}" for pod in pods]
        self.kubectl(
            "wait", "-n", namespace, "--for=condition=Ready", *names, f"--timeout={timeout:.0f}s", timeout=timeout + 10
        )

    # The machine behind it

    def parts(self) -> dict[str, dict[str, Any]]:
        from timonel.cluster.supervision import ask

        answer = ask(self.layout, "status")
        assert answer is not None, "no supervisor"
        return {part["name"]: part for part in answer["parts"]}

    def kill(self, part: str) -> int:
        """kill -9 of a part; returns the pid it had."""
        pid: int = self.parts()[part]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_part(self, part: str, old_pid: int, timeout: float = 30) -> None:
        wait_until(
            f"{part} is back",
            lambda: (found := self.parts()[part])["state"] == "ready" and found["pid"] not in (0, old_pid),
            timeout,
        )

    def node_name(self, index: int) -> str:
        return self.layout.node_name(index)

    def on_node(
        self, index: int, *command: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command where the node is: in its network namespace."""
        namespace = self.layout.node(index, self.node_name(index)).namespace
        return run("nsenter", f"--net=/run/netns/{namespace}", *command, check=check, timeout=timeout)

    def fetch(self, index: int, url: str, seconds: float = 5) -> str:
        """The body of an HTTP answer, asked from a node. Fails when there is none or it is not a success."""
        return self.on_node(index, "curl", "-sS", "--fail", "--max-time", str(seconds), url).stdout


def pod(name: str, image: str = "busybox:1.36", *command: str, **spec: Any) -> dict[str, Any]:
    """A pod with one container; `spec` goes into the pod's, `container=…` into the container's."""
    container: dict[str, Any] = {"name": "main", "image": image, **spec.pop("container", {})}
    if command:
        container["command"] = list(command)
    labels = spec.pop("labels", {"app": name})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def sleeper(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that does nothing, and ends at once when it is told to."""
    return pod(name, "busybox:1.36", "sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait; done", **spec)


def container_status(pod_object: Mapping[str, Any], container: str) -> dict[str, Any]:
    status = pod_object["status"]
    found: Sequence[dict[str, Any]] = [*status.get("initContainerStatuses", []), *status["containerStatuses"]]
    return next(item for item in found if item["name"] == container)
