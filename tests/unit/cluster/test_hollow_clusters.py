"""Clusters of hollow nodes: where they are, how large they may be, what they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.cluster.config import ClusterConfig, parse_config
from timonel.cluster.errors import UserError
from timonel.cluster.hollow import hollow_config
from timonel.cluster.hollow_up import is_hollow_only, wanted_count, with_room
from timonel.cluster.layout import find_layout, layout_of, user_layout
from timonel.cluster.plan import ClusterState, plan_hollow, plan_parts
from timonel.simulation.behaviour import FAILURES, Behaviour, Chance

STATE = ClusterState(0, "", "192.0.2.9", 6443, hollow=5000, hollow_port=4711)


@pytest.fixture
def person(monkeypatch, tmp_path: Path) -> Path:
    """Somebody who is not root."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_persons_cluster_is_in_the_persons_own_folders(person: Path, monkeypatch) -> None:
    assert user_layout().data == person / ".local/share/timonel"
    assert user_layout("lab").data == person / ".local/share/timonel-lab"
    monkeypatch.setenv("XDG_DATA_HOME", str(person / "data"))
    assert user_layout().data == person / "data/timonel"


def test_sockets_fit_wherever_home_is(person: Path, monkeypatch) -> None:
    deep = person / ("x" * 80)
    monkeypatch.setenv("HOME", str(deep))
    assert len(str(user_layout().run)) <= 60


def test_commands_are_about_ones_own_cluster_if_there_is_one(person: Path) -> None:
    assert find_layout().data == Path("/var/lib/timonel")
    own = user_layout()
    own.data.mkdir(parents=True)
    STATE.save(own.state_file)
    assert find_layout() == own
    assert find_layout("other").data == Path("/var/lib/timonel-other")


def test_which_clusters_have_hollow_nodes_only(tmp_path: Path) -> None:
    layout = layout_of("", tmp_path / "data", Path("/run/none"))
    assert is_hollow_only(layout, nodes=None, hollow=5)
    assert not is_hollow_only(layout, nodes=None, hollow=None)
    assert not is_hollow_only(layout, nodes=2, hollow=5)
    layout.data.mkdir()
    STATE.save(layout.state_file)
    assert is_hollow_only(layout, nodes=None, hollow=None)
    with pytest.raises(UserError, match="has hollow nodes only, and cannot get real ones"):
        is_hollow_only(layout, nodes=1, hollow=None)


@pytest.mark.parametrize(
    ("previous", "hollow", "more", "count"),
    [(None, None, 0, 0), (None, 7, 0, 7), (STATE, None, 0, 5000), (STATE, 9, 0, 9), (STATE, None, 50, 5050)],
)
def test_how_many(previous, hollow, more, count) -> None:
    assert wanted_count(previous, hollow, more) == count


@pytest.mark.parametrize("hollow", [-1, 20_001])
def test_impossible_numbers(hollow: int) -> None:
    with pytest.raises(UserError, match="between 0 and 20000 hollow nodes"):
        wanted_count(None, hollow, 0)


def test_the_pod_network_is_wide_enough() -> None:
    assert with_room(ClusterConfig(), 256).network.pods == "10.244.0.0/16"
    assert with_room(ClusterConfig(), 257).network.pods == "10.128.0.0/9"
    chosen = parse_config("network: {pods: 10.0.0.0/20}")
    assert with_room(chosen, 16) is chosen
    with pytest.raises(UserError, match=r"network.pods 10.0.0.0/20 has room for 16 nodes, not for 17"):
        with_room(chosen, 17)


def test_its_parts_need_no_namespace_and_no_runtime(tmp_path: Path) -> None:
    layout = layout_of("lab", tmp_path / "data", Path("/run/none"))
    parts = plan_parts(layout, STATE)
    assert [part.name for part in parts] == ["server", "manager", "hollow"]
    assert {part.namespace for part in parts} == {""}


def test_behaviour_comes_from_the_configuration(tmp_path: Path) -> None:
    layout = layout_of("", tmp_path / "data", Path("/run/none"))
    text = "hollow: {startSeconds: 2, stopSeconds: 1.5, failureRate: 0.1, seed: 3, zones: 0, cpu: '4'}"
    config = hollow_config(plan_hollow(layout, parse_config(text), STATE, Path("c"), Path("k")))
    assert config.behaviour == Behaviour(start_seconds=2.0, stop_seconds=1.5)
    assert config.chance == Chance(0.1, FAILURES, 3)
    assert (config.count, config.address, config.port, config.cpu, config.zones) == (5000, "192.0.2.9", 4711, "4", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hollow: {failureRate: 1.5}", "hollow.failureRate is a share, from 0 to 1"),
        ("hollow: {startSeconds: -1}", "hollow.startSeconds must not be negative"),
        ("hollow: {cpu: many}", "hollow.cpu: 'many' is no quantity"),
        ("hollow: {failures: [explode]}", "'explode' is none of crash, never-ready, image-pull"),
        ("hollow: {leasesPerSecond: 0}", "hollow.leasesPerSecond must be positive"),
    ],
)
def test_impossible_settings_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config(text)
