"""The configuration file: what it means, and one clear line for whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.cluster.config import ClusterConfig, RegistryConfig, load_config, parse_config
from timonel.cluster.errors import UserError


def test_an_absent_default_file_means_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("timonel.cluster.config.DEFAULT_CONFIG_FILE", tmp_path / "none.yaml")
    assert load_config(None) == ClusterConfig()


def test_an_absent_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "none.yaml")


def test_every_key_is_read() -> None:
    config = parse_config(
        """
        network:
          {pods: 10.50.0.0/16, services: 10.60.0.0/16, dns: 10.60.0.53, domain: k8s.example, nodePorts: 31000-31010}
        api: {port: 7443, extraNames: [cluster.example.org]}
        registries:
          docker.io: {mirrors: ["http://10.0.0.5:5000"]}
          registry.example.org: {plainHttp: true}
        node: {maxPods: 50, monitorGraceSeconds: 10, evictionSeconds: 20}
        """
    )
    assert config.network.pods == "10.50.0.0/16"
    assert config.network.node_ports == "31000-31010"
    assert config.api.extra_names == ("cluster.example.org",)
    assert config.registries["docker.io"] == RegistryConfig(mirrors=("http://10.0.0.5:5000",))
    assert config.registries["registry.example.org"].plain_http
    assert config.node.monitor_grace_seconds == 10.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: [", "not valid YAML: line"),
        ("- a list", "the file must be a mapping, not a list"),
        ("netwrok: {}", "unknown key 'netwrok'; known here: api, etcd, hollow, manager, network, node, registries"),
        ("network: {pod: 1}", "unknown key 'network.pod'"),
        ("api: {port: many}", "api.port must be a whole number, not text"),
        ("api: {port: true}", "api.port must be a whole number, not true or false"),
        ("api: {port: 70000}", "api.port must be between 1 and 65535"),
        ("api: {maxRequestsInflight: -1}", "api.maxRequestsInflight must not be negative"),
        (
            "api: {maxRequestsInflight: 0, maxMutatingRequestsInflight: 0}",
            "api.maxRequestsInflight and api.maxMutatingRequestsInflight must add up to something positive",
        ),
        ("api: {extraNames: name}", "api.extraNames must be a list, not text"),
        ("api: {enableAdmissionPlugins: [Alwayspull]}", 'enable-admission-plugins plugin "Alwayspull" is unknown'),
        ("api: {disableAdmissionPlugins: [Quota]}", 'disable-admission-plugins plugin "Quota" is unknown'),
        ("api: {enableAdmissionPlugins: [ImagePolicyWebhook]}", '"ImagePolicyWebhook" is not built in this version'),
        ("network: {pods: 10.96.0.0/16}", "network.pods 10.96.0.0/16 and network.services 10.96.0.0/12 overlap"),
        ("network: {pods: 10.244.0.0/25}", "smaller than one node's /24"),
        ("network: {pods: 10.244.0.0}", "smaller than one node's /24"),
        ("network: {pods: nonsense}", "network.pods: "),
        ("network: {pods: 'fd00::/64'}", "network.pods: fd00::/64: IPv6 is not built yet"),
        ("network: {dns: 10.0.0.1}", "network.dns 10.0.0.1 is not inside network.services"),
        ("network: {nodePorts: '30000'}", "network.nodePorts must be a range"),
        ("network: {nodePorts: 32000-31000}", "network.nodePorts must be a range"),
        ("registries: {docker.io: {mirrors: ['10.0.0.5:5000']}}", "must start with http:// or https://"),
        ("registries: {docker.io: {mirror: []}}", "unknown key 'registries.docker.io.mirror'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_config(text, "config.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("config.yaml: ")
    assert "\n" not in str(caught.value)


def test_flags_come_beside_what_the_file_lists(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("api: {enableAdmissionPlugins: [AlwaysPullImages]}")
    config = load_config(
        path, enable_admission_plugins=("NamespaceExists",), disable_admission_plugins=("PodSecurity",)
    )
    assert config.api.enable_admission_plugins == ("AlwaysPullImages", "NamespaceExists")
    assert config.api.disable_admission_plugins == ("PodSecurity",)
    with pytest.raises(UserError, match='command line: enable-admission-plugins plugin "Nope" is unknown'):
        load_config(path, enable_admission_plugins=("Nope",))
