"""A cluster whose data is in etcd: its own, under the supervisor, with everything where kube-apiserver keeps it."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, wait_until
from tests.e2e.conftest import NAME

PAUSE = "timonel.local/pause:1"


@pytest.fixture(scope="module")
def etcd_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: apt install etcd-server)")
    made = Cluster(f"{NAME}-etcd", tmp_path_factory.mktemp("etcd"))
    made.purge()
    made.up("--store", "etcd")
    yield made
    made.purge()
    assert not made.layout.data.exists()


def deployment(name: str, replicas: int) -> dict[str, object]:
    container = {"name": "main", "image": PAUSE, "imagePullPolicy": "Never"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


def test_workloads_run_and_have_addresses(etcd_cluster: Cluster) -> None:
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    etcd_cluster.apply(deployment("web", 2), service)
    etcd_cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    made = etcd_cluster.get("service", "web")
    address = etcd_cluster.get("ipaddress", made["spec"]["clusterIP"])
    assert address["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "web"}
    cidr = wait_until(
        "the default ServiceCIDR is protected",
        lambda: (found := etcd_cluster.get("servicecidr", "kubernetes"))["metadata"].get("finalizers") and found,
    )
    assert cidr["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
    (ready,) = cidr["status"]["conditions"]
    assert (ready["type"], ready["status"]) == ("Ready", "True")
    assert etcd_cluster.kubectl("get", "--raw", "/readyz/etcd").stdout == "ok"


def test_everything_is_where_kube_apiserver_keeps_it(etcd_cluster: Cluster) -> None:
    pki = etcd_cluster.layout.pki / "etcd"
    assert stat.S_IMODE(pki.stat().st_mode) == 0o700
    # Our own client, in the node's network namespace, because Debian's etcdctl is a package of its own.
    code = f"""
import asyncio, json
from timonel.storage.etcd import EtcdConfig, open_etcd
from timonel.testing.clock import VirtualClock
async def keys():
    config = EtcdConfig(
        endpoints=("https://127.0.0.1:2379",), history_seconds=0,
        ca_file="{pki}/ca.crt", cert_file="{pki}/apiserver-client.crt", key_file="{pki}/apiserver-client.key",
    )
    store = await open_etcd(config, VirtualClock())
    print(json.dumps([entry.key for entry in (await store.range("/registry/")).entries]))
    await store.close()
asyncio.run(keys())
"""
    keys = json.loads(etcd_cluster.on_node(1, sys.executable, "-c", code).stdout)
    assert {
        "/registry/services/specs/default/kubernetes", "/registry/services/endpoints/default/kubernetes",
        f"/registry/minions/{etcd_cluster.node_name(1)}", "/registry/namespaces/kube-system",
        "/registry/ranges/servicenodeports", "/registry/ipaddresses/10.96.0.1", "/registry/servicecidrs/kubernetes",
        "/registry/deployments/default/web",
    } <= set(keys)  # fmt: skip
    assert [key for key in keys if key.startswith("/registry/masterleases/")]
    assert not [key for key in keys if not key.startswith("/registry/")]


def test_nobody_gets_in_without_its_own_authority(etcd_cluster: Cluster) -> None:
    pki = etcd_cluster.layout.pki
    url = "https://127.0.0.1:2379/health"
    trusted = ("curl", "-sS", "--max-time", "5", "--cacert", f"{pki}/etcd/ca.crt")
    own = ("--cert", f"{pki}/etcd/apiserver-client.crt", "--key", f"{pki}/etcd/apiserver-client.key")
    foreign = ("--cert", f"{pki}/admin.crt", "--key", f"{pki}/admin.key")
    assert '"health":"true"' in etcd_cluster.on_node(1, *trusted, *own, url).stdout
    assert etcd_cluster.on_node(1, *trusted, *foreign, url, check=False).returncode != 0
    assert etcd_cluster.on_node(1, *trusted, url, check=False).returncode != 0


@pytest.mark.parametrize("part", ["etcd", "server"])
def test_the_store_may_die(etcd_cluster: Cluster, part: str) -> None:
    etcd_cluster.kubectl("create", "configmap", f"before-{part}", "--from-literal=a=b")
    pid = etcd_cluster.kill(part)
    etcd_cluster.wait_part(part, pid)
    wait_until("writes go on", lambda: etcd_cluster.kubectl("create", "configmap", f"after-{part}").returncode == 0)
    assert etcd_cluster.get("configmap", f"before-{part}")["data"] == {"a": "b"}


def test_the_data_is_kept_and_never_left_behind(etcd_cluster: Cluster) -> None:
    refused = etcd_cluster.up("--store", "sqlite", check=False)
    assert refused.returncode == 1
    assert "this cluster keeps its data in etcd; moving it is not built yet" in refused.stderr
    etcd_cluster.timonel("down")
    etcd_cluster.up()
    assert etcd_cluster.get("configmap", "before-etcd")["data"] == {"a": "b"}
    assert (etcd_cluster.layout.etcd_data / "member").is_dir()
    assert not Path(etcd_cluster.layout.store).exists()
