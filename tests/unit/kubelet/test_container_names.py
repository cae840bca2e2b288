"""Source: concepts/services-networking/dns-pod-service, tasks/network/customize-hosts-file-for-pods."""

from __future__ import annotations

import pytest

from tests.unit.kubelet.pods import container, pod
from timonel.kubelet.containers.names import Resolver, kernel_host_name, parse_resolv_conf, pod_resolver, render_hosts

C = container("c")
HOST = Resolver(["192.0.2.53"], ["example.org"], ["edns0"])
DNS = ("10.96.0.10",)
OPTIONS = [{"name": "ndots", "value": "2"}, {"name": "r"}]


def test_host_names() -> None:
    assert kernel_host_name(pod(C), "cluster.local") == "web"
    assert kernel_host_name(pod(C, name="x" * 70), "cluster.local") == "x" * 63
    named = pod(C, hostname="h", subdomain="sub", setHostnameAsFQDN=True)
    assert kernel_host_name(named, "cluster.local") == "h.sub.default.svc.cluster.local"
    with pytest.raises(ValueError, match="is too long"):
        kernel_host_name(pod(C, hostname="h" * 50, subdomain="sub", setHostnameAsFQDN=True), "cluster.local")


def test_hosts_file() -> None:
    of = pod(C, hostname="h", subdomain="sub", hostAliases=[{"ip": "192.0.2.9", "hostnames": ["a", "b"]}])
    text = render_hosts(of, ("10.0.0.1", "fd00::1"), "cluster.local")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert text.endswith(
        "10.0.0.1\th.sub.default.svc.cluster.local\th\nfd00::1\th.sub.default.svc.cluster.local\th\n"
        "\n# Entries added by HostAliases.\n192.0.2.9\ta\tb\n"
    )


def test_cluster_first() -> None:
    made = pod_resolver(pod(C), HOST, DNS, "cluster.local")
    assert made.servers == ["10.96.0.10"]
    assert made.searches == ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"]
    assert made.options == ["ndots:5"]


def test_other_policies() -> None:
    assert pod_resolver(pod(C, dnsPolicy="Default"), HOST, DNS, "cluster.local") == HOST
    assert pod_resolver(pod(C, hostNetwork=True), HOST, DNS, "cluster.local") == HOST
    with_host = pod(C, hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    assert pod_resolver(with_host, HOST, DNS, "cluster.local").servers == ["10.96.0.10"]
    custom = {
        "nameservers": ["1.1.1.1"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "r"}],
    }
    assert pod_resolver(pod(C, dnsPolicy="None", dnsConfig=custom), HOST, DNS, "cluster.local") == Resolver(
        ["1.1.1.1"], ["x"], ["ndots:2", "r"]
    )
    merged = pod_resolver(pod(C, dnsConfig=custom), HOST, DNS, "cluster.local")
    assert merged.servers == ["10.96.0.10", "1.1.1.1"]
    assert merged.options == ["ndots:2", "r"]


def test_resolv_conf() -> None:
    text = "# c\nnameserver 192.0.2.53\nsearch a.example. b\n; x\noptions edns0 ndots:2\n"
    assert parse_resolv_conf(text) == Resolver(["192.0.2.53"], ["a.example", "b"], ["edns0", "ndots:2"])
