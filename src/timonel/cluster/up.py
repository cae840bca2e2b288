"""`timonel up`: from a bare machine to a Ready node. Each step leaves alone what is already right."""

from __future__ import annotations

import ipaddress
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from timonel.cluster import hollow_up, host_settings, packages, preflight, segment, supervision
from timonel.cluster.admission import load_admission
from timonel.cluster.api import AdminApi, is_ready, not_ready_reason
from timonel.cluster.config import ClusterConfig, load_config
from timonel.cluster.containerd import write_config
from timonel.cluster.errors import UserError
from timonel.cluster.etcd import CLIENT_PORT, PEER_PORT
from timonel.cluster.images import ensure_pause_image
from timonel.cluster.kubeconfig import merge_context
from timonel.cluster.kubeconfig_files import write_kubeconfig
from timonel.cluster.layout import Layout, NodeLayout
from timonel.cluster.lock import exclusive
from timonel.cluster.pki import (
    ADMIN,
    INGRESS,
    MANAGER,
    PROXY,
    SCHEDULER,
    Pki,
    ensure_kubelet_serving,
    ensure_node_client,
    ensure_pki,
)
from timonel.cluster.plan import (
    ClusterState,
    agent_part,
    first_service_address,
    node_address,
    nodes_of,
    plan_agent,
    plan_manager,
    plan_parts,
    plan_server,
    server_url,
    settings_file,
)
from timonel.cluster.scheduler_config import checked_document
from timonel.cluster.settings import write_settings

KUBELET_PORT = 10250


@dataclass(frozen=True, slots=True)
class UpOptions:
    nodes: int | None = None
    """None keeps what the cluster has, 1 for a new one."""
    config_file: Path | None = None
    merge_kubeconfig: bool = True
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    """Beside those of the configuration file."""
    install_packages: bool = False
    timeout_seconds: float = 120.0
    store: str = ""
    """sqlite or etcd; "" keeps what the cluster has, sqlite for a new one."""
    hollow: int | None = None
    """Hollow nodes; None keeps what the cluster has."""
    more_hollow: int = 0
    """Beside those."""


@dataclass(frozen=True, slots=True)
class UpResult:
    changed: bool
    state: ClusterState
    kubeconfig: Path
    merged_into: Path | None


def up(layout: Layout, options: UpOptions, say: Callable[[str], None]) -> UpResult:
    """Brings the cluster up and returns when every node is Ready. `say` gets one line per step. Raises UserError."""
    if hollow_up.is_hollow_only(layout, nodes=options.nodes, hollow=options.hollow):
        with exclusive(str(layout.data), say):
            return _up_hollow_only(layout, options, say)
    preflight.check_root()
    with exclusive(str(layout.data), say):
        return _up(layout, options, say)


def _up_hollow_only(layout: Layout, options: UpOptions, say: Callable[[str], None]) -> UpResult:
    config = load_config(
        options.config_file,
        enable_admission_plugins=options.enable_admission_plugins,
        disable_admission_plugins=options.disable_admission_plugins,
    )
    previous = ClusterState.load(layout.state_file)
    count = hollow_up.wanted_count(previous, options.hollow, options.more_hollow)
    store = choose_store(layout, config, options.store, previous)
    changed, state = hollow_up.bring_up(layout, config, previous, count, store, say)
    hollow_up.wait_ready(layout, state, options.timeout_seconds, say)
    _wait_parts(layout, time.monotonic() + options.timeout_seconds)
    merged_into, merged = None, False
    if options.merge_kubeconfig:
        merged_into, merged = merge_context(layout.admin_kubeconfig, layout.context)
    return UpResult(changed or merged, state, layout.admin_kubeconfig, merged_into)


def missing_packages(layout: Layout, config_file: Path | None, store: str) -> list[packages.SystemPackage]:
    """What `up` would need installed first. Raises UserError as it would."""
    config = load_config(config_file)
    chosen = choose_store(layout, config, store, ClusterState.load(layout.state_file))
    return packages.missing_packages(own_etcd=chosen == "etcd" and not config.etcd.servers)


def _up(layout: Layout, options: UpOptions, say: Callable[[str], None]) -> UpResult:
    config = load_config(
        options.config_file,
        enable_admission_plugins=options.enable_admission_plugins,
        disable_admission_plugins=options.disable_admission_plugins,
    )
    api = config.api
    load_admission(api.enable_admission_plugins, api.disable_admission_plugins, api.admission_control_config_file)
    checked_document(config.manager.scheduler_config)
    previous = ClusterState.load(layout.state_file)
    store = choose_store(layout, config, options.store, previous)
    own_etcd = store == "etcd" and not config.etcd.servers
    missing = packages.missing_packages(own_etcd=own_etcd)
    if missing and not options.install_packages:
        names = " ".join(package.name for package in missing)
        raise UserError(f"missing system packages: {names}; install them, or run timonel up --yes")
    if missing:
        packages.install(missing, say)
    preflight.check_kernel()
    preflight.check_nftables()
    running = supervision.ask(layout, "status")
    state = _decide(layout, config, options, previous, running is not None, store)
    if own_etcd and running is None and not layout.is_named:
        for port in (CLIENT_PORT, PEER_PORT):
            preflight.check_port(port, "etcd's", "stop that, or name its address in etcd.servers", "127.0.0.1")

    for folder in (layout.data, layout.run, layout.logs, layout.store.parent, layout.run / "parts"):
        folder.mkdir(parents=True, exist_ok=True)
    if own_etcd:
        layout.etcd_data.mkdir(mode=0o700, exist_ok=True)
    layout.data.chmod(0o711)
    nodes = nodes_of(layout, state)
    state.save(layout.state_file)
    _prepare_network(layout, state, nodes)
    registries_changed = _prepare_files(layout, config, state, nodes)
    if running is None:
        say("starting server, manager and agent")
    changed = supervision.ensure_supervisor(layout, plan_parts(layout, state, own_etcd=own_etcd))
    if running is not None and changed:
        say("restarted the parts whose settings changed")
    if running is not None and registries_changed:
        say("registries changed; the next pull uses them")
    _prepare_images(layout, nodes, options, say)
    _wait_ready(layout, nodes, options.timeout_seconds, say)
    merged_into = None
    merged = False
    if options.merge_kubeconfig:
        merged_into, merged = merge_context(layout.admin_kubeconfig, layout.context)
    return UpResult(changed or registries_changed or merged, state, layout.admin_kubeconfig, merged_into)


def choose_store(layout: Layout, config: ClusterConfig, wanted: str, previous: ClusterState | None) -> str:
    """sqlite or etcd. Raises UserError where that would leave the cluster's data behind."""
    has = previous.store if previous else ""
    store = wanted or has or ("etcd" if config.etcd.servers else "sqlite")
    if has and store != has:
        raise UserError(
            f"this cluster keeps its data in {has}; moving it is not built yet: use `timonel down --purge` and start "
            f"anew with --store {store}"
        )
    if store == "sqlite" and config.etcd.servers:
        raise UserError(
            "etcd.servers is set, but this cluster keeps its data in sqlite: take it out, or use --store etcd"
        )
    if config.etcd.servers and layout.etcd_data.exists():
        raise UserError(
            f"this cluster keeps its data in an etcd of its own ({layout.etcd_data}); take etcd.servers out, or use "
            "`timonel down --purge` and start anew"
        )
    if has == "etcd" and not config.etcd.servers and not layout.etcd_data.exists():
        raise UserError("this cluster keeps its data in the etcd that etcd.servers named before; name it again")
    return store


def _decide(
    layout: Layout,
    config: ClusterConfig,
    options: UpOptions,
    previous: ClusterState | None,
    running: bool,
    store: str,
) -> ClusterState:
    count = options.nodes if options.nodes is not None else (previous.nodes if previous else 1)
    if not 1 <= count <= 100:
        raise UserError(f"--nodes {count}: between 1 and 100 nodes fit on one machine")
    if previous and count < previous.nodes:
        raise UserError(
            f"this cluster has {previous.nodes} nodes; taking nodes away is not built yet: "
            "use `timonel down --purge` and start anew"
        )
    if previous and running and config.api.port != previous.port:
        raise UserError(f"the server's port cannot change from {previous.port} while it runs: `timonel down` first")
    needs_segment = layout.is_named or count > 1
    network = previous.segment if previous else ""
    if needs_segment and not network:
        network = config.network.nodes or segment.choose_segment(layout)
    if layout.is_named:
        address = segment.address_of(network, 1)
    else:
        address = previous.address if previous and running else segment.main_address()
    if not running and not layout.is_named:
        preflight.check_port(
            config.api.port, "the API server's", "stop that, or set api.port in /etc/timonel/config.yaml"
        )
        preflight.check_port(KUBELET_PORT, "the kubelet's", "stop that; another Kubernetes may run on this machine")
    hollow = hollow_up.wanted_count(previous, options.hollow, options.more_hollow)
    port = previous.hollow_port if previous else 0
    room = ipaddress.IPv4Network(config.network.pods).num_addresses // 256
    if hollow and count + hollow > room:
        raise UserError(f"network.pods {config.network.pods} has room for {room} nodes, not for {count + hollow}")
    if hollow and not port:
        port = hollow_up.free_port()
    return ClusterState(count, network if needs_segment else "", address, config.api.port, store, hollow, port)


def _prepare_network(layout: Layout, state: ClusterState, nodes: list[NodeLayout]) -> None:
    if not layout.is_named:
        # The host is a node: node ports answer on its own loopback too.
        host_settings.require(layout.context, (host_settings.FORWARDING, host_settings.ROUTE_LOCALNET))
    if not state.segment:
        return
    host_settings.require(layout.context, (host_settings.FORWARDING,))
    segment.ensure_bridge(layout, state.segment)
    for node in nodes:
        if node.namespace:
            segment.ensure_node_link(layout, node, state.segment)


def _prepare_files(layout: Layout, config: ClusterConfig, state: ClusterState, nodes: list[NodeLayout]) -> bool:
    """Certificates, kubeconfigs and settings. Returns whether the registries changed."""
    addresses = [state.address]
    if state.segment:
        addresses.append(segment.address_of(state.segment, 0))
    pki = ensure_pki(
        layout.pki,
        service_address=first_service_address(config),
        addresses=addresses,
        names=[layout.node_name(1), *config.api.extra_names],
        domain=config.network.domain,
    )
    local = server_url(state, nodes[0])
    outside = server_url(state) if layout.is_named else local
    _kubeconfig(layout.admin_kubeconfig, outside, pki, ADMIN, layout.context)
    _kubeconfig(layout.data / "manager.kubeconfig", local, pki, MANAGER, layout.context)
    _kubeconfig(layout.data / "scheduler.kubeconfig", local, pki, SCHEDULER, layout.context)
    _kubeconfig(layout.data / "ingress.kubeconfig", local, pki, INGRESS, layout.context)
    write_settings(settings_file(layout, "server"), plan_server(layout, config, state))
    write_settings(settings_file(layout, "manager"), plan_manager(layout, config))
    registries_changed = False
    for node in nodes:
        registries_changed |= write_config(node, config.registries)
        client = ensure_node_client(node.data, pki.ca, node.name)
        serving = ensure_kubelet_serving(node.data, pki.ca, node.name, [node_address(state, node)])
        url = server_url(state, node)
        write_kubeconfig(node.agent_kubeconfig, server=url, ca=pki.ca.cert, client=client, context=layout.context)
        _kubeconfig(node.data / "network.kubeconfig", url, pki, PROXY, layout.context)
        settings = plan_agent(layout, config, state, node, serving.cert, serving.key)
        write_settings(settings_file(layout, agent_part(layout, node)), settings)
    if state.hollow:
        hollow_up.prepare(layout, config, state, pki, local)
    return registries_changed


def _kubeconfig(path: Path, server: str, pki: Pki, client: str, context: str) -> None:
    write_kubeconfig(path, server=server, ca=pki.ca.cert, client=pki.clients[client], context=context)


def _prepare_images(layout: Layout, nodes: list[NodeLayout], options: UpOptions, say: Callable[[str], None]) -> None:
    """The pause image in every containerd; without it no sandbox starts."""
    for node in nodes:
        deadline = time.monotonic() + options.timeout_seconds
        while True:
            try:
                if ensure_pause_image(node):
                    say(f"made the pause image on {node.name}")
                break
            except UserError as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"containerd on {node.name} does not answer: {error}; its log is "
                        f"{layout.logs}/containerd@{node.name}.log"
                    ) from error
                time.sleep(0.05)


def _wait_ready(layout: Layout, nodes: list[NodeLayout], timeout_seconds: float, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_seconds
    api = AdminApi(layout.admin_kubeconfig)
    waiting = {node.name: "has not registered yet" for node in nodes}
    server_answers = False
    while waiting:
        problem = ""
        try:
            if not server_answers:
                status, _ = api.request("GET", "/readyz")
                if status == 200:
                    server_answers = True
                    say("the API server answers")
            for name in list(waiting) if server_answers else []:
                status, body = api.request("GET", f"/api/v1/nodes/{name}")
                if status == 200 and is_ready(body):
                    del waiting[name]
                    say(f"node {name} is Ready")
                elif status == 200:
                    waiting[name] = not_ready_reason(body)
        except OSError as error:
            problem = str(error)
        if waiting and time.monotonic() > deadline:
            raise UserError(_timeout_message(layout, waiting, server_answers, problem))
        if waiting:
            time.sleep(0.05)
    api.close()
    _wait_parts(layout, deadline)


def _wait_parts(layout: Layout, deadline: float) -> None:
    """A node's condition may still be the one it had before `down`: every part has to say itself that it is ready."""
    while True:
        answer = supervision.ask(layout, "status")
        parts = answer["parts"] if answer else []
        missing = [
            f"{part['name']} ({part['lastExit'] or part['state']})" for part in parts if part["state"] != "ready"
        ]
        if parts and not missing:
            return
        if time.monotonic() > deadline:
            raise UserError(f"not ready: {', '.join(missing) or 'the supervisor'}; see {layout.logs}")
        time.sleep(0.02)


def _timeout_message(layout: Layout, waiting: dict[str, str], server_answers: bool, problem: str) -> str:
    if not server_answers:
        return f"the API server did not become ready ({problem}); see {layout.logs}/server.log"
    nodes = "; ".join(f"{name}: {why}" for name, why in waiting.items())
    return f"not every node became Ready: {nodes}; see {layout.logs}"


def free_disk_warning(layout: Layout) -> str:
    """One line when the data folder's disk is nearly full, for `up` to show; else ""."""
    usage = shutil.disk_usage(layout.data)
    if usage.free < 2 * 1024**3:
        return f"only {usage.free / 1024**3:.1f} GiB free under {layout.data}; images need room"
    return ""
