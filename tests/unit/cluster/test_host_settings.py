"""Kernel settings of the host: taken when needed, given back when the last cluster goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.cluster.host_settings import FORWARDING, ROUTE_LOCALNET, release, require


@pytest.fixture
def sysctls(tmp_path: Path) -> Path:
    root = tmp_path / "ipv4"
    for name, value in {
        "ip_forward": "0",
        "conf/all/route_localnet": "0",
        "conf/all/accept_redirects": "1",
        "conf/all/forwarding": "0",
        "conf/eth0/forwarding": "0",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(value + "\n")
    return root


def read(sysctls: Path) -> dict[str, str]:
    return {str(path.relative_to(sysctls)): path.read_text().strip() for path in sysctls.rglob("*") if path.is_file()}


def test_the_last_cluster_restores_what_the_first_found(tmp_path: Path, sysctls: Path) -> None:
    record = tmp_path / "record.json"
    before = read(sysctls)
    require("one", (FORWARDING,), record=record, sysctls=sysctls)
    require("two", (FORWARDING, ROUTE_LOCALNET), record=record, sysctls=sysctls)
    assert (read(sysctls)["ip_forward"], read(sysctls)["conf/all/route_localnet"]) == ("1", "1")
    release("one", record=record, sysctls=sysctls)
    assert (read(sysctls)["ip_forward"], read(sysctls)["conf/all/route_localnet"]) == ("1", "1")
    release("two", record=record, sysctls=sysctls)
    assert read(sysctls) == before
    assert not record.exists()


def test_what_the_kernel_changes_along_with_forwarding_is_restored_too(tmp_path: Path, sysctls: Path) -> None:
    record = tmp_path / "record.json"
    before = read(sysctls)
    require("one", (FORWARDING,), record=record, sysctls=sysctls)
    for name, value in (
        ("conf/all/accept_redirects", "0"),
        ("conf/all/forwarding", "1"),
        ("conf/eth0/forwarding", "1"),
    ):
        (sysctls / name).write_text(value)
    release("one", record=record, sysctls=sysctls)
    assert read(sysctls) == before


def test_a_setting_that_was_right_is_nobodys_to_take_back(tmp_path: Path, sysctls: Path) -> None:
    record = tmp_path / "record.json"
    (sysctls / "ip_forward").write_text("1\n")
    require("one", (FORWARDING,), record=record, sysctls=sysctls)
    assert not record.exists()
    release("one", record=record, sysctls=sysctls)
    assert read(sysctls)["ip_forward"] == "1"


def test_a_damaged_record_is_started_anew(tmp_path: Path, sysctls: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text("{")
    require("one", (FORWARDING,), record=record, sysctls=sysctls)
    release("one", record=record, sysctls=sysctls)
    assert read(sysctls)["ip_forward"] == "0"
