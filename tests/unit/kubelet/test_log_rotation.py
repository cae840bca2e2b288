"""Rotation of a log whose container is just being removed. Source: cluster-administration/logging."""

from __future__ import annotations

import shutil
from pathlib import Path

from timonel.kubelet.cri.runtime import RuntimeFailure
from timonel.kubelet.log_rotation import LogRotation
from timonel.testing.clock import VirtualClock, settle


async def test_a_log_that_goes_with_its_pod_meanwhile_stops_nothing(tmp_path: Path) -> None:
    class Runtime:
        async def reopen_container_log(self, container_id: str) -> None:
            shutil.rmtree(tmp_path / "pod")
            raise RuntimeFailure("NotFound", "gone")

    (tmp_path / "pod").mkdir()
    path = tmp_path / "pod" / "0.log"
    path.write_bytes(b"x" * 100)
    rotation = LogRotation(
        runtime=Runtime(),  # type: ignore[arg-type]
        clock=VirtualClock(),
        running=list,
        max_bytes=10,
        max_files=5,
        check_seconds=10,
    )
    await rotation._rotate("c1", str(path))
    await settle()
