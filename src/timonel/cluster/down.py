"""`timonel down`: stops containers, then parts. With purge, nothing of the cluster is left on the machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable

from timonel.cluster import host_settings, preflight, segment, supervision, teardown
from timonel.cluster.errors import UserError
from timonel.cluster.kubeconfig import remove_context
from timonel.cluster.layout import Layout, NodeLayout
from timonel.cluster.lock import exclusive
from timonel.cluster.plan import ClusterState, nodes_of, plan_parts

STOP_GRACE_SECONDS = 5
"""Between SIGTERM and SIGKILL for containers; their own grace periods are for deletions, not for `down`."""


def down(layout: Layout, *, purge: bool, say: Callable[[str], None]) -> bool:
    """Returns whether there was anything to stop or remove. Raises UserError."""
    state = _load_state(layout)
    if state is not None and state.nodes == 0:
        with exclusive(str(layout.data), say):
            return _down_hollow_only(layout, purge=purge, say=say)
    preflight.check_root()
    with exclusive(str(layout.data), say):
        return _down(layout, purge=purge, say=say)


def _down(layout: Layout, *, purge: bool, say: Callable[[str], None]) -> bool:
    found = layout.data.exists() or layout.run.exists()
    state = _load_state(layout)
    nodes = nodes_of(layout, state) if state else []
    if state and layout.run.exists() and teardown.processes_of(layout):
        _remove_containers(layout, state, nodes, say)
    with contextlib.suppress(UserError):  # one that does not stop is killed with the rest
        supervision.stop_supervisor(layout)
    teardown.kill_processes(layout)
    teardown.unmount_all([layout.run, *([layout.data] if purge else [node.kubelet_root for node in nodes])])
    teardown.remove_cni_results(layout.context, [item for node in nodes for item in teardown.sandboxes_of(node)])
    teardown.remove_dead_shim_sockets(layout)
    for node in nodes:
        shutil.rmtree(node.containerd_state, ignore_errors=True)
    if not layout.is_named:
        _remove_host_node()
    if purge:
        _purge(layout)
    if purge and found:
        say("removed every process, mount, link, table, cgroup and file of this cluster")
    elif found:
        say("stopped; data is kept, `timonel up` starts it again")
    return found


def _down_hollow_only(layout: Layout, *, purge: bool, say: Callable[[str], None]) -> bool:
    """Nothing but processes and files; nobody else's containers, links or rules are looked at."""
    with contextlib.suppress(UserError):
        supervision.stop_supervisor(layout)
    teardown.end_parts(layout)
    if purge:
        remove_context(layout.context)
        for folder in (layout.run, layout.data):
            shutil.rmtree(folder, ignore_errors=True)
        say("removed every process and file of this cluster")
    else:
        say("stopped; data is kept, `timonel up` starts it again")
    return True


def _load_state(layout: Layout) -> ClusterState | None:
    try:
        return ClusterState.load(layout.state_file)
    except (ValueError, TypeError):
        return None  # damaged: what can be found without it is removed all the same


def _remove_containers(
    layout: Layout, state: ClusterState, nodes: list[NodeLayout], say: Callable[[str], None]
) -> None:
    """Only the containerds stay, so that nothing starts containers again; CRI then undoes what CRI made."""
    say("stopping containers")
    try:
        supervision.ensure_supervisor(layout, plan_parts(layout, state, only_containerd=True))
    except UserError as error:
        say(f"containers are stopped by force: {error}")
        return
    # Its socket is there before CRI answers; containerd itself says when it does.
    deadline = time.monotonic() + 10
    while not _all_ready(layout) and time.monotonic() < deadline:
        time.sleep(0.05)

    async def remove_all() -> list[str]:
        results = await asyncio.gather(*(teardown.remove_sandboxes(node, STOP_GRACE_SECONDS) for node in nodes))
        return [problem for problems in results for problem in problems]

    for problem in asyncio.run(remove_all()):
        say(f"removed by force: {problem}")


def _all_ready(layout: Layout) -> bool:
    answer = supervision.ask(layout, "status")
    return answer is not None and all(part["state"] == "ready" for part in answer["parts"])


def _purge(layout: Layout) -> None:
    segment.remove_segment(layout)
    host_settings.release(layout.context)
    teardown.remove_cgroups(layout.cgroup)
    remove_context(layout.context)
    for folder in (layout.run, layout.data):
        if folder.exists():
            teardown.remove_folder(folder)


def _remove_host_node() -> None:
    """What the first node made in the host's own network: rules for containers that are gone would swallow the host's
    own traffic to the same ports. Nodes in namespaces take theirs with them.
    """
    subprocess.run(["nft", "delete", "table", "ip", "timonel"], capture_output=True, check=False)
    subprocess.run(["nft", "delete", "table", "inet", "timonel"], capture_output=True, check=False)
    for protocol in ("84", "85"):  # of the pod network and of the proxy
        segment.run("ip", "route", "flush", "proto", protocol, check=False)
    for address in _loopback_extras():
        segment.run("ip", "addr", "del", address, "dev", "lo", check=False)


def _loopback_extras() -> list[str]:
    """The cluster DNS address, which the agent puts on loopback with a label of ours."""
    addresses = json.loads(segment.run("ip", "-j", "addr", "show", "dev", "lo"))[0]["addr_info"]
    return [f"{item['local']}/{item['prefixlen']}" for item in addresses if item.get("label") == "lo:timonel"]
