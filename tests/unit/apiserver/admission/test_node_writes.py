"""Kubelets write claims' status, CSINodes, ResourceSlices and certificate requests for themselves alone.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.apiserver.admission.test_node_restriction import verdict
from timonel.api.objects import Object
from timonel.api.refs import (
    CERTIFICATE_SIGNING_REQUESTS,
    CSI_NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    RESOURCE_SLICES,
)


def claim(status: Object, **metadata: Any) -> Object:
    return {
        "metadata": {"name": "c", "namespace": "d", **metadata},
        "spec": {"volumeName": "v"},
        "status": {"phase": "Bound", **status},
    }


@pytest.mark.parametrize(
    ("new", "allowed"),
    [
        (claim({"capacity": {"storage": "2Gi"}, "conditions": []}), True),
        (claim({"allocatedResources": {"storage": "2Gi"}}, resourceVersion="7", managedFields=[{}]), True),
        (claim({"phase": "Lost"}), False),
        (claim({}, finalizers=["example.com/mine"]), False),
        (claim({}, labels={"a": "b"}), False),
    ],
)
async def test_only_what_resizing_came_to(new: Object, allowed: bool) -> None:
    answer = await verdict(PERSISTENT_VOLUME_CLAIMS, "UPDATE", new, name="c", subresource="status", old=claim({}))
    why = 'node "alpha" is not allowed to update fields other than status.quantity and status.conditions'
    assert answer == ("" if allowed else why)


async def test_claims_themselves_are_not_nodes_to_write() -> None:
    answer = await verdict(PERSISTENT_VOLUME_CLAIMS, "UPDATE", claim({}), name="c", old=claim({}))
    assert answer == "may only update PVC status"


@pytest.mark.parametrize(("name", "allowed"), [("alpha", True), ("beta", False)])
async def test_its_own_csi_node(name: str, allowed: bool) -> None:
    why = "" if allowed else "can only access CSINode with the same name as the requesting node"
    made = {"metadata": {"name": name}, "spec": {"drivers": []}}
    assert await verdict(CSI_NODES, "CREATE", made, namespace="") == why
    assert await verdict(CSI_NODES, "UPDATE", made, name=name, old=made, namespace="") == why


@pytest.mark.parametrize(("node", "allowed"), [("alpha", True), ("beta", False), (None, False)])
async def test_slices_of_its_own_devices(node: str | None, allowed: bool) -> None:
    made: Object = {"metadata": {"name": "s"}, "spec": {"nodeName": node} if node else {"allNodes": True}}
    why = "can only {} ResourceSlice with the same NodeName as the requesting node"
    for operation, new, old in (("CREATE", made, None), ("DELETE", None, made)):
        expected = "" if allowed else why.format(operation.lower())
        assert await verdict(RESOURCE_SLICES, operation, new, old=old, namespace="") == expected


@pytest.mark.parametrize("signer", ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"])
async def test_certificates_of_its_own_name(signer: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    async def asked(name: str, signed_by: str) -> str:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        text = b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
        body = {"metadata": {"name": "r"}, "spec": {"signerName": signed_by, "request": text}}
        return await verdict(CERTIFICATE_SIGNING_REQUESTS, "CREATE", body, namespace="")

    assert await asked("system:node:alpha", signer) == ""
    assert await asked("system:node:beta", signer) == "can only create a node CSR with CN=system:node:alpha"
    assert await asked("system:node:beta", "example.com/own") == ""
    broken = {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": "bm8="}}
    answer = await verdict(CERTIFICATE_SIGNING_REQUESTS, "CREATE", broken, namespace="")
    assert answer == "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"


def local_volume(*finalizers: str, node: str = "alpha", size: str = "1Gi", deleted: bool = True) -> Object:
    metadata: Object = {"name": "v", "labels": {"timonel.dev/volume-node": node}, "finalizers": list(finalizers)}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "spec": {"capacity": {"storage": size}}}


LOCAL, OTHER = "timonel.dev/local-volume", "example.com/other"


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (local_volume(LOCAL), local_volume(), True),
        (local_volume(LOCAL, OTHER), local_volume(OTHER), True),
        (local_volume(LOCAL, OTHER), local_volume(), False),
        (local_volume(LOCAL), local_volume(size="9Gi"), False),
        (local_volume(LOCAL, node="beta"), local_volume(node="beta"), False),
        (local_volume(LOCAL, deleted=False), local_volume(deleted=False), False),
    ],
)
async def test_a_node_lets_go_of_its_own_volumes_only(old: Object, new: Object, allowed: bool) -> None:
    answer = await verdict(PERSISTENT_VOLUMES, "UPDATE", new, name="v", namespace="", old=old)
    assert (not answer) is allowed
