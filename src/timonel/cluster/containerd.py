"""The private containerd of a node: its configuration, its registries, and the `ctr` calls CRI has no words for.

Everything it writes is under the node's own folders, so it never meets a containerd the machine already runs.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from timonel.cluster.config import RegistryConfig
from timonel.cluster.errors import UserError
from timonel.cluster.layout import NodeLayout

IMAGE_NAMESPACE = "k8s.io"
"""containerd's namespace for what CRI sees."""
PAUSE_IMAGE = "timonel.local/pause:1"

_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  max_container_log_line_size = 16384
  restrict_oom_score_adj = {restrict_oom}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{runc}"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{cni_conf}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
"""

_CAP_SYS_RESOURCE = 24


def has_sys_resource() -> bool:
    """Without CAP_SYS_RESOURCE nobody may lower an OOM score, and containerd has to be told not to try."""
    present: int = ctypes.CDLL(None).prctl(23, _CAP_SYS_RESOURCE, 0, 0, 0)  # PR_CAPBSET_READ
    return present == 1


def cni_plugin_folder() -> Path:
    """Where Debian's containernetworking-plugins, or the usual upstream archive, put the plugins."""
    for folder in (Path("/usr/lib/cni"), Path("/opt/cni/bin")):
        if (folder / "bridge").exists():
            return folder
    raise UserError("CNI plugins not found: install containernetworking-plugins")


def write_config(node: NodeLayout, registries: Mapping[str, RegistryConfig]) -> bool:
    """Returns whether the registries changed, which a running containerd then follows by itself."""
    for folder in (node.containerd_root, node.containerd_state, node.cni_config, node.registry_config, node.run):
        folder.mkdir(parents=True, exist_ok=True)
    node.containerd_config.write_text(
        _CONFIG.format(
            root=node.containerd_root,
            state=node.containerd_state,
            socket=node.containerd_socket,
            pause=PAUSE_IMAGE,
            restrict_oom="false" if has_sys_resource() else "true",
            runc=node.run / "runc",
            cni_bin=cni_plugin_folder(),
            cni_conf=node.cni_config,
            registries=node.registry_config,
        )
    )
    return write_registries(node.registry_config, registries)


def write_registries(folder: Path, registries: Mapping[str, RegistryConfig]) -> bool:
    """One hosts.toml per registry; containerd reads them at each pull, so a change needs no restart.

    Returns whether anything changed.
    """
    before = _registries_in(folder)
    wanted = {host if host != "*" else "_default": render_hosts(host, config) for host, config in registries.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_dir() and old.name not in wanted:
            shutil.rmtree(old)
    for host, text in wanted.items():
        (folder / host).mkdir(exist_ok=True)
        (folder / host / "hosts.toml").write_text(text)
    return before != wanted


def _registries_in(folder: Path) -> dict[str, str]:
    return {file.parent.name: file.read_text() for file in folder.glob("*/hosts.toml")}


def render_hosts(host: str, config: RegistryConfig) -> str:
    """containerd's hosts.toml. Source: github.com/containerd/containerd docs/hosts.md."""
    lines = []
    if host != "*":
        scheme = "http" if config.plain_http else "https"
        lines.append(f'server = "{scheme}://{_server_of(host)}"')
    endpoints = list(config.mirrors)
    # The registry itself needs an entry of its own when it is not spoken to in the usual way.
    if host != "*" and (config.plain_http or config.skip_verify or config.ca_file):
        endpoints.append(f"{'http' if config.plain_http else 'https'}://{_server_of(host)}")
    for url in endpoints:
        lines.append(f'\n[host."{url}"]')
        lines.append('  capabilities = ["pull", "resolve"]')
        if urlsplit(url).scheme == "https":
            if config.skip_verify:
                lines.append("  skip_verify = true")
            if config.ca_file:
                lines.append(f'  ca = "{config.ca_file}"')
    return "\n".join(lines) + "\n"


def _server_of(host: str) -> str:
    return "registry-1.docker.io" if host == "docker.io" else host


def ctr(node: NodeLayout, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs containerd's own client against the node's containerd. Raises UserError with its last words."""
    command = ["ctr", "--address", str(node.containerd_socket), "--namespace", IMAGE_NAMESPACE, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if check and result.returncode != 0:
        raise UserError(f"ctr {' '.join(arguments)}: {(result.stderr or result.stdout).strip()}")
    return result
