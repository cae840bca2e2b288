"""What must be true of the machine before anything is started; each failure is one line that says what to do."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
from pathlib import Path

from timonel.cluster.errors import UserError

OLDEST_KERNEL = (5, 13)
"""nftables' verdict maps work as the proxy needs them from here on (KEP-3866)."""
OLDEST_NFT = (1, 0)


def check_root() -> None:
    if platform.system() != "Linux":
        raise UserError(f"real containers need Linux, this is {platform.system()}")
    if os.geteuid() != 0:
        raise UserError("timonel up needs root to run containers: try again with sudo")


def check_kernel(*, release: str = "", filesystems: str = "") -> None:
    release = release or platform.release()
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and (int(match[1]), int(match[2])) < OLDEST_KERNEL:
        raise UserError(f"kernel {release} is too old: 5.13 or newer is needed for nftables as the proxy uses it")
    filesystems = filesystems or _filesystems()
    if not re.search(r"\boverlay$", filesystems, re.MULTILINE):
        raise UserError("this kernel has no overlayfs, which container images need: load the module 'overlay'")
    if not Path("/sys/fs/cgroup").is_dir() or not any(Path("/sys/fs/cgroup").iterdir()):
        raise UserError("cgroups are not mounted at /sys/fs/cgroup: container limits need them")


def _filesystems() -> str:
    text = Path("/proc/filesystems").read_text()
    if "\toverlay\n" not in text:
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
        text = Path("/proc/filesystems").read_text()
    return text


def check_nftables(nft: str = "nft") -> None:
    """The tool answers, is new enough, and the kernel lets a table be made (checked only, nothing is changed)."""
    try:
        version = subprocess.run([nft, "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise UserError("nft is not installed: install the package nftables") from None
    match = re.search(r"v(\d+)\.(\d+)", version)
    if match and (int(match[1]), int(match[2])) < OLDEST_NFT:
        raise UserError(f"nftables {match[0]} is too old: 1.0 or newer is needed")
    trial = subprocess.run(
        [nft, "-c", "-f", "-"],
        input="table ip timonel-check {\n chain c {\n type nat hook prerouting priority dstnat;\n }\n}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if trial.returncode != 0:
        reason = (trial.stderr.strip() or "no reason given").splitlines()[0]
        raise UserError(f"this kernel has no usable nftables, which Services need: {reason}")


def check_port(port: int, purpose: str, remedy: str, address: str = "0.0.0.0") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            owner = port_owner(port)
            by = f" by {owner}" if owner else ""
            raise UserError(f"port {port} ({purpose}) is taken{by}: {remedy}") from error


def port_owner(port: int) -> str:
    """Such as "nginx (pid 12)", or "" when it cannot be told."""
    try:
        output = subprocess.run(
            ["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:
        return ""
    match = re.search(r'users:\(\("([^"]+)",pid=(\d+)', output)
    return f"{match[1]} (pid {match[2]})" if match else ""
