"""Discovery documents as messages; field numbers are those of the published .proto files."""

from __future__ import annotations

from timonel.api.protobuf import encode_discovery


def test_resources_of_a_version() -> None:
    resource = {
        "name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "verbs": ["get", "list"],
        "shortNames": ["no"], "storageVersionHash": "XwShjMxG9Fs=",
    }  # fmt: skip
    document = {"kind": "APIResourceList", "groupVersion": "v1", "resources": [resource]}
    assert encode_discovery(document) == (
        b"k8s\x00\x0a\x13\x0a\x00\x12\x0fAPIResourceList\x12\x3a\x0a\x02v1\x12\x34"
        b"\x0a\x05nodes\x32\x04node\x10\x00\x1a\x04Node\x22\x0b\x0a\x03get\x0a\x04list\x2a\x02no\x52\x0cXwShjMxG9Fs="
        b"\x1a\x00\x22\x00"
    )


def test_a_group() -> None:
    version = {"groupVersion": "apps/v1", "version": "v1"}
    document = {"kind": "APIGroup", "apiVersion": "v1", "name": "apps", "versions": [version],
                "preferredVersion": version}  # fmt: skip
    assert encode_discovery(document) == (  # as recorded from Kubernetes v1.36
        b"k8s\x00\n\x0e\n\x02v1\x12\x08APIGroup\x12$\n\x04apps\x12\r\n\x07apps/v1\x12\x02v1\x1a\r\n\x07apps/v1\x12\x02v1"
        b'\x1a\x00"\x00'
    )


def test_versions_do_not_say_their_own() -> None:
    address = {"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:7481"}
    document = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}
    assert encode_discovery(document) == (  # as recorded from Kubernetes v1.36
        b'k8s\x00\n\x0f\n\x00\x12\x0bAPIVersions\x12 \n\x02v1\x12\x1a\n\t0.0.0.0/0\x12\r10.0.0.1:7481\x1a\x00"\x00'
    )


def test_all_in_one() -> None:
    resource = {
        "resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "singularResource": "pod",
        "verbs": ["get"], "categories": ["all"],
        "subresources": [{"subresource": "log", "responseKind": {"kind": "Pod"}, "verbs": ["get"]}],
    }  # fmt: skip
    version = {"version": "v1", "resources": [resource], "freshness": "Current"}
    document = {
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [{"metadata": {"name": "g"}, "versions": [version]}],
    }  # fmt: skip
    inner = (
        b"\x0a\x04pods\x12\x05\x1a\x03Pod\x1a\x0aNamespaced\x22\x03pod\x2a\x03get\x3a\x03all"
        b"\x42\x11\x0a\x03log\x12\x05\x1a\x03Pod\x22\x03get"
    )
    of_version = b"\x0a\x02v1\x12" + bytes([len(inner)]) + inner + b"\x1a\x07Current"
    group = b"\x0a\x03\x0a\x01g\x12" + bytes([len(of_version)]) + of_version
    payload = b"\x12" + bytes([len(group)]) + group
    assert encode_discovery(document).endswith(
        b"APIGroupDiscoveryList\x12" + bytes([len(payload)]) + payload + b"\x1a\x00\x22\x00"
    )
