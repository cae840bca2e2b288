"""kube-public/cluster-info: a kubeconfig that says where the cluster is, kept as it should be, signatures and all."""

from __future__ import annotations

import base64

import yaml

from timonel.cluster.cluster_info import render_cluster_info


def test_it_is_a_kubeconfig_without_users() -> None:
    made = yaml.safe_load(render_cluster_info("https://10.0.0.1:6443", b"-----BEGIN CERTIFICATE-----\n"))
    (cluster,) = made["clusters"]
    assert cluster["cluster"]["server"] == "https://10.0.0.1:6443"
    authority = base64.b64decode(cluster["cluster"]["certificate-authority-data"])
    assert authority == b"-----BEGIN CERTIFICATE-----\n"
    assert (made["kind"], made["users"], made["contexts"]) == ("Config", None, None)
