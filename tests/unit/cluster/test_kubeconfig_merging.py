"""The user's kubeconfig: our context in and out, nothing else touched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from timonel.cluster.errors import UserError
from timonel.cluster.kubeconfig import merge_context, remove_context


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home" / ".kube" / "config"
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "admin.kubeconfig"
    path.write_text(yaml.safe_dump(document("x", "https://127.0.0.1:6443")))
    return path


def document(name: str, server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": name}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def test_a_first_kubeconfig_is_made_and_taken_away_again(target: Path, source: Path) -> None:
    assert merge_context(source, "timonel") == (target, True)
    merged = yaml.safe_load(target.read_text())
    assert merged["current-context"] == "timonel"
    assert merged["contexts"] == [{"name": "timonel", "context": {"cluster": "timonel", "user": "timonel"}}]
    assert target.stat().st_mode & 0o777 == 0o600
    remove_context("timonel")
    assert not target.exists()


def test_others_stay_and_a_second_merge_changes_nothing(target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_text(yaml.safe_dump({**document("work", "https://work"), "preferences": {"colors": True}}))
    assert merge_context(source, "timonel")[1]
    before = target.read_bytes()
    assert not merge_context(source, "timonel")[1]
    assert target.read_bytes() == before
    remove_context("timonel")
    left = yaml.safe_load(target.read_text())
    assert left["preferences"] == {"colors": True}
    assert [item["name"] for item in left["contexts"]] == ["work"]
    assert left["current-context"] == "work"


def test_a_damaged_kubeconfig_is_left_as_it_is(target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_text("{{{")
    with pytest.raises(UserError, match="cannot be read"):
        merge_context(source, "timonel")
    assert target.read_text() == "{{{"


def test_a_link_laid_in_our_way_leads_nowhere(target: Path, source: Path, tmp_path: Path) -> None:
    victim = tmp_path / "shadow"
    victim.write_text("precious")
    target.parent.mkdir(parents=True)
    for name in ("config.timonel-new", "config.new", ".config.new"):
        (target.parent / name).symlink_to(victim)
    merge_context(source, "timonel")
    assert victim.read_text() == "precious"


def test_clusters_that_come_up_together_keep_each_others_contexts(target: Path, source: Path) -> None:
    names = [f"timonel-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: merge_context(source, name), names))
    merged = yaml.safe_load(target.read_text())
    assert sorted(item["name"] for item in merged["contexts"]) == names
    assert [file.name for file in target.parent.iterdir()] == ["config"]
