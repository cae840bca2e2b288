"""A machine of its own for tests that change the whole machine: bring-up, purge, the unnamed cluster.

Not a virtual machine: a set of namespaces (network, mounts, processes, host name, cgroups) with empty /run and /var/lib
and a link to a small outside world. So the unnamed cluster, whose first node is the machine itself, runs with its real
names and places and never meets a cluster of the user's; and before and after can be compared whole. When the test
process dies, the kernel ends everything in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.cluster import TIMONEL, Cluster, run, wait_until
from timonel.cluster.layout import layout_of
from timonel.cluster.supervision import ask

ADDRESS = "198.51.100.2"
OUTSIDE_ADDRESS = "198.51.100.1"
OUTSIDE = "outside"
"""Network namespace, inside the machine, of the world it is connected to."""
HOME = "/srv"
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP = f"test-machine-{os.environ.get('TIMONEL_E2E_NAME', 'e2e')}"
"""Under every hierarchy, on the host; what is below it the machine sees as its root."""

_SETUP = f"""
mount -t proc proc /proc
mount -t sysfs sysfs /sys
hostname machine
if [ -n "$V2" ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for entry in $CONTROLLERS; do
    mkdir /sys/fs/cgroup/$entry
    case $entry in
      systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ;;
      unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
      *) mount -t cgroup -o $entry cgroup /sys/fs/cgroup/$entry ;;
    esac
  done
fi
mkdir -p "$FOLDER/etc" "$FOLDER/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$FOLDER/etc,workdir=$FOLDER/work" overlay /etc
# Other clusters' mounts were inherited, and would go when those clusters do.
cut -d' ' -f5 /proc/self/mountinfo | grep -E '^/(run|var/lib|tmp)/' | tac | while read -r place; do
  umount -l "$place" 2>/dev/null || true  # one may have gone with another, or with its cluster just now
done
for place in /run /var/lib /srv; do mount -t tmpfs tmpfs $place; done
ip link set lo up
ip netns add {OUTSIDE}
ip -n {OUTSIDE} link set lo up
ip link add eth0 type veth peer name eth0 netns {OUTSIDE}
ip addr add {ADDRESS}/24 dev eth0
ip link set eth0 up
ip -n {OUTSIDE} addr add {OUTSIDE_ADDRESS}/24 dev eth0
ip -n {OUTSIDE} link set eth0 up
ip route add default via {OUTSIDE_ADDRESS}
echo 0 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv4/conf/all/route_localnet
mkfifo -m 600 /run/.never
echo ready
exec 3<>/run/.never
read nothing <&3
"""
# Into the machine's cgroups from outside, then into its namespaces.
_ENTER = 'for file in $CGROUPS; do echo $$ > "$file/cgroup.procs"; done; exec nsenter -t "$INIT" -a "$@"'


class Machine:
    def __init__(self, folder: Path, name: str = CGROUP) -> None:
        self._folder = folder
        self._is_v2 = (CGROUP_ROOT / "cgroup.controllers").exists()
        self._controllers = [] if self._is_v2 else [entry.name for entry in _hierarchies()]
        self._cgroups = [CGROUP_ROOT / entry / name for entry in self._controllers] or [CGROUP_ROOT / name]
        self.init = 0
        """Process id of the machine's first process, as the host counts."""

    def __enter__(self) -> Machine:
        self._remove_cgroups()
        for cgroup in self._cgroups:
            cgroup.mkdir()
            if (cgroup / "cpuset.cpus").exists() and not self._is_v2:
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (cgroup / file).write_text((cgroup.parent / file).read_text())
        script = (
            'for file in $CGROUPS; do echo $$ > "$file/cgroup.procs"; done; '
            "exec unshare --net --mount --pid --uts --ipc --cgroup --propagation private --fork --kill-child "
            'bash -ec "$SETUP"'
        )
        environment = {
            **os.environ,
            "SETUP": _SETUP,
            "FOLDER": str(self._folder),
            "CGROUPS": " ".join(map(str, self._cgroups)),
            "CONTROLLERS": " ".join(self._controllers),
            "V2": "1" if self._is_v2 else "",
        }
        self._process = subprocess.Popen(
            ["sh", "-c", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_die_with_parent,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line != "ready\n":
            rest, _ = self._process.communicate(timeout=20)
            raise AssertionError(f"the machine was not set up: {line}{rest}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.init = int(children[0])
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self._process.wait(timeout=20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        wait_until("the machine's cgroups are gone", self._remove_cgroups, timeout=20)

    def command(self, *command: str) -> list[str]:
        cgroups = " ".join(map(str, self._cgroups))
        return ["env", f"CGROUPS={cgroups}", f"INIT={self.init}", "sh", "-c", _ENTER, "sh", *command]

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run(*self.command(*command), **options)

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def path(self, path: str | Path) -> Path:
        """A place of the machine's as seen from here."""
        return Path(f"/proc/{self.init}/root") / str(path).lstrip("/")

    def snapshot(self) -> dict[str, list[str]]:
        """Everything of the machine that a cluster could leave behind, in comparable form."""
        return {what: sorted(self.run("sh", "-c", script).stdout.splitlines()) for what, script in _SNAPSHOT.items()}

    def _remove_cgroups(self) -> bool:
        for top in self._cgroups:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        return not any(top.exists() for top in self._cgroups)


_SNAPSHOT = {
    "processes": "ps -eo args | grep -v -e 'ps -eo args' -e '^grep -v' -e '^sh -c ps' -e '^COMMAND'",
    "mounts": "cut -d' ' -f4,5,9 /proc/self/mountinfo",
    # Link-local IPv6 addresses come by themselves a second after a link.
    "links": "ip -o link | cut -d: -f2; ip -o addr | grep -v fe80 | sed 's/valid_lft.*//'; ip rule",
    "routes": "{ ip route show table all; ip -6 route show table all; } | grep -v -e fe80 -e ff00",
    "namespaces": "ip netns; ls /run/netns",
    "nftables": "nft list ruleset",
    "cgroups": "find /sys/fs/cgroup -mindepth 2 -type d",
    "sysctls": "sysctl -a -r '^net\\.' 2>/dev/null | grep -v -e conntrack_count -e tcp_fastopen_key",
    "files": "find /run /var/lib /etc /srv /dev/shm /var/log -xdev -printf '%p %y %m %u %l\\n'",
}


@dataclass
class MachineCluster(Cluster):
    """A cluster inside a machine; `name` "" is the unnamed one, whose first node is the machine itself."""

    machine: Machine = field(kw_only=True)

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": HOME, "KUBECONFIG": "", "KUBECACHEDIR": str(self.folder / "kubectl")}

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.machine.run(*command, env=self.environment, **options)

    def timonel(self, *arguments: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self.run(*TIMONEL, *arguments, *self.which, check=check, timeout=timeout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`timonel …` in the background."""
        environment = [f"{key}={value}" for key, value in self.environment.items()]
        return self.machine.start("env", *environment, *TIMONEL, *arguments, *self.which)

    @property
    def which(self) -> list[str]:
        return ["--name", self.name] if self.name else []

    def kubectl(
        self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return self.run(self.kubectl_program, *arguments, check=check, stdin=stdin, timeout=timeout)

    def parts(self) -> dict[str, dict[str, Any]]:
        """Process ids are the machine's own."""
        layout = layout_of(self.name)
        seen_from_here = layout_of(self.name, run_dir=self.machine.path(layout.run))
        answer = ask(seen_from_here, "status")
        assert answer is not None, "no supervisor"
        return {part["name"]: part for part in [{"name": "supervisor", **answer}, *answer["parts"]]}

    def kill(self, *parts: str) -> None:  # type: ignore[override]
        found = self.parts()
        self.machine.run("kill", "-9", *(str(found[part]["pid"]) for part in parts))

    def node_name(self, index: int) -> str:
        base = self.name or "machine"
        return base if index == 1 and not self.name else f"{base}-{index}"

    def on_node(
        self, index: int, *command: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        namespace = self.layout.node(index, self.node_name(index)).namespace
        inside = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
        return self.run(*inside, *command, check=check, timeout=timeout)

    def outside(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """From the world the machine is connected to."""
        return self.run("nsenter", f"--net=/run/netns/{OUTSIDE}", *command, check=check)


def _hierarchies() -> list[Path]:
    """Mounted cgroup hierarchies, without the links that name two controllers of one hierarchy."""
    return [entry for entry in sorted(CGROUP_ROOT.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
