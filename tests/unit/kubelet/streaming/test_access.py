"""Who may use the kubelet's API: certificates, tokens, reviews and how long their answers are kept."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from timonel.api.errors import Forbidden, InternalError, ServiceUnavailable, Unauthorized
from timonel.client.delegated_access import User, user_of_certificate
from timonel.kubelet.streaming.access import Access, subresources_of
from timonel.testing.clock import VirtualClock

from .conftest import Node
from .fakes import FakeReviewer

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
READER = User("reader", "7", ("g",), (("k", ("v",)),))


# The table of kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz, with fine-grained authorisation.
@pytest.mark.parametrize(
    ("path", "subresources"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics", ("metrics",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/logs/syslog", ("log",)),
        ("/checkpoint/ns/p/c", ("checkpoint",)),
        ("/pods", ("pods", "proxy")),
        ("/runningpods/", ("pods", "proxy")),
        ("/healthz", ("healthz", "proxy")),
        ("/healthz/ping", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/metricsfoo", ("proxy",)),
        ("/exec/ns/p/c", ("proxy",)),
        ("/containerLogs/ns/p/c", ("proxy",)),
        ("/", ("proxy",)),
    ],
)
def test_which_subresource_opens_a_path(path: str, subresources: tuple[str, ...]) -> None:
    assert subresources_of(path) == subresources


def test_a_certificate_names_user_and_groups() -> None:
    subject = ((("organizationName", "a"),), (("organizationName", "b"),), (("commonName", "me"),))
    assert user_of_certificate({"subject": subject}) == User("me", groups=("a", "b", "system:authenticated"))
    assert user_of_certificate({"subject": ((("organizationName", "a"),),)}) is None
    assert user_of_certificate(None) is None


@pytest.fixture
def reviewer() -> FakeReviewer:
    return FakeReviewer()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def access(reviewer: FakeReviewer, clock: VirtualClock) -> Access:
    return Access(client=reviewer, clock=clock, node_name="node-1")


@pytest.mark.parametrize("header", ["", "Basic eDp5", "Bearer", "Bearer  ", "Bearer bad"])
async def test_without_a_good_credential_nobody_gets_in(access: Access, header: str) -> None:
    with pytest.raises(Unauthorized):
        await access.authenticate(None, header)


async def test_a_token_is_reviewed_once_in_two_minutes(
    access: Access, reviewer: FakeReviewer, clock: VirtualClock
) -> None:
    users = await asyncio.gather(*(access.authenticate(None, "Bearer good") for _ in range(3)))
    assert users == [READER] * 3
    await clock.advance(119)
    await access.authenticate(None, "Bearer good")
    assert len(reviewer.reviews) == 1
    await clock.advance(2)
    await access.authenticate(None, "Bearer good")
    assert len(reviewer.reviews) == 2


async def test_a_failed_review_is_not_remembered(access: Access, reviewer: FakeReviewer) -> None:
    reviewer.error = ServiceUnavailable("away")
    with pytest.raises(Unauthorized):
        await access.authenticate(None, "Bearer good")
    with pytest.raises(
        InternalError, match=r"Authorization error \(user=admin, verb=get, resource=nodes, subresource="
    ):
        await access.authorize(ADMIN, "GET", "/metrics")
    reviewer.error = None
    assert await access.authenticate(None, "Bearer good") == READER
    await access.authorize(ADMIN, "GET", "/metrics")


async def test_the_review_asks_about_this_node(access: Access, reviewer: FakeReviewer) -> None:
    reviewer.allowed.add(("reader", "get", "stats"))
    await access.authorize(READER, "GET", "/stats/summary")
    assert reviewer.reviews[0]["spec"] == {
        "user": "reader",
        "uid": "7",
        "groups": ["g"],
        "extra": {"k": ["v"]},
        "resourceAttributes": {
            "verb": "get",
            "version": "v1",
            "resource": "nodes",
            "subresource": "stats",
            "name": "node-1",
        },
    }


async def test_any_one_of_the_subresources_is_enough(access: Access, reviewer: FakeReviewer) -> None:
    reviewer.allowed.add(("reader", "get", "proxy"))
    await access.authorize(READER, "GET", "/pods")
    with pytest.raises(Forbidden) as refusal:
        await access.authorize(READER, "POST", "/pods")
    assert refusal.value.message == (
        "Forbidden (user=reader, verb=create, resource=nodes, subresource(s)=[pods proxy])\n"
    )


async def test_a_yes_is_kept_five_minutes_and_a_no_thirty_seconds(
    access: Access, reviewer: FakeReviewer, clock: VirtualClock
) -> None:
    with pytest.raises(Forbidden):
        await access.authorize(READER, "GET", "/metrics")
    reviewer.allowed.add(("reader", "get", "metrics"))
    await clock.advance(29)
    with pytest.raises(Forbidden):
        await access.authorize(READER, "GET", "/metrics")
    await clock.advance(2)
    await access.authorize(READER, "GET", "/metrics")
    reviewer.allowed.clear()
    await clock.advance(299)
    await access.authorize(READER, "GET", "/metrics")
    await clock.advance(2)
    with pytest.raises(Forbidden):
        await access.authorize(READER, "GET", "/metrics")


async def test_over_the_wire(node: Node) -> None:
    async with node.client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok")
    bare = aiohttp.TCPConnector(ssl=node.certificates.client_context(None))
    async with aiohttp.ClientSession(node.url, connector=bare) as client:
        async with client.get("/healthz") as answer:
            assert (answer.status, await answer.text()) == (401, "Unauthorized")
        async with client.get("/healthz", headers={"Authorization": "Bearer good"}) as answer:
            assert answer.status == 403
    stranger = aiohttp.TCPConnector(ssl=node.certificates.client_context("stranger"))
    async with aiohttp.ClientSession(node.url, connector=stranger) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/healthz")
