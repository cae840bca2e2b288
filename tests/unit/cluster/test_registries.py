"""Registries of the configuration as containerd's hosts.toml (containerd docs/hosts.md)."""

from __future__ import annotations

import tomllib
from pathlib import Path

from timonel.cluster.config import RegistryConfig
from timonel.cluster.containerd import render_hosts, write_registries


def test_a_mirror_comes_before_the_registry_itself() -> None:
    hosts = tomllib.loads(render_hosts("docker.io", RegistryConfig(mirrors=("http://10.0.0.5:5000",))))
    assert hosts["server"] == "https://registry-1.docker.io"
    assert hosts["host"] == {"http://10.0.0.5:5000": {"capabilities": ["pull", "resolve"]}}


def test_plain_http_speaks_http_to_the_registry() -> None:
    hosts = tomllib.loads(render_hosts("reg.local:5000", RegistryConfig(plain_http=True)))
    assert hosts["server"] == "http://reg.local:5000"
    assert "http://reg.local:5000" in hosts["host"]


def test_tls_settings_apply_to_https_only() -> None:
    config = RegistryConfig(mirrors=("http://a:1", "https://b:2"), skip_verify=True, ca_file="/etc/ca.crt")
    hosts = tomllib.loads(render_hosts("reg.local", config))["host"]
    assert "skip_verify" not in hosts["http://a:1"]
    assert hosts["https://b:2"]["skip_verify"] is True
    assert hosts["https://reg.local"]["ca"] == "/etc/ca.crt"


def test_folders_follow_the_configuration(tmp_path: Path) -> None:
    registries = {"docker.io": RegistryConfig(), "*": RegistryConfig(mirrors=("http://a:1",))}
    assert write_registries(tmp_path, registries)
    assert not write_registries(tmp_path, registries)
    assert {item.name for item in tmp_path.iterdir()} == {"docker.io", "_default"}
    assert write_registries(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
