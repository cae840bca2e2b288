"""The scheduler's configuration file: read and checked by `up`, kept in the manager's settings."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from timonel.cluster.config import ClusterConfig, parse_config
from timonel.cluster.errors import UserError
from timonel.cluster.layout import Layout
from timonel.cluster.manager import scheduling
from timonel.cluster.plan import plan_manager
from timonel.cluster.scheduler_config import checked_document
from timonel.cluster.settings import ManagerSettings, read_settings, write_settings

GOOD = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles: [{schedulerName: mine}]
podMaxBackoffSeconds: 20
"""
PAGE = (Path(__file__).parents[3] / "docs" / "scheduling.md").read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scheduler.yaml"
    path.write_text(GOOD)
    return path


def config_with(file: Path) -> ClusterConfig:
    return parse_config(f"manager: {{schedulerConfig: {file}}}")


def test_what_the_file_says_is_kept_in_the_settings(file: Path, tmp_path: Path) -> None:
    planned = plan_manager(Layout("", data=tmp_path / "data", run=tmp_path / "run"), config_with(file))
    write_settings(tmp_path / "manager.json", planned)
    file.unlink()
    settings = read_settings(ManagerSettings, tmp_path / "manager.json")
    configuration = scheduling(settings, {}).configuration
    assert [profile.name for profile in configuration.profiles] == ["mine"]
    assert configuration.max_backoff_seconds == 20


def test_a_flag_goes_before_the_settings(file: Path, tmp_path: Path) -> None:
    planned = plan_manager(Layout("", data=tmp_path / "data", run=tmp_path / "run"), config_with(file))
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace("mine", "other"))
    found = scheduling(planned, {"scheduler_config": str(other)}).configuration
    assert [profile.name for profile in found.profiles] == ["other"]


def test_without_a_file_there_is_the_default_profile(tmp_path: Path) -> None:
    planned = plan_manager(Layout("", data=tmp_path / "data", run=tmp_path / "run"), ClusterConfig())
    assert dataclasses.asdict(planned)["scheduler_configuration"] == {}
    assert [each.name for each in scheduling(planned, {}).configuration.profiles] == ["default-scheduler"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "nonsense: 1\n", 'strict decoding error: unknown field "nonsense"'),
        (GOOD + "podMaxBackoffSeconds: 2\n", 'key "podMaxBackoffSeconds" already set in map'),
        ("[", "yaml"),
        ("just text", "must be a KubeSchedulerConfiguration"),
    ],
)
def test_what_is_wrong_is_told_with_the_files_name(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        checked_document(str(file))
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        checked_document(str(tmp_path / "none.yaml"))


def test_configurations_in_the_docs_are_good(tmp_path: Path) -> None:
    shown = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "KubeSchedulerConfiguration" in text]
    shown = [text for text in shown if "CheapNodes" not in text]  # tests/unit/scheduler/test_python_plugins.py
    assert shown
    for text in shown:
        assert yaml.safe_load(text)
        path = tmp_path / "shown.yaml"
        path.write_text(text)
        checked_document(str(path))
