"""Certificates, tokens and claims as people get them with kubectl; each controller acts with its own rights."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import jwt
import pytest
import pytest_asyncio
from cryptography import x509

from tests.unit.controllers.certificates.wishes import key, signing_request
from timonel.api.clock import SystemClock
from timonel.api.errors import ApiError
from timonel.api.objects import find_by, get_path
from timonel.api.refs import (
    CERTIFICATE_SIGNING_REQUESTS,
    CONFIGMAPS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    PODS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    VALIDATING_ADMISSION_POLICIES,
)
from timonel.api.token_keys import TokenSigner, parse_private_key
from timonel.client.service_accounts import ServiceAccountClients
from timonel.cluster.cluster_info import publish_cluster_info
from timonel.controllers.certificates import SigningConfig
from timonel.controllers.manager import CONTROLLERS, ControllerManager, ManagerConfig
from timonel.testing.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = {
    "certificatesigningrequest-signing-controller", "certificatesigningrequest-approving-controller",
    "bootstrap-signer-controller", "token-cleaner-controller", "serviceaccount-token-controller",
    "endpointslice-mirroring-controller", "resourceclaim-controller",
    "validatingadmissionpolicy-status-controller",
}  # fmt: skip
NODE = ("system:node:n1", ["system:nodes"])
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
CLIENT_USAGES = ["digital signature", "client auth"]


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def manager(server) -> AsyncIterator[None]:
    clock = SystemClock()
    config = ManagerConfig(
        leader_election=False,
        root_ca=server.pki.ca.cert.read_text(),
        token_signer=TokenSigner(parse_private_key(server.pki.service_account_key.read_bytes())),
        signing=SigningConfig(
            cluster_signing_cert_file=str(server.pki.ca.cert), cluster_signing_key_file=str(server.pki.ca.key)
        ),
        without=frozenset(name for name, *_ in CONTROLLERS if name not in RUN),
    )
    async with aclosing(ServiceAccountClients(server.client, clock=clock)) as accounts:
        running = ControllerManager(server.client, clock, config, identities=accounts.client)
        task = asyncio.create_task(running.run())
        await running.wait_ready()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kubectl(server, *args: str, stdin: object = None, token: str = "", ok: bool = True) -> str:
    """What it prints; of a failure, what it complains of. Without `token` as the administrator."""
    command = [
        "kubectl",
        "--server",
        server.url,
        "--certificate-authority",
        str(server.ca),
        "--kubeconfig",
        "/dev/null",
    ]
    if "--client-certificate" not in args:
        command += ["--token", token or server.token]
    process = await asyncio.create_subprocess_exec(
        *command, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate(json.dumps(stdin).encode() if stdin is not None else b"")
    assert (process.returncode == 0) == ok, err.decode()
    return (out if ok else err).decode()


async def eventually(read):
    """The first true answer of an async function."""

    async def look():
        try:
            return await read()
        except ApiError as exc:
            if exc.status_code != 404:
                raise
            return None

    return await wait_until(look)


async def status_of(server, name: str):
    found = await server.client.get(CERTIFICATE_SIGNING_REQUESTS, name)
    return found.get("status") or {}


def wish(name: str, subject: str, organizations=(), **options) -> dict:
    made = signing_request(subject, organizations, **options)
    made.pop("status")
    return made | {"metadata": {"name": name}}


async def certificate(server, name: str) -> x509.Certificate:
    async def issued():
        return (await status_of(server, name)).get("certificate")

    return x509.load_pem_x509_certificate(base64.b64decode(await eventually(issued)))


async def test_a_certificate_that_somebody_approves(server, tmp_path) -> None:
    await kubectl(server, "create", "-f", "-", stdin=wish("jane", "jane", ["people"], expirationSeconds=3600))
    assert "Pending" in await kubectl(server, "get", "csr", "jane")
    assert "approved" in await kubectl(server, "certificate", "approve", "jane")
    made = await certificate(server, "jane")
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(server.pki.ca.cert.read_bytes()))
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(hours=1, minutes=5)
    assert "Approved,Issued" in await kubectl(server, "get", "csr", "jane")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    cert_file, key_file = tmp_path / "jane.crt", tmp_path / "jane.key"
    cert_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files = ("--client-certificate", str(cert_file), "--client-key", str(key_file))
    who = json.loads(await kubectl(server, "auth", "whoami", "-o", "json", *files))["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("jane", ["people", "system:authenticated"])


async def test_a_certificate_that_somebody_denies(server) -> None:
    await kubectl(server, "create", "-f", "-", stdin=wish("joe", "joe"))
    assert "denied" in await kubectl(server, "certificate", "deny", "joe")
    status = await status_of(server, "joe")
    assert [each["type"] for each in status["conditions"]] == ["Denied"]
    assert "certificate" not in status
    assert "Denied" in await kubectl(server, "get", "csr", "joe")


async def test_a_wish_against_the_rules_fails(server) -> None:
    await kubectl(server, "create", "-f", "-", stdin=wish("srv", "srv", usages=["server auth"]))
    await kubectl(server, "certificate", "approve", "srv")

    async def failed():
        return find_by((await status_of(server, "srv")).get("conditions"), "type", "Failed")

    assert (await eventually(failed))["reason"] == "SignerValidationFailure"
    assert "Approved,Failed" in await kubectl(server, "get", "csr", "srv")


def bootstrap_token(token_id: str, **data: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "stringData": {
            "token-id": token_id,
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
            **data,
        },
    }


async def test_a_node_joins_with_a_bootstrap_token(server) -> None:
    await kubectl(server, "create", "-f", "-", stdin=bootstrap_token("abcdef"))
    token = "abcdef.0123456789abcdef"
    who = json.loads(await kubectl(server, "auth", "whoami", "-o", "json", token=token))["status"]["userInfo"]
    assert who["username"] == "system:bootstrap:abcdef"
    assert "system:bootstrappers:kubeadm:default-node-token" in who["groups"]
    asked = wish("node-csr", *NODE, signer=KUBELET, usages=CLIENT_USAGES)
    await kubectl(server, "create", "-f", "-", stdin=asked, token=token)
    made = await certificate(server, "node-csr")
    assert made.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    (condition,) = (await status_of(server, "node-csr"))["conditions"]
    assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")
    await kubectl(server, "-n", "kube-system", "get", "secrets", token=token, ok=False)


async def test_a_token_tells_the_cluster_apart_from_others(server) -> None:
    authority = server.pki.ca.cert.read_bytes()
    await publish_cluster_info(server.api.registry, server=server.url, authority=authority)
    await publish_cluster_info(server.api.registry, server=server.url, authority=authority)
    await kubectl(server, "create", "-f", "-", stdin=bootstrap_token("signer"))

    async def signed():
        info = await server.client.get(CONFIGMAPS, "cluster-info", "kube-public")
        return info["data"] if "jws-kubeconfig-signer" in info["data"] else None

    data = await eventually(signed)
    async with server.http.get(f"{server.url}/api/v1/namespaces/kube-public/configmaps/cluster-info") as answer:
        assert answer.status == 200  # anybody may read it
        assert (await answer.json())["data"]["kubeconfig"] == data["kubeconfig"]
    header, _, signature = data["jws-kubeconfig-signer"].split(".")
    payload = base64.urlsafe_b64encode(data["kubeconfig"].encode()).rstrip(b"=").decode()
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        jwt.PyJWS().decode(f"{header}.{payload}.{signature}", "0123456789abcdef", algorithms=["HS256"])
    await server.client.delete(SECRETS, "bootstrap-token-signer", "kube-system")

    async def unsigned():
        return "jws-kubeconfig-signer" not in (await server.client.get(CONFIGMAPS, "cluster-info", "kube-public")).get(
            "data", {}
        )

    await eventually(unsigned)


async def test_expired_bootstrap_tokens_are_nobodys(server) -> None:
    await kubectl(server, "create", "-f", "-", stdin=bootstrap_token("oldold", expiration="2020-01-01T00:00:00Z"))
    complaint = await kubectl(server, "auth", "whoami", token="oldold.0123456789abcdef", ok=False)
    assert "Unauthorized" in complaint

    async def gone():
        return not [
            each
            for each in (await server.client.list(SECRETS, "kube-system"))["items"]
            if each["metadata"]["name"] == "bootstrap-token-oldold"
        ]

    await eventually(gone)


async def test_a_token_in_a_secret(server, namespace) -> None:
    await kubectl(server, "-n", namespace, "create", "serviceaccount", "robot")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "robot"}},
    }
    await kubectl(server, "-n", namespace, "create", "-f", "-", stdin=secret)

    async def filled():
        return get_path(await server.client.get(SECRETS, "robot", namespace), "data", "token")

    await eventually(filled)
    assert "ca.crt:" in await kubectl(server, "-n", namespace, "describe", "secret", "robot")
    token = base64.b64decode(await filled()).decode()
    who = json.loads(await kubectl(server, "auth", "whoami", "-o", "json", token=token))["status"]["userInfo"]
    assert who["username"] == f"system:serviceaccount:{namespace}:robot"

    listed = {"secrets": [{"name": "robot"}]}
    await server.client.patch(SERVICE_ACCOUNTS, "robot", listed, namespace, type="merge")
    url, headers = f"{server.url}/api/v1/namespaces/{namespace}/secrets", {"Authorization": f"Bearer {token}"}
    async with server.http.get(url, headers=headers) as answer:
        assert answer.status == 403
        assert "auto-generated secret-based tokens" in answer.headers["Warning"]

    async def noted():
        labels = (await server.client.get(SECRETS, "robot", namespace))["metadata"].get("labels") or {}
        return labels.get("kubernetes.io/legacy-token-last-used")

    today = SystemClock().now().date()
    assert await eventually(noted) in (today.isoformat(), (today - timedelta(days=1)).isoformat())
    await server.client.delete(SERVICE_ACCOUNTS, "robot", namespace)

    async def gone():
        return not (await server.client.list(SECRETS, namespace))["items"]

    await eventually(gone)
    status, _ = await server.request("GET", "/api", token=token)
    assert status == 401


async def test_a_token_for_an_account_that_is_not_there(server, namespace) -> None:
    secret = {
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "nobody", "annotations": {"kubernetes.io/service-account.name": "nobody"}},
    }
    await server.client.create(SECRETS, secret, namespace)

    async def gone():
        return not (await server.client.list(SECRETS, namespace))["items"]

    await eventually(gone)


async def test_endpoints_kept_by_hand(server, namespace) -> None:
    ports = [{"name": "http", "port": 80}]
    await server.client.create(SERVICES, {"metadata": {"name": "db"}, "spec": {"ports": ports}}, namespace)
    subsets = [{"addresses": [{"ip": "203.0.113.7"}], "ports": ports}]
    await server.client.create(ENDPOINTS, {"metadata": {"name": "db"}, "subsets": subsets}, namespace)

    async def mirrored():
        return (await server.client.list(ENDPOINT_SLICES, namespace))["items"]

    (made,) = await eventually(mirrored)
    assert made["endpoints"][0]["addresses"] == ["203.0.113.7"]
    assert made["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]


async def test_claims_from_a_template(server, namespace) -> None:
    requests = [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]
    template = {"metadata": {"name": "gpu"}, "spec": {"spec": {"devices": {"requests": requests}}}}
    await server.client.create(RESOURCE_CLAIM_TEMPLATES, template, namespace)
    entries = [{"name": name, "resourceClaimTemplateName": "gpu"} for name in ("a", "b")]
    containers = [{"name": "c", "image": "i", "resources": {"claims": [{"name": "a"}]}}]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": containers, "resourceClaims": entries}}
    await server.client.create(PODS, pod, namespace)

    async def noted():
        statuses = get_path(await server.client.get(PODS, "p", namespace), "status", "resourceClaimStatuses")
        return statuses if statuses and len(statuses) == 2 else None

    names = {each["resourceClaimName"] for each in await eventually(noted)}
    found = (await server.client.list(RESOURCE_CLAIMS, namespace))["items"]
    assert {each["metadata"]["name"] for each in found} == names
    await server.client.patch(PODS, "p", {"status": {"phase": "Failed"}}, namespace, type="merge", subresource="status")

    async def gone():
        return not (await server.client.list(RESOURCE_CLAIMS, namespace))["items"]

    await eventually(gone)


async def test_a_policy_that_gets_a_kind_wrong(server) -> None:
    """The example of kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    validations = [{"expression": "object.replicas > 1"}, {"expression": "object.spec.replicas > 1"}]
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": validations}
    await server.client.create(VALIDATING_ADMISSION_POLICIES, {"metadata": {"name": "few.example.com"}, "spec": spec})

    async def checked():
        found = await server.client.get(VALIDATING_ADMISSION_POLICIES, "few.example.com")
        return get_path(found, "status", "typeChecking", "expressionWarnings")

    (warning,) = await eventually(checked)
    assert warning["fieldRef"] == "spec.validations[0].expression"
    assert warning["warning"].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n"
    )
