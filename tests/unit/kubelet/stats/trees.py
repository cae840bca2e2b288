"""Folders that look like cgroup file systems and /proc."""

from __future__ import annotations

from pathlib import Path

POD = "timonel/n1/kubepods/besteffort/pod-u1"
MIB = 1 << 20


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def pressure(folder: str) -> dict[str, str]:
    return {
        f"{folder}/{what}.pressure": (
            f"some avg10=1.50 avg60=0.70 avg300=0.10 total={some}\n"
            f"full avg10=0.50 avg60=0.20 avg300=0.00 total={some // 2}\n"
        )
        for what, some in (("cpu", 4_000_000), ("memory", 2_000_000), ("io", 1_000_000))
    }


def version_1(root: Path, path: str, *, cpu: int = 5_000_000_000, usage: int = 30 * MIB) -> None:
    """A cgroup that used `cpu` nanoseconds and holds `usage` bytes, of which 10 MiB are files nobody reads."""
    write(
        root,
        {
            f"cpuacct/{path}/cpuacct.usage": f"{cpu}\n",
            f"cpuacct/{path}/cpuacct.stat": "user 300\nsystem 200\n",
            f"cpuacct/{path}/cgroup.procs": "0\n4321\n",
            f"cpu/{path}/cpu.stat": "nr_periods 7\nnr_throttled 2\nthrottled_time 5000000\n",
            f"memory/{path}/memory.usage_in_bytes": f"{usage}\n",
            f"memory/{path}/memory.stat": (
                f"cache 1\nrss 1\ninactive_file 1\nhierarchical_memory_limit {64 * MIB}\n"
                f"hierarchical_memsw_limit {96 * MIB}\ntotal_cache {12 * MIB}\ntotal_rss {18 * MIB}\n"
                f"total_mapped_file 4096\ntotal_pgfault 11\ntotal_pgmajfault 3\ntotal_swap {MIB}\n"
                f"total_inactive_file {10 * MIB}\n"
            ),
            f"memory/{path}/memory.max_usage_in_bytes": f"{40 * MIB}\n",
            f"memory/{path}/memory.failcnt": "4\n",
            **pressure(f"unified/{path}"),
            f"pids/{path}/pids.current": "5\n",
            f"blkio/{path}/blkio.throttle.io_service_bytes_recursive": (
                "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 0\n8:0 Total 12288\nTotal 12288\n"
            ),
            f"blkio/{path}/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
        },
    )


def version_2(root: Path, path: str, *, cpu: int = 5_000_000_000, usage: int = 30 * MIB) -> None:
    """The same in the files of version 2."""
    write(
        root,
        {
            "cgroup.controllers": "cpu io memory pids\n",
            f"{path}/cpu.stat": (
                f"usage_usec {cpu // 1000}\nuser_usec 3000000\nsystem_usec 2000000\n"
                "nr_periods 7\nnr_throttled 2\nthrottled_usec 5000\n"
            ),
            f"{path}/cgroup.procs": "0\n4321\n",
            f"{path}/memory.current": f"{usage}\n",
            f"{path}/memory.max": f"{64 * MIB}\n",
            f"{path}/memory.peak": f"{40 * MIB}\n",
            f"{path}/memory.swap.current": f"{MIB}\n",
            f"{path}/memory.swap.max": f"{32 * MIB}\n",
            f"{path}/memory.events": "low 0\nhigh 0\nmax 4\noom 0\n",
            f"{path}/memory.stat": (
                f"anon {18 * MIB}\nfile {12 * MIB}\nfile_mapped 4096\ninactive_file {10 * MIB}\n"
                "pgfault 11\npgmajfault 3\n"
            ),
            **pressure(path),
            f"{path}/pids.current": "5\n",
            f"{path}/io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
        },
    )


NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    5000      50    1    2    0     0          0         0     7000      70    3    4    0     0       0          0
  tunl:       9       1    0    0    0     0          0         0        8       1    0    0    0     0       0          0
"""  # noqa: E501


def proc(root: Path) -> None:
    """A machine of 16 GiB with 4 GiB free, booted in 2001."""
    write(
        root,
        {
            # user nice system idle iowait irq softirq steal guest guest_nice, in hundredths of a second
            "stat": "cpu  100 20 30 99999 5000 1 2 4 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nbtime 1000000000\n",
            "meminfo": (
                "MemTotal:       16777216 kB\nMemFree:         4194304 kB\nCached:          2097152 kB\n"
                "AnonPages:       1048576 kB\nInactive(file):  1048576 kB\nMapped:           102400 kB\n"
                "SwapTotal:       1048576 kB\nSwapFree:         524288 kB\n"
            ),
            "vmstat": "nr_free_pages 1\npgfault 77\npgmajfault 5\n",
            "loadavg": "0.10 0.20 0.30 2/345 6789\n",
            "sys/kernel/pid_max": "32768\n",
            "pressure/cpu": "some avg10=9.00 avg60=8.00 avg300=7.00 total=123\nfull avg10=0 avg60=0 avg300=0 total=0\n",
            "self/net/dev": NET_DEV,
            "4321/net/dev": NET_DEV,
        },
    )
