"""`--store etcd`: which store a cluster has is decided once, and its own etcd lets nobody in but the server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography import x509

from timonel.cluster.config import ClusterConfig, parse_config
from timonel.cluster.errors import UserError
from timonel.cluster.etcd import ensure_etcd_pki, etcd_part
from timonel.cluster.layout import Layout, layout_of
from timonel.cluster.pki import ensure_pki
from timonel.cluster.plan import ClusterState, plan_parts, plan_server
from timonel.cluster.settings import ServerSettings, read_settings, write_settings
from timonel.cluster.teardown import is_ours
from timonel.cluster.up import choose_store

OWN = ClusterConfig()
NAMED = parse_config(
    "etcd: {servers: ['https://192.0.2.1:2379'], cafile: /ca, certfile: /c, keyfile: /k, prefix: /one}"
)
STATE = ClusterState(1, "", "192.0.2.5", 6443)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layout_of("", tmp_path / "data", Path("/run/timonel-unused"))


def with_store(store: str) -> ClusterState:
    return dataclasses.replace(STATE, store=store)


@pytest.mark.parametrize(
    ("config", "wanted", "previous", "chosen"),
    [
        (OWN, "", None, "sqlite"),
        (OWN, "etcd", None, "etcd"),
        (NAMED, "", None, "etcd"),
        (OWN, "", with_store("sqlite"), "sqlite"),
        (NAMED, "", with_store("etcd"), "etcd"),
        (NAMED, "etcd", with_store("etcd"), "etcd"),
    ],
)
def test_a_cluster_keeps_the_store_it_was_made_with(
    layout: Layout, config: ClusterConfig, wanted: str, previous: ClusterState | None, chosen: str
) -> None:
    assert choose_store(layout, config, wanted, previous) == chosen


def test_the_data_is_never_left_behind(layout: Layout) -> None:
    with pytest.raises(UserError, match="keeps its data in sqlite; moving it is not built yet"):
        choose_store(layout, OWN, "etcd", with_store("sqlite"))
    with pytest.raises(UserError, match="keeps its data in etcd; moving it is not built yet"):
        choose_store(layout, OWN, "sqlite", with_store("etcd"))
    with pytest.raises(UserError, match=r"etcd\.servers is set, but this cluster keeps its data in sqlite"):
        choose_store(layout, NAMED, "", with_store("sqlite"))
    with pytest.raises(UserError, match=r"in the etcd that etcd\.servers named before"):
        choose_store(layout, OWN, "", with_store("etcd"))
    layout.etcd_data.mkdir(parents=True)
    assert choose_store(layout, OWN, "", with_store("etcd")) == "etcd"
    with pytest.raises(UserError, match="in an etcd of its own"):
        choose_store(layout, NAMED, "", with_store("etcd"))


def test_state_files_of_before_are_of_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    file.write_text('{"nodes": 1, "segment": "", "address": "192.0.2.5", "port": 6443}')
    assert ClusterState.load(file) == STATE


def test_nobody_else_of_the_cluster_is_let_in(layout: Layout) -> None:
    cluster = ensure_pki(layout.pki, service_address="10.96.0.1")
    own = ensure_etcd_pki(layout)
    issuer = x509.load_pem_x509_certificate(own.client.cert.read_bytes()).issuer
    assert issuer == x509.load_pem_x509_certificate(own.ca.cert.read_bytes()).subject
    assert own.ca.key.read_bytes() != cluster.ca.key.read_bytes()
    part = etcd_part(layout, layout.node(1, "alpha"), own)
    assert "--client-cert-auth" in part.argv
    assert "--peer-client-cert-auth" in part.argv
    assert f"--trusted-ca-file={own.ca.cert}" in part.argv
    assert all("127.0.0.1" in argument for argument in part.argv if "-urls=" in argument)
    assert is_ours([argument.encode() for argument in part.argv])


def test_its_own_etcd_starts_before_the_server_and_ends_after_it(layout: Layout) -> None:
    names = [part.name for part in plan_parts(layout, with_store("etcd"), own_etcd=True)]
    assert names[:2] == ["etcd", "server"]  # parts stop in the other direction
    assert "etcd" not in [part.name for part in plan_parts(layout, with_store("etcd"))]


def test_the_server_is_told_where_it_is(layout: Layout, tmp_path: Path) -> None:
    settings = plan_server(layout, NAMED, with_store("etcd"))
    assert settings.etcd_servers == ("https://192.0.2.1:2379",)
    assert (settings.etcd_ca_file, settings.etcd_cert_file, settings.etcd_key_file) == ("/ca", "/c", "/k")
    assert (settings.store, settings.etcd_prefix) == ("", "/one")
    file = tmp_path / "server.json"
    write_settings(file, settings)
    assert read_settings(ServerSettings, file) == settings
    assert plan_server(layout, OWN, with_store("etcd")).etcd_servers == ("https://127.0.0.1:2379",)
    plain = plan_server(layout, OWN, STATE)
    assert (plain.store, plain.etcd_servers) == (str(layout.store), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("etcd: {servers: [192.0.2.1]}", "etcd.servers: '192.0.2.1' must be a URL"),
        ("etcd: {servers: ['https://a:1'], certfile: /c}", "etcd.certfile and etcd.keyfile go together"),
        ("etcd: {cafile: /c}", "etcd.cafile needs etcd.servers"),
        ("etcd: {servers: ['https://a:1'], prefix: one}", "etcd.prefix must be a path"),
    ],
)
def test_impossible_settings_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_config(text)
    assert said in str(error.value)
