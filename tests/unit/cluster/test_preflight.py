"""What is missing on a machine is one clear line that says what to do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from timonel.cluster import preflight
from timonel.cluster.errors import UserError

FILESYSTEMS = "nodev\tproc\nnodev\toverlay\n\text4\n"


def test_root_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match=r"needs root .* try again with sudo"):
        preflight.check_root()


def test_a_kernel_that_has_all_passes() -> None:
    preflight.check_kernel(release="5.13.0-generic", filesystems=FILESYSTEMS)


def test_a_kernel_too_old_for_the_proxy() -> None:
    with pytest.raises(UserError, match=r"kernel 5.10.0-28-amd64 is too old: 5.13 or newer"):
        preflight.check_kernel(release="5.10.0-28-amd64", filesystems=FILESYSTEMS)


def test_a_kernel_without_overlayfs() -> None:
    with pytest.raises(UserError, match=r"no overlayfs, .* load the module 'overlay'"):
        preflight.check_kernel(release="6.1.0", filesystems="nodev\tproc\n\text4\n")


def program(folder: Path, version: str, refusal: str = "") -> str:
    """An nft that prints a version, and refuses every ruleset with the given words."""
    path = folder / "nft"
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\n'
        f"cat > /dev/null; {f'echo {refusal!r} >&2; exit 1' if refusal else 'exit 0'}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_nftables_that_works_passes(tmp_path: Path) -> None:
    preflight.check_nftables(program(tmp_path, "nftables v1.0.6 (Lester Gooch #5)"))


def test_a_kernel_without_nftables(tmp_path: Path) -> None:
    refusal = "Error: Could not process rule: Operation not supported"
    with pytest.raises(UserError, match="no usable nftables, which Services need: Error: Could not process rule"):
        preflight.check_nftables(program(tmp_path, "nftables v1.0.6 (x)", refusal))


def test_nft_too_old_or_absent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nftables v0.9 is too old"):
        preflight.check_nftables(program(tmp_path, "nftables v0.9.8 (E.D.S.)"))
    with pytest.raises(UserError, match="install the package nftables"):
        preflight.check_nftables(str(tmp_path / "nothing"))


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} \(the API server's\) is taken.*: set api.port"):
            preflight.check_port(port, "the API server's", "set api.port")
