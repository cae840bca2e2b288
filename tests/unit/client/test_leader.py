"""One leads; a free, expired or own Lease is taken at once."""

import asyncio

import pytest

from timonel.api.errors import ServiceUnavailable
from timonel.api.refs import LEASES
from timonel.client.leader import LeaderConfig, LeaderElector, LeadershipLost
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.fake_client import FakeClient


def elector(client, clock, identity):
    return LeaderElector(client, LeaderConfig(name="timonel-manager", identity=identity), clock=clock)


async def forever():
    await asyncio.get_running_loop().create_future()


async def stop(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_alone_leads_at_once_and_again_after_a_crash():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    await elector(client, clock, "a").acquire()
    await elector(client, clock, "a").acquire()
    assert clock.monotonic() == 0
    lease = client.objects(LEASES)[0]
    assert lease["metadata"]["namespace"] == "kube-system"
    assert lease["spec"]["holderIdentity"] == "a"
    assert lease["spec"]["leaseTransitions"] == 0


async def test_another_waits_until_the_lease_expires():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    await elector(client, clock, "dead").acquire()
    second = elector(client, clock, "b")
    task = asyncio.create_task(second.acquire())
    await clock.advance(14)
    assert not second.is_leader
    await clock.advance(2)
    assert second.is_leader
    assert client.objects(LEASES)[0]["spec"]["leaseTransitions"] == 1
    await task


async def test_another_waits_while_the_lease_is_renewed_and_follows_a_release():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    first, second = elector(client, clock, "a"), elector(client, clock, "b")
    leading = asyncio.create_task(first.run(forever))
    await settle()
    waiting = asyncio.create_task(second.run(forever))
    await clock.advance(120)
    assert (first.is_leader, second.is_leader) == (True, False)
    await stop(leading)
    await clock.advance(0.1)
    assert second.is_leader
    await stop(waiting)


async def test_leader_that_cannot_renew_gives_up_before_others_may_take_over():
    clock = VirtualClock()
    client = FakeClient(clock=clock)
    leading = asyncio.create_task(elector(client, clock, "a").run(forever))
    await settle()
    client.fail(ServiceUnavailable("away"), times=1000)
    await clock.advance(14)
    with pytest.raises(ExceptionGroup) as caught:
        await leading
    assert caught.group_contains(LeadershipLost)


class SilentServer(FakeClient):
    """Takes renewals and never answers them."""

    async def update(self, ref, obj, **options):
        if ref == LEASES and obj["spec"]["holderIdentity"]:
            await forever()
        return await super().update(ref, obj, **options)


async def test_leader_whose_renewal_is_never_answered_gives_up_before_others_may_take_over():
    clock = VirtualClock()
    client = SilentServer(clock=clock)
    leading = asyncio.create_task(elector(client, clock, "a").run(forever))
    await settle()
    await clock.advance(14)
    assert leading.done()
    with pytest.raises(ExceptionGroup) as caught:
        await leading
    assert caught.group_contains(LeadershipLost)
