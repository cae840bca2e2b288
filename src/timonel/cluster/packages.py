"""System packages that real containers need, and installing what is missing with apt."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from timonel.cluster.errors import UserError


@dataclass(frozen=True, slots=True)
class SystemPackage:
    name: str
    """Debian's and Ubuntu's name."""
    purpose: str
    present: Callable[[], bool]


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _file(*paths: str) -> Callable[[], bool]:
    return lambda: any(Path(path).exists() for path in paths)


SYSTEM_PACKAGES = (
    SystemPackage("containerd", "container runtime", _program("containerd")),
    SystemPackage("runc", "starts containers", _program("runc")),
    SystemPackage(
        "containernetworking-plugins", "pod network plugins", _file("/usr/lib/cni/bridge", "/opt/cni/bin/bridge")
    ),
    SystemPackage("nftables", "Services in the kernel", _program("nft")),
    SystemPackage("conntrack", "cleaning up UDP connections", _program("conntrack")),
    SystemPackage("iproute2", "links, addresses and routes", _program("ip")),
    SystemPackage("catatonit", "keeps a pod's sandbox alive", _file("/usr/bin/catatonit", "/bin/busybox")),
    SystemPackage("haproxy", "Ingresses", _program("haproxy")),
    SystemPackage("kubernetes-client", "kubectl", _program("kubectl")),
)


ETCD_PACKAGE = SystemPackage("etcd-server", "the cluster's own etcd", _program("etcd"))


def missing_packages(*, own_etcd: bool = False) -> list[SystemPackage]:
    """`own_etcd`: the cluster starts one of its own."""
    wanted = (*SYSTEM_PACKAGES, ETCD_PACKAGE) if own_etcd else SYSTEM_PACKAGES
    return [package for package in wanted if not package.present()]


def install(packages: Sequence[SystemPackage], say: Callable[[str], None]) -> None:
    """Raises UserError with apt's last line when it fails."""
    names = [package.name for package in packages]
    if shutil.which("apt-get") is None:
        raise UserError(f"missing: {', '.join(names)}; install them with this system's package manager")
    say(f"installing {', '.join(names)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install_command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names]
    # The package lists may be absent or old: try, refresh them, try again.
    for command in (install_command, ["apt-get", "update", "-qq"], install_command):
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode == 0 and command is install_command:
            return
    last = (result.stderr.strip() or result.stdout.strip() or "no output").splitlines()[-1]
    raise UserError(f"apt-get could not install {', '.join(names)}: {last}")
