"""`make bench`: calibrations first, then every benchmark this user may run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.calibration import fdatasync_rate, nginx_rate
from bench.report import Row, render

SEPARATE = ("bench_machinery.py", "bench_storage.py", "bench_apiserver.py", "bench_memory.py", "bench_flowcontrol.py",
            "bench_overload.py", "bench_scheduler.py", "bench_controllers.py")  # fmt: skip
"""Each in a process of its own, so that one's memory does not count as another's."""


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        rows = [
            Row("nginx, TLS, one worker, 1.6 KB", nginx_rate(1600), "requests/s"),
            Row("nginx, TLS, one worker, 800 KB", nginx_rate(800_000), "requests/s"),
            Row("fdatasync of 4 KiB", fdatasync_rate(folder), "1/s"),
        ]
    print("Calibration\n" + render(rows), flush=True)
    for name in SEPARATE:
        path = Path(__file__).with_name(name)
        if path.exists():
            print(f"\n{path.stem}", flush=True)
            subprocess.run([sys.executable, "-m", f"bench.{path.stem}"], check=False)
    print("\nbench_cluster", flush=True)
    if os.geteuid() != 0:
        print("left out: real containers need root")
        return
    subprocess.run([sys.executable, "-m", "bench.bench_cluster"], check=False)


if __name__ == "__main__":
    main()
