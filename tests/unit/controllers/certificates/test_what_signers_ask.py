"""Subjects, names and usages per signer.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.certificates.wishes import signing_request
from timonel.controllers.certificates.approving import plan_reviews
from timonel.controllers.certificates.requests import (
    API_CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY_UNKNOWN,
    SIGNERS,
    parse_wish,
)

NODE, NODES = "system:node:n1", ("system:nodes",)
CLIENT = ("digital signature", "key encipherment", "client auth")
SERVER = ("digital signature", "key encipherment", "server auth")
BY_NAME = {"dns": ["n1"]}


@pytest.mark.parametrize(
    ("signer", "subject", "usages", "names", "problem"),
    [
        (API_CLIENT, ("jane", ("dev",)), ("client auth",), {}, ""),
        (API_CLIENT, ("jane", ()), CLIENT, {"dns": ["a.example"]}, ""),
        (API_CLIENT, ("jane", ()), SERVER, {}, "invalid usage for client certificate: server auth"),
        (API_CLIENT, ("jane", ()), ("digital signature",), {},
         "missing required usage for client certificate: client auth"),
        (KUBELET_CLIENT, (NODE, NODES), CLIENT, {}, ""),
        (KUBELET_CLIENT, (NODE, NODES), ("client auth", "digital signature"), {}, ""),
        (KUBELET_CLIENT, (NODE, ()), CLIENT, {}, "subject organization is not system:nodes"),
        (KUBELET_CLIENT, (NODE, (*NODES, "more")), CLIENT, {}, "subject organization is not system:nodes"),
        (KUBELET_CLIENT, ("n1", NODES), CLIENT, {}, "subject common name does not begin with system:node:"),
        (KUBELET_CLIENT, (NODE, NODES), CLIENT, BY_NAME, "DNS subjectAltNames are not allowed"),
        (KUBELET_CLIENT, (NODE, NODES), CLIENT, {"ip": ["10.0.0.1"]}, "IP subjectAltNames are not allowed"),
        (KUBELET_CLIENT, (NODE, NODES), CLIENT, {"email": ["a@b.c"]}, "Email subjectAltNames are not allowed"),
        (KUBELET_CLIENT, (NODE, NODES), CLIENT, {"uri": ["spiffe://a"]}, "URI subjectAltNames are not allowed"),
        (KUBELET_CLIENT, (NODE, NODES), (*CLIENT, "server auth"), {},
         "usages did not match [client auth digital signature key encipherment]"),
        (KUBELET_SERVING, (NODE, NODES), SERVER, BY_NAME, ""),
        (KUBELET_SERVING, (NODE, NODES), ("server auth", "digital signature"), {"ip": ["::1"]}, ""),
        (KUBELET_SERVING, (NODE, NODES), SERVER, {}, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, (NODE, NODES), SERVER, {**BY_NAME, "email": ["a@b.c"]},
         "Email subjectAltNames are not allowed"),
        (KUBELET_SERVING, (NODE, NODES), SERVER, {**BY_NAME, "uri": ["spiffe://a"]},
         "URI subjectAltNames are not allowed"),
        (KUBELET_SERVING, (NODE, ()), SERVER, BY_NAME, "subject organization is not system:nodes"),
        (KUBELET_SERVING, ("n1", NODES), SERVER, BY_NAME, "subject common name does not begin with system:node:"),
        (KUBELET_SERVING, (NODE, NODES), CLIENT, BY_NAME,
         "usages did not match [digital signature key encipherment server auth]"),
        (LEGACY_UNKNOWN, ("", ()), ("any",), BY_NAME, ""),
    ],
)  # fmt: skip
def test_why_a_wish_is_refused(
    signer: str, subject: tuple[str, tuple[str, ...]], usages: tuple[str, ...], names: dict[str, Any], problem: str
) -> None:
    wish = parse_wish(signing_request(*subject, signer=signer, names=names))
    assert SIGNERS[signer](wish, usages) == problem


@pytest.mark.parametrize(
    ("asker", "subresources"),
    [("system:bootstrap:abcdef", ["nodeclient"]), (NODE, ["selfnodeclient", "nodeclient"])],
)
def test_which_right_approves_a_kubelet(asker: str, subresources: list[str]) -> None:
    request = signing_request(NODE, NODES, signer=KUBELET_CLIENT, usages=CLIENT, username=asker)
    assert [subresource for subresource, _ in plan_reviews(request)] == subresources


@pytest.mark.parametrize(
    "request_",
    [
        signing_request(NODE, NODES, signer=KUBELET_SERVING, usages=SERVER, names=BY_NAME),
        signing_request("jane", signer=API_CLIENT),
        signing_request("jane", NODES, signer=KUBELET_CLIENT, usages=CLIENT),
        signing_request(NODE, NODES, signer=KUBELET_CLIENT, usages=CLIENT, conditions=[{"type": "Denied"}]),
        signing_request(NODE, NODES, signer=KUBELET_CLIENT, usages=CLIENT, conditions=[{"type": "Approved"}]),
        signing_request(NODE, NODES, signer=KUBELET_CLIENT, usages=CLIENT, certificate=b"x"),
    ],
)
def test_what_is_left_to_others(request_: Any) -> None:
    assert plan_reviews(request_) == []
