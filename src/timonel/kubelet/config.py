"""Settings of one node's kubelet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from timonel import GIT_VERSION
from timonel.kubelet.eviction.settings import EvictionConfig
from timonel.kubelet.eviction.thresholds import DEFAULT_HARD, parse_thresholds
from timonel.kubelet.images.garbage import ImagePolicy


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    node_name: str
    node_ips: tuple[str, ...]
    """Addresses of the node, first the primary one; status.hostIP of its pods."""
    root_dir: str = "/var/lib/timonel/kubelet"
    """Volumes, hosts files and termination messages of pods; everything below it is the kubelet's."""
    volumes_dir: str = ""
    """Directories of local volumes, which outlive pods; "": the node offers none."""
    pod_logs_dir: str = "/var/log/pods"
    """Root of container logs, <namespace>_<name>_<uid>/<container>/<n>.log below it."""
    runtime_endpoint: str = "/run/timonel/containerd.sock"
    """Unix socket of the container runtime."""
    cgroup_root: str = "/timonel/node"
    """Our own subtree in every cgroup hierarchy; pods live in kubepods below it."""
    cgroup_mount: str = "/sys/fs/cgroup"
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    resolv_conf: str = "/etc/resolv.conf"
    """Name servers of pods with dnsPolicy Default, and search domains of all."""
    port: int = 10250
    """Of the kubelet's HTTPS server, announced in the node's status."""
    max_pods: int = 110
    pod_pids_limit: int = -1
    """Processes that one pod may have; -1: as many as it likes."""
    status_max_images: int = 50
    """Images that the node's status lists; -1: all."""
    restart_back_off_seconds: float = 300.0
    """The longest wait before a container that fails again and again is started once more."""
    register: bool = True
    """Create the Node object when there is none."""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """Beside the well-known ones, at registration."""
    node_taints: tuple[Mapping[str, str], ...] = ()
    """At registration."""
    reserved_cpu_milli: int = 0
    """CPU of the node that pods do not get (allocatable = capacity - reserved)."""
    cpu_policy: str = "none"
    """"static": Guaranteed containers that ask for whole CPUs get CPUs of their own. "none": all share all."""
    reserved_cpus: frozenset[int] = frozenset()
    """CPUs that no container gets for itself; none named: as many as `reserved_cpu_milli` rounds up to."""
    reserved_memory_bytes: int = 0
    static_pod_path: str = ""
    """Folder, or one file, of pods that the node runs by itself; "": none."""
    static_pod_check_seconds: float = 20.0
    """Between looks at it, the safety net under the kernel's notifications."""
    lease_seconds: int = 40
    """How long the node's lease is good for; renewed at a quarter of it."""
    status_seconds: float = 10.0
    """Between looks at the node's state; it is written when something changed."""
    report_seconds: float = 300.0
    """The node's status is written at least this often."""
    relist_seconds: float = 60.0
    """Between full looks at the runtime, the safety net under its event stream."""
    eviction: EvictionConfig = field(default_factory=lambda: EvictionConfig(parse_thresholds(DEFAULT_HARD)))
    """When pods end before the node runs out of something."""
    image_policy: ImagePolicy = field(default_factory=ImagePolicy)
    """When images that nobody uses go."""
    kept_images: tuple[str, ...] = ()
    """Images that stay although no container names them: what sandboxes are made of, where the runtime does not say."""
    max_parallel_pulls: int = 3
    """Image pulls at the same time; others wait in order."""
    serves_node_logs: bool = True
    """/var/log, to whoever may read nodes/log."""
    answers_log_queries: bool = False
    """Also what services of the node logged, by their name."""
    log_max_bytes: int = 10 * 1024 * 1024
    """A container's log file is rotated beyond this size."""
    log_max_files: int = 5
    """Of one container's log, the current one included."""
    log_check_seconds: float = 10.0
    default_seccomp: bool = False
    """RuntimeDefault for containers that name no seccomp profile."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    version: str = GIT_VERSION
    """What nodeInfo.kubeletVersion says."""
