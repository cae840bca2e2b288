"""Names and places of one cluster, all derived from its name, so that clusters never meet and purge knows what is ours.

The unnamed cluster uses the places of design.md §4 and its first node is the host itself. A named cluster keeps every
node, the first with the control plane included, in a network namespace of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from timonel.cluster.errors import UserError

LONGEST_RUN = 60
"""containerd's shims put a path below it into a Unix socket address of at most 107 bytes."""


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """One node on this machine."""

    name: str
    index: int
    """1 is the node with the control plane."""
    namespace: str
    """Network namespace, "" for the host's own."""
    data: Path
    run: Path
    host_link: str
    """Host side of the veth pair of a node in a namespace."""
    cgroup: str
    """Root of the node's cgroups, absolute within each hierarchy: "/timonel/alpha"."""

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def containerd_root(self) -> Path:
        return self.data / "containerd"

    @property
    def containerd_state(self) -> Path:
        return self.run / "containerd"

    @property
    def containerd_config(self) -> Path:
        return self.data / "containerd.toml"

    @property
    def registry_config(self) -> Path:
        return self.data / "registries"

    @property
    def cni_config(self) -> Path:
        return self.data / "cni"

    @property
    def kubelet_root(self) -> Path:
        return self.data / "kubelet"

    @property
    def volumes(self) -> Path:
        return self.data / "volumes"

    @property
    def pod_logs(self) -> Path:
        return self.data / "pod-logs"

    @property
    def agent_kubeconfig(self) -> Path:
        return self.data / "agent.kubeconfig"


@dataclass(frozen=True, slots=True)
class Layout:
    name: str
    data: Path
    run: Path

    @property
    def is_named(self) -> bool:
        return bool(self.name)

    @property
    def identity(self) -> str:
        """Short and unique: prefix of links (15 characters at most in the kernel) and part of other names."""
        if not self.name:
            return "tml"
        return "tml" + hashlib.sha256(self.name.encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        """Host bridge that joins the nodes in namespaces."""
        return f"{self.identity}br"

    @property
    def nft_table(self) -> str:
        """The host's table: the first node's own when it is the host, else only masquerading for the nodes."""
        return f"timonel-{self.name}" if self.name else "timonel"

    @property
    def cgroup(self) -> str:
        return f"/timonel-{self.name}" if self.name else "/timonel"

    @property
    def context(self) -> str:
        """Name of the kubeconfig context, cluster and user."""
        return f"timonel-{self.name}" if self.name else "timonel"

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.data / "admin.kubeconfig"

    @property
    def store(self) -> Path:
        return self.data / "server" / "store.db"

    @property
    def etcd_data(self) -> Path:
        """Of the cluster's own etcd, where it keeps one."""
        return self.data / "etcd"

    @property
    def audit_log(self) -> Path:
        return self.data / "server" / "audit.log"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def state_file(self) -> Path:
        """What `up` decided and later commands need: nodes, segment, ports."""
        return self.data / "cluster.json"

    @property
    def parts_file(self) -> Path:
        return self.run / "parts.json"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    def node(self, index: int, name: str) -> NodeLayout:
        in_namespace = self.is_named or index > 1
        return NodeLayout(
            name=name,
            index=index,
            namespace=f"{self.context}-{index}" if in_namespace else "",
            data=self.data / "nodes" / name,
            run=self.run / f"n{index}",
            host_link=f"{self.identity}n{index}",
            cgroup=f"{self.cgroup}/{name}",
        )

    def node_name(self, index: int) -> str:
        base = self.name or host_name()
        return base if index == 1 and not self.name else f"{base}-{index}"


def host_name() -> str:
    """The machine's name as a DNS-1123 subdomain, as the kubelet derives a node's name."""
    name = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()).strip("-.")
    return name or "node"


def find_layout(name: str = "", data_dir: Path | None = None, run_dir: Path | None = None) -> Layout:
    """The cluster that a command is about: of a person who is not root, first the one in that person's own folders.

    Raises UserError as `layout_of` does.
    """
    if os.geteuid() != 0 and run_dir is None:
        own = user_layout(name) if data_dir is None else layout_of(name, data_dir, data_dir / "run")
        # Not Path.exists, which raises for a home that its owner may not even look into, as a service's may be.
        if os.path.exists(own.state_file) or (data_dir is not None and not os.path.exists(data_dir)):
            return own
    return layout_of(name, data_dir, run_dir)


def user_layout(name: str = "") -> Layout:
    """Where a person who is not root keeps a cluster of hollow nodes. Raises UserError as `layout_of` does."""
    suffix = f"-{name}" if name else ""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / f"timonel{suffix}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    run = Path(runtime) / f"timonel{suffix}" if runtime and os.access(runtime, os.W_OK) else data / "run"
    if len(os.fsencode(run)) > LONGEST_RUN:
        digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:8]
        run = Path(tempfile.gettempdir()) / f"timonel-{os.geteuid()}-{digest}"
    return layout_of(name, data, run)


def layout_of(name: str = "", data_dir: Path | None = None, run_dir: Path | None = None) -> Layout:
    """Raises UserError for a name that cannot be part of a link, a folder and a DNS name."""
    if name and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise UserError(f"cluster name {name!r}: use 1-20 lower-case letters, digits and hyphens")
    suffix = f"-{name}" if name else ""
    data = (data_dir or Path(f"/var/lib/timonel{suffix}")).absolute()
    run = (run_dir or Path(f"/run/timonel{suffix}")).absolute()
    if len(os.fsencode(run)) > LONGEST_RUN:
        raise UserError(f"run directory {run}: longer than {LONGEST_RUN} characters, sockets in it would not fit")
    return Layout(name, data, run)
