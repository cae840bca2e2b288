"""Reviews, token requests and token keys, asked of a whole server over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import jwt
import pytest

from timonel.api.objects import Object

from .conftest import Server

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
LIST_PODS = {"verb": "list", "resource": "pods", "namespace": "default"}


async def review(server: Server, path: str, kind: str, spec: Object, *, token: str = "root") -> tuple[int, Any]:
    group = path.split("/")[2]
    return await server.ask("POST", path, {"kind": kind, "apiVersion": f"{group}/v1", "spec": spec}, token=token)


async def make_account(server: Server, name: str = "app") -> Object:
    status, account = await server.ask("POST", ACCOUNTS, {"metadata": {"name": name}})
    assert status == 201
    result: Object = account
    return result


async def request_token(server: Server, spec: Object, name: str = "app") -> tuple[int, Any]:
    body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
    return await server.ask("POST", f"{ACCOUNTS}/{name}/token", body)


async def test_somebodys_access(server: Server) -> None:
    path = f"{AUTHORIZATION}/subjectaccessreviews"
    code, made = await review(
        server,
        path,
        "SubjectAccessReview",
        {"user": "x", "groups": ["system:masters"], "resourceAttributes": LIST_PODS},
    )
    assert (code, made["status"]) == (201, {"allowed": True})
    _, made = await review(server, path, "SubjectAccessReview", {"user": "x", "resourceAttributes": LIST_PODS})
    assert made["status"]["allowed"] is False
    _, made = await review(
        server,
        path,
        "SubjectAccessReview",
        {
            "user": "system:anonymous",
            "groups": ["system:unauthenticated"],
            "nonResourceAttributes": {"verb": "get", "path": "/version"},
        },
    )
    assert made["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole'
        ' "system:public-info-viewer" to Group "system:unauthenticated"',
    }


async def test_ones_own_access(server: Server) -> None:
    path = f"{AUTHORIZATION}/selfsubjectaccessreviews"
    for token, allowed in (("root", True), ("ann", False)):
        code, made = await review(
            server, path, "SelfSubjectAccessReview", {"resourceAttributes": LIST_PODS}, token=token
        )
        assert (code, made["status"]["allowed"]) == (201, allowed)


@pytest.mark.parametrize(
    ("kind", "plural", "spec", "message"),
    [
        ("SubjectAccessReview", "subjectaccessreviews", {"user": "x"},
         "exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        ("SubjectAccessReview", "subjectaccessreviews", {"resourceAttributes": LIST_PODS},
         "at least one of user or group must be specified"),
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews",
         {"resourceAttributes": LIST_PODS, "nonResourceAttributes": {"path": "/"}},
         "cannot be specified in combination with resourceAttributes"),
    ],
)  # fmt: skip
async def test_questions_that_make_no_sense(server: Server, kind: str, plural: str, spec: Object, message: str) -> None:
    code, status = await review(server, f"{AUTHORIZATION}/{plural}", kind, spec)
    assert code == 422
    assert message in status["message"]


async def test_access_within_a_namespace(server: Server) -> None:
    path = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
    spec = {"user": "x", "resourceAttributes": LIST_PODS}
    code, made = await review(server, path, "LocalSubjectAccessReview", spec)
    assert (code, made["status"]["allowed"]) == (201, False)
    spec = {"user": "x", "resourceAttributes": {**LIST_PODS, "namespace": "other"}}
    code, status = await review(server, path, "LocalSubjectAccessReview", spec)
    assert code == 422
    assert "must match metadata.namespace" in status["message"]


async def test_ones_own_rules(server: Server) -> None:
    path = f"{AUTHORIZATION}/selfsubjectrulesreviews"
    code, made = await review(server, path, "SelfSubjectRulesReview", {"namespace": "default"}, token="ann")
    assert code == 201
    assert made["status"]["incomplete"] is False
    assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]} in (
        made["status"]["resourceRules"]
    )
    code, status = await review(server, path, "SelfSubjectRulesReview", {})
    assert (code, status["message"]) == (400, "no namespace on request")


async def test_who_am_i(server: Server) -> None:
    code, made = await review(server, f"{AUTHENTICATION}/selfsubjectreviews", "SelfSubjectReview", {}, token="ann")
    assert code == 201
    assert made["status"]["userInfo"] == {"username": "ann", "uid": "2", "groups": ["devs", "system:authenticated"]}


async def test_a_token_from_request_to_use(server: Server) -> None:
    account = await make_account(server)
    code, made = await request_token(server, {"expirationSeconds": 600})
    assert code == 201
    assert made["metadata"]["name"] == "app"
    assert made["spec"]["audiences"] == ["https://kubernetes.default.svc.cluster.local"]
    created = datetime.fromisoformat(made["metadata"]["creationTimestamp"])
    expires = datetime.fromisoformat(made["status"]["expirationTimestamp"])
    assert (expires - created).total_seconds() == 600
    token = made["status"]["token"]
    code, me = await review(server, f"{AUTHENTICATION}/selfsubjectreviews", "SelfSubjectReview", {}, token=token)
    assert code == 201
    assert me["status"]["userInfo"]["uid"] == account["metadata"]["uid"]
    code, _ = await server.ask("DELETE", f"{ACCOUNTS}/app")
    assert code == 200
    code, _ = await server.ask("GET", "/version", token=token)
    assert code == 401


async def test_token_reviews(server: Server) -> None:
    await make_account(server)
    _, made = await request_token(server, {"audiences": ["vault"]})
    path, token = f"{AUTHENTICATION}/tokenreviews", made["status"]["token"]
    code, reviewed = await review(server, path, "TokenReview", {"token": token, "audiences": ["vault", "x"]})
    assert code == 201
    assert reviewed["status"]["authenticated"] is True
    assert reviewed["status"]["audiences"] == ["vault"]
    assert reviewed["status"]["user"]["username"] == "system:serviceaccount:default:app"
    _, reviewed = await review(server, path, "TokenReview", {"token": token})
    assert "authenticated" not in reviewed["status"]
    assert reviewed["status"]["error"].startswith('token audiences ["vault"] is invalid')
    _, reviewed = await review(server, path, "TokenReview", {"token": "nonsense"})
    assert reviewed["status"]["error"] == "invalid bearer token"
    _, reviewed = await review(server, path, "TokenReview", {"token": "ann"})
    assert reviewed["status"]["user"]["groups"] == ["devs", "system:authenticated"]
    code, _ = await review(server, path, "TokenReview", {})
    assert code == 400


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"expirationSeconds": 599}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**32 + 1}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "none"}}, 404, 'pods "none" not found'),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "x"}}, 400, "cannot bind token to object"),
    ],
)
async def test_bad_token_requests(server: Server, spec: Object, code: int, message: str) -> None:
    await make_account(server)
    got, status = await request_token(server, spec)
    assert got == code
    assert message in status["message"]


async def test_tokens_mounted_by_the_server_live_longer(server: Server) -> None:
    await make_account(server)
    pod = {
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": "app", "containers": [{"name": "c", "image": "x"}]},
    }
    code, created = await server.ask("POST", "/api/v1/namespaces/default/pods", pod)
    assert code == 201
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": created["metadata"]["uid"]}
    _, made = await request_token(server, {"expirationSeconds": 3607, "boundObjectRef": bound})
    claims = jwt.decode(made["status"]["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607
    _, other = await request_token(server, {"expirationSeconds": 3607, "audiences": ["vault"], "boundObjectRef": bound})
    claims = jwt.decode(other["status"]["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3607
    wrong = {**bound, "uid": "other"}
    code, status = await request_token(server, {"boundObjectRef": wrong})
    assert code == 409
    assert "does not match the UID in record" in status["message"]
    await make_account(server, "second")
    code, _ = await request_token(server, {"boundObjectRef": bound}, "second")
    assert code == 400


async def test_discovery_of_keys(server: Server) -> None:
    code, found = await server.ask("GET", "/.well-known/openid-configuration")
    assert code == 200
    assert found["issuer"] == "https://kubernetes.default.svc.cluster.local"
    assert found["id_token_signing_alg_values_supported"] == ["ES256"]
    code, keys = await server.ask("GET", "/openid/v1/jwks")
    assert (code, len(keys["keys"])) == (200, 1)
    code, _ = await server.ask("GET", "/openid/v1/jwks", token="ann")
    assert code == 403


async def test_anonymous_and_impersonated_requests(server: Server) -> None:
    assert (await server.ask("GET", "/version", token=""))[0] == 200
    code, status = await server.ask("GET", "/api/v1/namespaces", token="")
    assert (code, status["message"]) == (
        403,
        'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces" in API group "" at the'
        " cluster scope",
    )
    code, status = await server.ask("GET", "/api/v1/namespaces", **{"Impersonate-User": "bob"})
    assert code == 403
    assert 'User "bob" cannot list' in status["message"]
    code, status = await server.ask("GET", "/api/v1/namespaces", token="ann", **{"Impersonate-User": "admin"})
    assert code == 403
    assert 'users "admin" is forbidden: User "ann" cannot impersonate resource "users"' in status["message"]
