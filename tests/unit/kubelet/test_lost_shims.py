"""Shims that no sandbox claims are ended after two looks; all others are left alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from timonel.kubelet.cri import lost_shims
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_runtime import FakeRuntime


def process(proc: Path, pid: int, *words: str) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cmdline").write_bytes("\0".join(words).encode() + b"\0")


def shim(proc: Path, pid: int, owner: str, socket: str = "/run/c.sock") -> None:
    process(proc, pid, "/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", owner, "-address", socket)


def test_only_shims_of_this_containerd_are_found(tmp_path: Path) -> None:
    shim(tmp_path, 10, "a")
    shim(tmp_path, 11, "b", "/run/other.sock")
    process(tmp_path, 12, "vi", "containerd-shim", "-id", "c", "-address", "/run/c.sock")
    (tmp_path / "self").mkdir()
    assert lost_shims.find_shims("/run/c.sock", str(tmp_path)) == {10: "a"}


async def test_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    runtime = FakeRuntime(clock=clock)
    owned = await runtime.run_pod_sandbox(cri.PodSandboxConfig())
    shim(tmp_path, 10, owned)
    shim(tmp_path, 11, "lost")
    real = lost_shims.find_shims
    monkeypatch.setattr(lost_shims, "find_shims", lambda socket: real(socket, str(tmp_path)))
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    task = asyncio.create_task(lost_shims.LostShims(runtime=runtime, endpoint="/run/c.sock", clock=clock).run())
    await clock.advance(31)
    shim(tmp_path, 12, "just being started")
    assert killed == []
    await clock.advance(61)
    await settle()
    assert killed == [11]
    await task
