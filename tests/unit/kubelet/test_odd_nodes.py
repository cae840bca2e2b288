"""What others may have put where the kubelet looks: it goes on, at once and after a restart."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.kubelet.node import Node
from timonel.api.refs import NODES
from timonel.kubelet.containers.labels import POD_UID
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.node.status import Health, conditions

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)


def test_conditions_without_a_time_of_change() -> None:
    """core/v1: lastTransitionTime is optional in a node's conditions."""
    (*_, ready) = conditions(Health(), NOW, [{"type": "Ready", "status": "True"}])
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", "2026-01-01T00:00:00Z")
    (*_, ready) = conditions(Health(), LATER, [ready])
    assert ready["lastTransitionTime"] == "2026-01-01T00:00:00Z"


async def test_a_sandbox_that_nobody_of_ours_made_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tmp_path)
    foreign = cri.PodSandboxStatus(id="f", state=cri.SANDBOX_READY, labels={POD_UID: "uid-foreign"})
    node.runtime.sandboxes["f"] = foreign
    with caplog.at_level(logging.WARNING):
        async with node.running() as kubelet:
            await node.until(lambda: "unknown pod left alone uid=uid-foreign" in caplog.text)
            await kubelet.wait_ready()
    assert "f" in node.runtime.sandboxes


async def test_what_the_runtime_can_do_is_in_the_status(tmp_path: Path) -> None:
    node = Node(tmp_path)
    handlers = [cri.RuntimeHandler(name=""), cri.RuntimeHandler(name="runc")]
    handlers[1].features.recursive_read_only_mounts = True
    node.runtime.abilities = cri.StatusResponse(runtime_handlers=handlers)
    node.runtime.abilities.features.supplemental_groups_policy = True
    async with node.running() as kubelet:
        await kubelet.wait_ready()
    status = node.client.objects(NODES)[0]["status"]
    assert status["features"] == {"supplementalGroupsPolicy": True}
    assert status["runtimeHandlers"] == [
        {"name": "", "features": {"recursiveReadOnlyMounts": False, "userNamespaces": False}},
        {"name": "runc", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}},
    ]


async def test_a_runtime_that_says_nothing_of_its_abilities(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running() as kubelet:
        await kubelet.wait_ready()
    assert not {"features", "runtimeHandlers"} & set(node.client.objects(NODES)[0]["status"])
