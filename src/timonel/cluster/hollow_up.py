"""Hollow nodes of a cluster: what `up` prepares for them, and clusters that have no other nodes.

Such a cluster needs no root: it runs as whoever started it, below that person's own folders, and touches neither
network, cgroups nor containers.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import time
from collections.abc import Callable

from timonel.cluster import supervision
from timonel.cluster.api import AdminApi
from timonel.cluster.certificates import ensure_client_certificate, ensure_server_certificate
from timonel.cluster.config import ClusterConfig, NetworkConfig
from timonel.cluster.errors import UserError
from timonel.cluster.kubeconfig_files import write_kubeconfig
from timonel.cluster.layout import Layout
from timonel.cluster.pki import ADMIN, MANAGER, SCHEDULER, Pki, ensure_pki
from timonel.cluster.plan import (
    ClusterState,
    first_service_address,
    plan_hollow,
    plan_manager,
    plan_parts,
    plan_server,
    settings_file,
)
from timonel.cluster.settings import write_settings

USER = "system:timonel:hollow-nodes"
MOST = 20_000
_WIDE_PODS = "10.128.0.0/9"
"""Pod network of clusters whose hollow nodes do not fit into the usual one: room for 32 768."""


def is_hollow_only(layout: Layout, *, nodes: int | None, hollow: int | None) -> bool:
    """Whether the cluster has, or a new one would have, no real nodes. Raises UserError where that cannot change."""
    previous = ClusterState.load(layout.state_file)
    if previous is None:
        return hollow is not None and not nodes
    if previous.nodes == 0 and nodes:
        raise UserError(
            "this cluster has hollow nodes only, and cannot get real ones: use `timonel down --purge` and start anew"
        )
    return previous.nodes == 0


def wanted_count(previous: ClusterState | None, hollow: int | None, more: int) -> int:
    count = (hollow if hollow is not None else previous.hollow if previous else 0) + more
    if not 0 <= count <= MOST:
        raise UserError(f"--hollow {count}: between 0 and {MOST} hollow nodes can be had")
    return count


def free_port(preferred: int = 0) -> int:
    """The preferred one if it is free, else any."""
    for port in dict.fromkeys((preferred, 0)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("0.0.0.0", port))
            except OSError:
                continue
            return int(trial.getsockname()[1])
    raise UserError("this machine has no free port left")


def own_address() -> str:
    """The machine's address towards the outside, or loopback; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect(("192.0.2.254", 9))
            return str(trial.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def with_room(config: ClusterConfig, count: int) -> ClusterConfig:
    """With a pod network that has a /24 for each hollow node. Raises UserError when the one configured has not."""
    network = ipaddress.IPv4Network(config.network.pods)
    if count <= network.num_addresses // 256:
        return config
    if config.network.pods != NetworkConfig().pods:
        raise UserError(f"network.pods {network} has room for {network.num_addresses // 256} nodes, not for {count}")
    return dataclasses.replace(config, network=dataclasses.replace(config.network, pods=_WIDE_PODS))


def prepare(layout: Layout, config: ClusterConfig, state: ClusterState, pki: Pki, url: str) -> None:
    """Certificates, kubeconfig and settings of the hollow process."""
    folder = layout.data / "hollow"
    client = ensure_client_certificate(folder, "client", pki.ca, USER)
    serving = ensure_server_certificate(folder, "server", pki.ca, USER, ["localhost", "127.0.0.1", state.address])
    write_kubeconfig(
        layout.data / "hollow.kubeconfig", server=url, ca=pki.ca.cert, client=client, context=layout.context
    )
    write_settings(settings_file(layout, "hollow"), plan_hollow(layout, config, state, serving.cert, serving.key))


def bring_up(
    layout: Layout,
    config: ClusterConfig,
    previous: ClusterState | None,
    count: int,
    store: str,
    say: Callable[[str], None],
) -> tuple[bool, ClusterState]:
    """Starts server, manager and hollow nodes. Returns whether anything changed."""
    if store == "etcd" and not config.etcd.servers:
        raise UserError("a cluster of hollow nodes keeps no etcd of its own: name one in etcd.servers, or use sqlite")
    config = with_room(config, count)
    running = supervision.ask(layout, "status") is not None
    if previous is not None and running:
        port, hollow_port, address = previous.port, previous.hollow_port, previous.address
    else:
        port = free_port(previous.port if previous else config.api.port)
        hollow_port = free_port(previous.hollow_port if previous else 0)
        address = own_address()
    state = ClusterState(0, "", address, port, store, count, hollow_port)
    for folder in (layout.data, layout.run, layout.logs, layout.store.parent, layout.run / "parts"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    state.save(layout.state_file)
    pki = ensure_pki(
        layout.pki,
        service_address=first_service_address(config),
        addresses=[address],
        names=[layout.node_name(1), *config.api.extra_names],
        domain=config.network.domain,
    )
    url = f"https://127.0.0.1:{port}"
    for name, client in (("admin", ADMIN), ("manager", MANAGER), ("scheduler", SCHEDULER)):
        write_kubeconfig(
            layout.data / f"{name}.kubeconfig",
            server=url,
            ca=pki.ca.cert,
            client=pki.clients[client],
            context=layout.context,
        )
    # Nobody but this machine needs to reach a simulation.
    server = dataclasses.replace(plan_server(layout, config, state), bind_address="127.0.0.1")
    write_settings(settings_file(layout, "server"), server)
    write_settings(settings_file(layout, "manager"), plan_manager(layout, config))
    if count:
        prepare(layout, config, state, pki, url)
    if not running:
        say(f"starting server, manager and {count} hollow nodes, port {port}")
    return supervision.ensure_supervisor(layout, plan_parts(layout, state)), state


def wait_ready(layout: Layout, state: ClusterState, seconds: float, say: Callable[[str], None]) -> None:
    """Until the API answers and every hollow node is Ready. Raises UserError."""
    deadline = time.monotonic() + seconds
    api = AdminApi(layout.admin_kubeconfig)
    problem = ""
    while True:
        try:
            if api.request("GET", "/readyz")[0] == 200:
                break
        except OSError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            raise UserError(f"the API server did not become ready ({problem}); see {layout.logs}/server.log")
        time.sleep(0.05)
    api.close()
    say("the API server answers")
    while state.hollow:
        answer = supervision.ask(layout, "status")
        parts = answer["parts"] if answer else []
        if any(part["name"] == "hollow" and part["state"] == "ready" for part in parts):
            say(f"{state.hollow} hollow nodes are Ready")
            return
        if time.monotonic() > deadline:
            raise UserError(f"not every hollow node became Ready within {seconds:.0f} s; see {layout.logs}/hollow.log")
        time.sleep(0.05)
