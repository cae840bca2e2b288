"""Pods from creation to their end, on a kubelet over fakes."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod, sidecar
from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import Object, copy_object, find_by
from timonel.api.refs import CONFIGMAPS, NODES, PODS
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeFailure, RuntimeUnavailable
from timonel.kubelet.eviction.settings import EvictionConfig

C = container("c")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def config_map(name: str, **data: str) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "data": data}


def node_ready(node: Node) -> Object:
    found: Object = node.client.objects(NODES)[0]["status"]["conditions"][-1]
    return found


async def test_the_node_registers_and_becomes_ready(node: Node) -> None:
    node.runtime.conditions["NetworkReady"] = False
    async with node.running() as kubelet:
        await node.until(lambda: node.client.objects(NODES) and node.client.objects(NODES)[0].get("status"))
        made = node.client.objects(NODES)[0]
        assert made["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
        ready = made["status"]["conditions"][-1]
        assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "KubeletNotReady")
        assert "NetworkReady=false" in ready["message"]
        node.runtime.conditions["NetworkReady"] = True
        await node.until(
            lambda: node.client.objects(NODES)[0]["status"]["conditions"][-1]["status"] == "True", seconds=5
        )
        await kubelet.wait_ready()
    status = node.client.objects(NODES)[0]["status"]
    assert status["nodeInfo"]["containerRuntimeVersion"] == "fake://0.0.0"
    assert {"type": "InternalIP", "address": "192.0.2.1"} in status["addresses"]
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}


async def test_a_node_called_unknown_while_silent_says_at_once_that_it_is_not(node: Node) -> None:
    async with node.running():
        await node.until(lambda: node_condition(node, "Ready") == "True")
        known = copy_object(node.client.objects(NODES)[0])
        for condition in known["status"]["conditions"]:
            condition["status"] = "Unknown"
        await node.client.update(NODES, known, subresource="status")
        await node.until(lambda: node_condition(node, "Ready") == "True")


async def test_a_deleted_node_registers_again(node: Node) -> None:
    async with node.running():
        await node.until(lambda: node_condition(node, "Ready") == "True")
        await node.client.delete(NODES, "n1")
        await node.until(lambda: node_condition(node, "Ready") == "True")


def node_condition(node: Node, type: str) -> str:
    found = node.client.objects(NODES)
    conditions = (found[0].get("status") or {}).get("conditions") if found else ()
    return str((find_by(conditions, "type", type) or {}).get("status"))


async def test_who_waits_for_a_pod_need_not_wait_for_its_remains(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has ended and given back what it used, its object goes; a slow runtime keeps what is left for later."""
    may_remove = asyncio.Event()
    remove = node.runtime.remove_pod_sandbox

    async def remove_slowly(sandbox_id: str) -> None:
        await may_remove.wait()
        await remove(sandbox_id)

    monkeypatch.setattr(node.runtime, "remove_pod_sandbox", remove_slowly)
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None)
        assert node.runtime.sandboxes
        assert not node.runtime.running()
        may_remove.set()
        await node.until(lambda: not node.runtime.sandboxes and not node.runtime.containers)


async def test_a_pod_runs_and_is_removed_without_trace(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=[{"name": "e", "emptyDir": {}}]))
        await node.until(lambda: node.is_ready("web"))
        assert node.runtime.running() == ["c"]
        assert [reason for reason, _ in node.events("web")] == ["Pulled", "Created", "Started"]
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        assert os.path.isdir(node.folder / "cgroup/cpu/t/node/kubepods/besteffort" / f"pod{uid}")
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None)
        assert not node.runtime.running()
        assert os.listdir(node.folder / "kubelet/pods") == []
        await node.until(lambda: not os.listdir(node.folder / "logs"))
    assert not node.runtime.sandboxes
    assert not node.runtime.containers
    assert not os.path.exists(node.folder / "cgroup/cpu/t/node/kubepods/besteffort" / f"pod{uid}")
    assert ("Killing", "Stopping container c") in node.events("web")


async def test_a_crashing_container_is_restarted_with_back_off(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        node.runtime.exit_container("c", 1)
        await node.until(lambda: node.container("web")["restartCount"] == 1 and node.is_ready("web"))
        node.runtime.exit_container("c", 1)
        await node.until(lambda: "waiting" in node.container("web")["state"])
        waiting = node.container("web")["state"]["waiting"]
        assert waiting["reason"] == "CrashLoopBackOff"
        assert waiting["message"].startswith("back-off 10s restarting failed container=c pod=web_default(")
        await node.clock.advance(9)
        assert node.runtime.running() == []
        await node.until(lambda: node.is_ready("web"), seconds=2)
        assert node.container("web")["restartCount"] == 2
        assert node.container("web")["lastState"]["terminated"]["exitCode"] == 1
    assert any(reason == "BackOff" for reason, _ in node.events("web"))


async def test_a_pod_that_is_done_succeeds_and_keeps_its_logs(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C, restartPolicy="Never"))
        await node.until(lambda: node.runtime.running())
        node.runtime.exit_container("c", 0)
        await node.until(lambda: node.status("web").get("phase") == "Succeeded")
        await node.until(lambda: all(s.state == cri.SANDBOX_NOTREADY for s in node.runtime.sandboxes.values()))
        assert node.runtime.containers
        assert os.listdir(node.folder / "logs")


async def test_sidecars_end_last_and_in_reverse_order(node: Node) -> None:
    node.runtime.ignores_sigterm = {"c"}
    async with node.running():
        of = pod(C, init=(sidecar("s1"), sidecar("s2")), terminationGracePeriodSeconds=5)
        await node.client.create(PODS, of)
        await node.until(lambda: node.is_ready("web"))
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None, seconds=10)
    stops = [name for method, name in node.runtime.log if method == "stop_container"]
    assert stops == ["c", "s2", "s1"]


async def test_a_failing_liveness_probe_restarts_the_container(node: Node) -> None:
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2}
    async with node.running():
        await node.client.create(PODS, pod(container("c", livenessProbe=probe)))
        await node.until(lambda: node.is_ready("web"))
        node.runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=1, stderr=b"sick")
        await node.until(lambda: node.container("web")["restartCount"] == 1, seconds=10)
        node.runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=0)
    assert ("Unhealthy", "Liveness probe failed: sick") in node.events("web")
    assert ("Killing", "Container c failed liveness probe, will be restarted") in node.events("web")


async def test_a_new_image_replaces_the_container_without_a_word_in_between(node: Node) -> None:
    node.runtime.images |= {"busybox:2": node.runtime.images["busybox:latest"]}
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        changed = copy_object(node.get("web") or {})
        changed["spec"]["containers"][0]["image"] = "busybox:2"
        node.client.writes.clear()
        await node.client.update(PODS, changed)
        await node.until(lambda: node.container("web")["restartCount"] == 1)
    told = [write.object["status"]["conditions"] for write in node.client.writes if write.subresource == "status"]
    assert {(find_by(conditions, "type", "Ready") or {}).get("status") for conditions in told} == {"True"}


async def test_a_replacement_that_takes_its_time_is_told(node: Node) -> None:
    node.runtime.pullable = {"busybox:2"}
    node.runtime.delays["pull_image"] = 5
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        changed = copy_object(node.get("web") or {})
        changed["spec"]["containers"][0]["image"] = "busybox:2"
        await node.client.update(PODS, changed)
        await node.until(lambda: not node.is_ready("web"), seconds=2)
        await node.until(lambda: node.is_ready("web"), seconds=10)


async def test_readiness_comes_and_goes(node: Node) -> None:
    node.runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=1)
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 2, "failureThreshold": 1}
    async with node.running():
        await node.client.create(PODS, pod(container("c", readinessProbe=probe)))
        await node.until(lambda: node.status("web").get("phase") == "Running")
        await node.clock.advance(10)
        assert not node.is_ready("web")
        node.runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=0)
        await node.until(lambda: node.is_ready("web"), seconds=3)
        node.runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=1)
        await node.until(lambda: not node.is_ready("web"), seconds=3)
        assert node.container("web")["restartCount"] == 0


@pytest.mark.parametrize(
    ("method", "reason"),
    [("create_container", "CreateContainerError"), ("start_container", "RunContainerError")],
)
async def test_failures_of_the_runtime_have_names(node: Node, method: str, reason: str) -> None:
    seen = set()
    node.runtime.failures[method] = RuntimeFailure("Unknown", "no such command")
    async with node.running():
        await node.client.create(PODS, pod(C))

        def said() -> bool:
            for write in node.client.writes:
                for status in (write.object.get("status") or {}).get("containerStatuses") or ():
                    seen.add((status["state"].get("waiting") or {}).get("reason"))
            return reason in seen

        await node.until(said, seconds=3)
    assert ("Failed", "Error: no such command") in node.events("web")


async def test_an_image_that_is_not_there(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(container("c", image="nope:1")))
        await node.until(lambda: _waiting(node) == "ErrImagePull")
        await node.until(lambda: _waiting(node) == "ImagePullBackOff", seconds=3)
        node.runtime.pullable.add("nope:1")
        await node.until(lambda: node.is_ready("web"), seconds=12)
    reasons = [reason for reason, _ in node.events("web")]
    assert reasons[:3] == ["Pulling", "Failed", "Failed"]
    assert "BackOff" in reasons


def _waiting(node: Node) -> str:
    statuses = node.status("web").get("containerStatuses") or [{}]
    return str(((statuses[0].get("state") or {}).get("waiting") or {}).get("reason"))


async def test_a_pod_with_claims_does_not_run_without_its_devices(node: Node) -> None:
    claims = [{"name": "gpu", "resourceClaimName": "c"}]
    async with node.running():
        await node.client.create(PODS, pod(C, resourceClaims=claims))
        await node.until(lambda: node.events("web"))
        reason, message = node.events("web")[0]
        assert reason == "FailedPrepareDynamicResources"
        assert message.startswith("Failed to prepare dynamic resources: ")
        assert not node.runtime.containers


async def test_a_pod_waits_for_its_config_map(node: Node) -> None:
    volumes = [{"name": "v", "configMap": {"name": "later"}}]
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=volumes))
        await node.until(lambda: node.events("web"))
        assert node.events("web")[0] == (
            "FailedMount",
            'MountVolume.SetUp failed for volume "v" : configmap "later" not found',
        )
        assert _waiting(node) == "ContainerCreating"
        node.client.add(config_map("later", a="1"))
        await node.until(lambda: node.is_ready("web"))
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        file = node.folder / "kubelet/pods" / uid / "volumes/kubernetes.io~configmap/v/a"
        assert file.read_text() == "1"
        node.client.change(CONFIGMAPS, "later", "default", lambda obj: obj["data"].update(a="2"))
        await node.until(lambda: file.read_text() == "2")


async def test_a_new_agent_keeps_files_up_to_date(node: Node) -> None:
    node.client.add(config_map("cm", a="1"))
    volumes = [{"name": "v", "configMap": {"name": "cm", "optional": True}}]
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=volumes))
        await node.until(lambda: node.is_ready("web"))
    uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
    folder = node.folder / "kubelet/pods" / uid / "volumes/kubernetes.io~configmap/v"
    before = os.readlink(folder / "..data")
    async with node.running():
        await node.until(lambda: node.runtime.calls["list_containers"] > 4)
        await node.clock.advance(1)
        assert os.readlink(folder / "..data") == before
        node.client.change(CONFIGMAPS, "cm", "default", lambda obj: obj["data"].update(a="2"))
        await node.until(lambda: (folder / "a").read_text() == "2")


async def test_a_volume_source_that_is_not_built_is_named(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=[{"name": "v", "iscsi": {"targetPortal": "x", "iqn": "y"}}]))
        await node.until(lambda: node.events("web"))
    assert "volume source iscsi is not built" in node.events("web")[0][1]


async def test_a_new_agent_touches_nothing_that_runs(node: Node) -> None:
    probe = {"exec": {"command": ["check"]}}
    async with node.running():
        await node.client.create(PODS, pod(container("c", readinessProbe=probe), init=(sidecar("s"),)))
        await node.until(lambda: node.is_ready("web"))
    done, written = len(node.runtime.log), len(node.client.written())
    async with node.running():
        await node.until(lambda: node.runtime.calls["list_containers"] > 4)
        await node.clock.advance(1)
        assert [call for call in node.runtime.log[done:] if call[0] != "exec_sync"] == []
        assert [write for write in node.client.written()[written:] if write.ref == PODS] == []


async def test_a_new_agent_ends_what_was_deleted_meanwhile(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
    node.client.remove(PODS, "web", "default")
    async with node.running():
        await node.until(lambda: not node.runtime.sandboxes)
        await node.until(lambda: not os.listdir(node.folder / "kubelet/pods"))
    assert not node.runtime.containers


async def test_a_container_made_but_not_started_is_made_again(node: Node) -> None:
    node.runtime.delays["start_container"] = 1000
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.runtime.containers)
    node.runtime.delays.clear()
    async with node.running():
        await node.until(lambda: node.is_ready("web"))
    assert len(node.runtime.containers) == 1
    assert node.container("web")["restartCount"] == 0


async def test_the_runtime_may_go_away(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        for method in ("list_pod_sandboxes", "list_containers", "status", "version", "stop_container"):
            node.runtime.failures[method] = RuntimeUnavailable("Unavailable", "connection refused")
        await node.client.delete(PODS, "web", "default")
        await node.clock.advance(50)
        assert node.get("web") is not None
        ready = node_ready(node)
        assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
        assert "container runtime is down" in ready["message"]
        node.runtime.failures.clear()
        await node.until(lambda: node.get("web") is None, seconds=20)


async def test_the_api_may_go_away(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        node.client.fail(ServiceUnavailable("away"), verb="patch", times=5)
        node.runtime.exit_container("c", 1)
        await node.until(lambda: node.runtime.running() == ["c"])
        await node.until(lambda: node.container("web")["restartCount"] == 1, seconds=30)


async def test_a_lost_sandbox_is_replaced(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        before = node.status("web")["podIP"]
        first = next(iter(node.runtime.sandboxes))
        await node.runtime.stop_pod_sandbox(first)
        await node.until(lambda: node.is_ready("web") and node.status("web")["podIP"] != before, seconds=15)
    assert ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.") in node.events("web")


def forget_everything(node: Node) -> None:
    """What `timonel down` and a reboot leave of a runtime."""
    for kept in (node.runtime.sandboxes, node.runtime.containers, node.runtime.container_sandbox):
        kept.clear()


async def test_a_container_that_went_with_its_machine_counts_one_restart(node: Node) -> None:
    for life in range(3):
        async with node.running():
            if not life:
                await node.client.create(PODS, pod(C))
            await node.until(lambda: node.runtime.running() == ["c"] and node.is_ready("web"), seconds=15)
            assert node.container("web")["restartCount"] == life
            log = f"{next(iter(node.runtime.containers.values())).log_path}"
            assert log.endswith(f"/c/{life}.log")
            with open(log, "w"):
                pass  # as the runtime makes it
        forget_everything(node)
    ended = node.container("web")["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")


async def test_a_crash_loop_is_counted_on_after_the_machine_went(node: Node) -> None:
    """Its status waits: whether it tells of the last run's end or of a lost one, the logs know how many there were."""
    async with node.running():
        await node.client.create(PODS, pod(C))
        for run in range(2):
            await node.until(lambda: node.runtime.running() == ["c"], seconds=30)
            with open(list(node.runtime.containers.values())[-1].log_path, "w"):
                pass
            await node.until(lambda: node.container("web")["restartCount"] == run)  # noqa: B023
            node.runtime.exit_container("c", 1)
        await node.until(lambda: "waiting" in node.container("web")["state"], seconds=1)
    forget_everything(node)
    async with node.running():
        await node.until(lambda: node.is_ready("web"), seconds=15)
        assert node.container("web")["restartCount"] == 2


async def test_a_pod_that_never_restarts_is_not_started_again_after_the_machine_went(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C, restartPolicy="Never"))
        await node.until(lambda: node.is_ready("web"))
    forget_everything(node)
    async with node.running():
        await node.until(lambda: node.status("web")["phase"] == "Failed")
        await node.clock.advance(30)
        assert node.runtime.containers == {}


async def test_a_deadline_ends_the_pod(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C, activeDeadlineSeconds=5))
        await node.until(lambda: node.is_ready("web"))
        await node.until(lambda: node.status("web").get("phase") == "Failed", seconds=7)
    assert node.status("web")["reason"] == "DeadlineExceeded"
    assert node.runtime.running() == []


async def test_grace_is_kept_and_can_be_shortened(node: Node) -> None:
    node.runtime.ignores_sigterm = {"c"}
    async with node.running():
        await node.client.create(PODS, pod(C, terminationGracePeriodSeconds=600))
        await node.until(lambda: node.is_ready("web"))
        await node.client.delete(PODS, "web", "default")
        await node.clock.advance(30)
        assert node.runtime.running() == ["c"]

        def shorten(obj: Object) -> None:
            obj["metadata"]["deletionGracePeriodSeconds"] = 1

        node.client.change(PODS, "web", "default", shorten)
        await node.until(lambda: node.get("web") is None, seconds=5)


async def test_an_empty_dir_that_outgrows_its_limit_ends_the_pod(node: Node) -> None:
    node.figures = None
    node.config = replace(node.config, eviction=EvictionConfig(()))
    async with node.running():
        volume = {"name": "e", "emptyDir": {"sizeLimit": "8Ki"}}
        await node.client.create(PODS, pod(C, volumes=[volume]))
        await node.until(lambda: node.is_ready("web"))
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        (node.folder / "kubelet/pods" / uid / "volumes/kubernetes.io~empty-dir/e/big").write_bytes(b"x" * 100_000)
        await node.until(lambda: node.status("web").get("phase") == "Failed", seconds=60)
    assert node.status("web")["reason"] == "Evicted"
    assert node.status("web")["message"] == 'Usage of EmptyDir volume "e" exceeds the limit "8Ki". '


async def test_a_large_log_is_rotated(node: Node) -> None:
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))
        log = node.folder / "logs" / os.listdir(node.folder / "logs")[0] / "c/0.log"
        for expected in range(1, 4):
            log.write_bytes(b"x" * (10 * 1024 * 1024 + 1))
            await node.until(lambda: node.runtime.calls["reopen_container_log"] == expected, seconds=15)  # noqa: B023
        names = sorted(os.listdir(log.parent))
    assert len(names) == 3
    assert [name.endswith(".gz") for name in names] == [True, True, False]


async def test_what_somebody_else_says_of_readiness_is_corrected(node: Node) -> None:
    """The node controller marks pods of a node that fell silent; the node is back and knows better."""
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.is_ready("web"))

        def doubt(obj: Object) -> None:
            for entry in obj["status"]["conditions"]:
                if entry["type"] == "Ready":
                    entry["status"] = "False"

        node.client.change(PODS, "web", "default", doubt)
        assert not node.is_ready("web")
        await node.until(lambda: node.is_ready("web"))


async def test_hooks_run_at_both_ends(node: Node) -> None:
    asked: list[str] = []

    def answer(name: str, command: object) -> cri.ExecSyncResponse:
        asked.append(command[0])  # type: ignore[index]
        return cri.ExecSyncResponse(exit_code=0)

    node.runtime.on_exec = answer
    hooks = {"postStart": {"exec": {"command": ["hello"]}}, "preStop": {"exec": {"command": ["bye"]}}}
    async with node.running():
        await node.client.create(PODS, pod(container("c", lifecycle=hooks), terminationGracePeriodSeconds=9))
        await node.until(lambda: node.is_ready("web"))
        assert asked == ["hello"]
        await node.client.delete(PODS, "web", "default")
        await node.until(lambda: node.get("web") is None)
    assert asked == ["hello", "bye"]


async def test_a_failed_post_start_hook_kills_the_container(node: Node) -> None:
    node.runtime.on_exec = lambda name, command: cri.ExecSyncResponse(exit_code=1)
    hooks = {"postStart": {"exec": {"command": ["hello"]}}}
    async with node.running():
        await node.client.create(PODS, pod(container("c", lifecycle=hooks)))
        await node.until(lambda: _waiting(node) == "CrashLoopBackOff", seconds=3)
    assert ("FailedPostStartHook", "PostStartHook failed") in node.events("web")


async def test_an_orphan_is_ended_as_it_asked_to_be(node: Node) -> None:
    """Its pod was deleted while the agent was away: hooks and grace are known from what the runtime keeps."""
    asked: list[object] = []

    def answer(name: str, command: object) -> cri.ExecSyncResponse:
        asked.append(command)
        return cri.ExecSyncResponse(exit_code=0)

    node.runtime.on_exec = answer
    hooks = {"preStop": {"exec": {"command": ["bye"]}}}
    async with node.running():
        await node.client.create(PODS, pod(container("c", lifecycle=hooks), terminationGracePeriodSeconds=9))
        await node.until(lambda: node.is_ready("web"))
    node.client.remove(PODS, "web", "default")
    async with node.running():
        await node.until(lambda: not node.runtime.sandboxes)
    assert asked == [["bye"]]


async def test_a_host_network_pod_has_the_addresses_of_the_node(node: Node) -> None:
    node.runtime.conditions["NetworkReady"] = False
    async with node.running():
        await node.client.create(PODS, pod(C, hostNetwork=True))
        await node.until(lambda: node.is_ready("web"))
    assert node.status("web")["podIP"] == "192.0.2.1"


async def test_a_pod_without_network_says_so(node: Node) -> None:
    node.runtime.conditions["NetworkReady"] = False
    async with node.running():
        await node.client.create(PODS, pod(C))
        await node.until(lambda: node.events("web"))
        assert node.events("web")[0][0] == "NetworkNotReady"
        node.runtime.conditions["NetworkReady"] = True
        await node.until(lambda: node.is_ready("web"), seconds=10)


async def test_labels_in_files_follow_the_pod(node: Node) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    async with node.running():
        await node.client.create(PODS, pod(C, volumes=[{"name": "v", "downwardAPI": {"items": items}}]))
        await node.until(lambda: node.is_ready("web"))
        uid = node.get("web")["metadata"]["uid"]  # type: ignore[index]
        file = node.folder / "kubelet/pods" / uid / "volumes/kubernetes.io~downward-api/v/labels"
        assert file.read_text() == ""
        node.client.change(PODS, "web", "default", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await node.until(lambda: file.read_text() == 'a="b"')
