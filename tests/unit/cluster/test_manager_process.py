"""The manager's process ends in one line, not in a traceback, when it is no longer the leader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from timonel.client.leader import LeadershipLost
from timonel.cluster import manager
from timonel.cluster.errors import UserError
from timonel.cluster.settings import ManagerSettings

KUBECONFIG = """\
clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: x, context: {cluster: x}}]
current-context: x
"""


async def test_lost_leadership_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lose(self: Any) -> None:
        raise LeadershipLost("lease kube-system/timonel-manager was not renewed in time")

    monkeypatch.setattr(manager.ControllerManager, "run", lose)
    kubeconfig, ca = tmp_path / "kubeconfig", tmp_path / "ca.crt"
    kubeconfig.write_text(KUBECONFIG)
    ca.write_text("PEM")
    settings = ManagerSettings(
        kubeconfig=str(kubeconfig),
        scheduler_kubeconfig=str(kubeconfig),
        ca_file=str(ca),
        pod_cidr="10.244.0.0/16",
        identity="a",
        node_monitor_grace_seconds=40.0,
    )
    with pytest.raises(UserError, match="leadership was lost"):
        await manager.run_manager(settings)
