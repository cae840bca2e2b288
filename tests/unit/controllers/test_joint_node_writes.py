"""What controllers of one account change of a Node at the same moment is one write."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controllers.cluster import Cluster, node
from timonel.api.errors import Conflict
from timonel.api.objects import Object
from timonel.api.refs import NODES
from timonel.controllers.nodes.health import NOT_READY
from timonel.controllers.nodes.joint_writes import PARALLEL, WORKERS, JointNodeWrites
from timonel.testing.fake_client import FakeClient

NETWORK: Object = {"metadata": {"uid": "u"}, "spec": {"podCIDR": "10.244.0.0/24"}}
TAINTS: Object = {"metadata": {"resourceVersion": "7"}, "spec": {"taints": None}}


class Recording:
    """Of a client, what is asked for; `error` is what it answers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[Object] = []
        self.error = error

    async def patch(self, ref: object, name: str, patch: Object, *, type: str) -> Object:
        self.asked.append(patch)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return {"metadata": {"name": name, "resourceVersion": str(len(self.asked))}}


def joint(client: Recording) -> JointNodeWrites:
    return JointNodeWrites(client)  # type: ignore[arg-type]


async def test_what_comes_together_goes_out_together() -> None:
    client = Recording()
    writes = joint(client)
    one, other, elsewhere = await asyncio.gather(
        writes.patch("n", NETWORK), writes.patch("n", TAINTS), writes.patch("m", TAINTS)
    )
    assert client.asked == [
        {"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"podCIDR": "10.244.0.0/24", "taints": None}},
        TAINTS,
    ]
    assert one == other
    assert elsewhere["metadata"]["name"] == "m"
    await writes.patch("n", TAINTS)
    assert len(client.asked) == 3


async def test_what_contradicts_goes_out_alone() -> None:
    client = Recording()
    writes = joint(client)
    newer = {"metadata": {"resourceVersion": "8"}, "spec": {"taints": []}}
    await asyncio.gather(writes.patch("n", TAINTS), writes.patch("n", newer), writes.patch("n", NETWORK))
    assert newer in client.asked
    assert len(client.asked) == 2


async def test_all_are_told_that_it_failed() -> None:
    writes = joint(Recording(Conflict("somebody was quicker")))
    answers = await asyncio.gather(writes.patch("n", NETWORK), writes.patch("n", TAINTS), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Conflict, Conflict]


async def test_one_that_gives_up_leaves_the_write_to_the_others() -> None:
    client = Recording()
    writes = joint(client)
    first, second = (asyncio.create_task(writes.patch("n", patch)) for patch in (NETWORK, TAINTS))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["metadata"]["name"] == "n"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(client.asked) == 1


async def test_controllers_of_different_pace_meet_while_the_server_is_busy() -> None:
    """One is well ahead of the other; what it asked for still waits for its turn."""
    client = Recording()
    writes = joint(client)
    names = [f"n{number}" for number in range(WORKERS)]
    ahead = [asyncio.create_task(writes.patch(name, NETWORK)) for name in names]
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.gather(*ahead, *(writes.patch(name, TAINTS) for name in names))
    assert len(client.asked) <= WORKERS + 2 * PARALLEL


async def test_a_new_node_gets_its_network_and_is_freed_of_its_taint_in_one_write() -> None:
    new = node("n1")
    del new["spec"]
    new["spec"] = {"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]}
    async with Cluster(new) as cluster:
        await cluster.run(2)
        client: FakeClient = cluster.client
        [made] = client.objects(NODES)
        assert made["spec"]["podCIDR"] == "10.244.0.0/24"
        assert not made["spec"].get("taints")
        writes = [write for write in client.writes if write.ref == NODES and not write.subresource]
        assert len(writes) == 1
