"""Settings of admission plugins as kube-apiserver reads them from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.cluster.admission import load_admission, load_plugin_settings
from timonel.cluster.errors import UserError

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"


def test_settings_are_inside_or_in_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "events.yaml").write_text("limits: [{type: Server, qps: 5, burst: 10}]")
    file = tmp_path / "admission.yaml"
    file.write_text(
        HEAD
        + """
plugins:
- {name: EventRateLimit, path: events.yaml}
- name: PodNodeSelector
  configuration: {podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: "disk=ssd"}}
"""
    )
    assert load_plugin_settings(str(file)) == {
        "EventRateLimit": {"limits": [{"type": "Server", "qps": 5, "burst": 10}]},
        "PodNodeSelector": {"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "disk=ssd"}},
    }
    assert load_plugin_settings("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", "must be an AdmissionConfiguration of apiserver.config.k8s.io/v1"),
        (HEAD + "plugins: [{path: x}]", "each of plugins has a name"),
        (HEAD + "plugins: [{name: A, nonsense: x}]", "each of plugins has a name"),
        (HEAD + "plugins: [{name: A, path: x, configuration: {}}]", "plugin A has both path and configuration"),
        (HEAD + "plugins: [{name: A, path: missing.yaml}]", "missing.yaml: cannot be read"),
        (HEAD + "plugins: [{name: A, configuration: 3}]", "configuration of plugin A must be a mapping"),
        ("[", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_plugin_settings(str(file))
    assert message in str(caught.value)


def test_names_are_checked_before_the_server_starts(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(HEAD + "plugins: [{name: ResourceQuota, configuration: {limitedResources: []}}]")
    with pytest.raises(UserError, match='plugin "ResourceQuota" of the admission configuration takes no settings'):
        load_admission((), (), str(file))
    assert load_admission(["AlwaysPullImages"], [], "").enable == ("AlwaysPullImages",)
