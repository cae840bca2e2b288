"""Kubelets' requests are approved after asking whether whoever made them may have them."""

from __future__ import annotations

from typing import Any

from tests.unit.controllers.certificates.wishes import signing_request
from tests.unit.controllers.loops import running
from timonel.api.objects import Object
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS, ResourceRef
from timonel.client.informer import Informers
from timonel.controllers.certificates import RequestApprover
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_client import FakeClient

NODE = "system:node:n1"
USAGES = ("digital signature", "key encipherment", "client auth")


class Asked(FakeClient):
    """Answers SubjectAccessReviews: `allowed` names the subresources that may be created."""

    def __init__(self, *objects: Object, allowed: str, clock: VirtualClock) -> None:
        super().__init__(*objects, clock=clock)
        self.allowed = allowed
        self.reviews: list[Object] = []

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "", **options: Any) -> Object:
        if ref != SUBJECT_ACCESS_REVIEWS:
            return await super().create(ref, obj, namespace, **options)
        self.reviews.append(obj["spec"])
        subresource = obj["spec"]["resourceAttributes"]["subresource"]
        return obj | {"status": {"allowed": subresource == self.allowed}}


def request(asker: str) -> Object:
    return signing_request(
        NODE, ["system:nodes"], signer="kubernetes.io/kube-apiserver-client-kubelet", usages=USAGES,
        username=asker, groups=["system:bootstrappers"], uid="u", extra={"a": ["b"]},
    )  # fmt: skip


async def approve(asker: str, allowed: str, seconds: float = 1.0) -> Asked:
    clock = VirtualClock()
    client = Asked(request(asker), allowed=allowed, clock=clock)
    async with running(RequestApprover(client=client, informers=Informers(client, clock=clock), clock=clock)):
        await clock.advance(seconds)
    return client


def condition(client: FakeClient) -> Object | None:
    (found,) = client.objects(CERTIFICATE_SIGNING_REQUESTS)
    conditions = (found.get("status") or {}).get("conditions") or [None]
    assert len(conditions) == 1
    return conditions[0]


async def test_a_new_node() -> None:
    client = await approve("system:bootstrap:abcdef", "nodeclient")
    assert condition(client) == {
        "type": "Approved",
        "status": "True",
        "reason": "AutoApproved",
        "message": "Auto approving kubelet client certificate after SubjectAccessReview.",
    }
    assert [write.subresource for write in client.written()] == ["approval"]
    assert client.reviews == [
        {
            "user": "system:bootstrap:abcdef",
            "uid": "u",
            "groups": ["system:bootstrappers"],
            "extra": {"a": ["b"]},
            "resourceAttributes": {
                "group": "certificates.k8s.io",
                "version": "*",
                "resource": "certificatesigningrequests",
                "subresource": "nodeclient",
                "verb": "create",
            },
        }
    ]


async def test_a_node_that_renews_its_own() -> None:
    found = condition(await approve(NODE, "selfnodeclient"))
    assert found is not None
    assert found["message"] == "Auto approving self kubelet client certificate after SubjectAccessReview."


async def test_without_the_right_it_waits_ever_longer() -> None:
    client = await approve("mallory", "selfnodeclient", seconds=3600)
    assert condition(client) is None
    assert 3 < len(client.reviews) < 20
