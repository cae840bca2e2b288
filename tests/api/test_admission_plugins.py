"""Admission as clients meet it: what they sent comes back filled in, bounded, protected, or refused."""

from __future__ import annotations

import uuid
from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.api.quotas import limit, pod, run_controllers, stop, used
from timonel.testing.server import RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

MERGE = {"Content-Type": "application/merge-patch+json"}


async def post(server: RunningServer, path: str, body: Any, expected: int = 201) -> Any:
    status, answer = await server.request("POST", path, body)
    assert status == expected, answer
    return answer


async def a_node(server: RunningServer, cpu: str = "4") -> str:
    name = f"node-{uuid.uuid4().hex[:6]}"
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "kubernetes.io/os": "linux"}
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    await post(server, "/api/v1/nodes", {"metadata": {"name": name, "labels": labels},
                                         "status": {"allocatable": allocatable, "capacity": allocatable}})  # fmt: skip
    return name


async def bind(server: RunningServer, pods: str, name: str, node: str) -> None:
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    await post(server, f"{pods}/{name}/binding", {"metadata": {"name": name}, "target": target})


async def test_limit_ranges_default_and_bound(server: RunningServer, namespace: str) -> None:
    limits = [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]
    await post(
        server, f"/api/v1/namespaces/{namespace}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}}
    )
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = await post(server, pods, pod("p"))
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}
    assert made["status"]["qosClass"] == "Burstable"
    noted = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert noted == "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    answer = await post(server, pods, pod("q", {}, {"cpu": "2"}), 403)
    assert answer["message"] == 'pods "q" is forbidden: maximum cpu usage per Container is 1, but limit is 2'


async def test_resizing_stays_within_node_limits_and_quota(server: RunningServer, namespace: str) -> None:
    controllers = await run_controllers(server)
    try:
        await limit(server, namespace, {"requests.cpu": "3"})
        pods, node = f"/api/v1/namespaces/{namespace}/pods", await a_node(server, cpu="2")
        await post(server, pods, pod("p", {"cpu": "1"}, {"cpu": "4"}))
        await bind(server, pods, "p", node)

        async def resize(cpu: str) -> tuple[int, Any]:
            container = {"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "4"}}}
            headers = {"Content-Type": "application/strategic-merge-patch+json"}
            return await server.request(
                "PATCH", f"{pods}/p/resize", {"spec": {"containers": [container]}}, headers=headers
            )

        assert (await resize("2"))[0] == 200
        await used(server, namespace, {"requests.cpu": "2"})
        status, answer = await resize("2500m")
        assert status == 403
        assert (
            "node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000"
            in answer["message"]
        )
        assert (await resize("1"))[0] == 200
        await used(server, namespace, {"requests.cpu": "1"})
        await post(server, pods, pod("other", {"cpu": "1500m"}))
        status, answer = await resize("1800m")
        assert status == 403
        assert answer["message"].endswith(
            "exceeded quota: quota, requested: requests.cpu=800m, used: requests.cpu=2500m, limited: requests.cpu=3"
        )
    finally:
        await stop(controllers)


async def test_a_bound_pod_knows_its_zone(server: RunningServer, namespace: str) -> None:
    pods, node = f"/api/v1/namespaces/{namespace}/pods", await a_node(server)
    await post(server, pods, pod("p"))
    await bind(server, pods, "p", node)
    _, found = await server.request("GET", f"{pods}/p")
    assert found["metadata"]["labels"] == {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}


async def test_claims_and_ingresses_get_default_classes(server: RunningServer, namespace: str) -> None:
    name = f"fast-{uuid.uuid4().hex[:6]}"
    mark = {"storageclass.kubernetes.io/is-default-class": "true"}
    await post(server, "/apis/storage.k8s.io/v1/storageclasses",
               {"metadata": {"name": name, "annotations": mark}, "provisioner": "example.com/x"})  # fmt: skip
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await post(server, claims, {"metadata": {"name": "c"}, "spec": spec})
    assert made["spec"]["storageClassName"] == name
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    grown = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    status, _ = await server.request("PATCH", f"{claims}/c", grown, headers=MERGE)
    assert status in (403, 422)
    await server.request("DELETE", f"/apis/storage.k8s.io/v1/storageclasses/{name}")

    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    classes = "/apis/networking.k8s.io/v1/ingressclasses"
    await post(
        server, classes, {"metadata": {"name": name, "annotations": mark}, "spec": {"controller": "example.com/c"}}
    )
    backend = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    ingresses = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"
    made = await post(server, ingresses, {"metadata": {"name": "i"}, "spec": backend})
    assert made["spec"]["ingressClassName"] == name
    await server.request("DELETE", f"{classes}/{name}")


async def test_certificates_are_approved_by_who_may_for_the_signer(server: RunningServer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ann")])
    pem = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode()
    name, path = f"csr-{uuid.uuid4().hex[:6]}", "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {"request": text, "signerName": "example.com/own", "usages": ["client auth"]}
    await post(server, path, {"metadata": {"name": name}, "spec": spec})

    role = f"approver-{uuid.uuid4().hex[:6]}"
    group, roles = "rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    rules = [{"apiGroups": ["certificates.k8s.io"], "verbs": ["update", "get"],
              "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"]}]  # fmt: skip
    await post(server, roles, {"metadata": {"name": role}, "rules": rules})
    await post(server, f"/apis/{group}/v1/clusterrolebindings", {
        "metadata": {"name": role}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "alice"}]})  # fmt: skip

    async def approve() -> tuple[int, Any]:
        _, found = await server.request("GET", f"{path}/{name}")
        found["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]}
        return await server.request("PUT", f"{path}/{name}/approval", found, token=server.alice_token)

    status, answer = await approve()
    assert (status, answer["message"]) == (
        403, f'certificatesigningrequests.certificates.k8s.io "{name}" is forbidden: user not permitted to approve'
             ' requests with signerName "example.com/own"',
    )  # fmt: skip
    rules.append({"apiGroups": ["certificates.k8s.io"], "verbs": ["approve"], "resources": ["signers"],
                  "resourceNames": ["example.com/*"]})  # fmt: skip
    assert (await server.request("PATCH", f"{roles}/{role}", {"rules": rules}, headers=MERGE))[0] == 200
    assert (await approve())[0] == 200
    await server.request("DELETE", f"/apis/{group}/v1/clusterrolebindings/{role}")


async def test_devices_are_administered_from_marked_namespaces_only(server: RunningServer, namespace: str) -> None:
    request = {"name": "r", "exactly": {"deviceClassName": "gpu", "adminAccess": True}}
    claim = {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}}
    path = f"/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims"
    answer = await post(server, path, claim, 422)
    assert "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label" in answer["message"]
    mark = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    assert (await server.request("PATCH", f"/api/v1/namespaces/{namespace}", mark, headers=MERGE))[0] == 200
    await post(server, path, claim)
