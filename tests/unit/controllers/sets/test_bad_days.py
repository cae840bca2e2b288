"""Whatever happens on the way, a set arrives: lost and failed pods, refusals, broken watches, new managers."""

import random
from contextlib import suppress

import pytest

from tests.unit.controllers.cluster import Cluster, node
from tests.unit.controllers.sets import test_daemon_sets, test_stateful_sets
from timonel.api.errors import ServiceUnavailable, conflict, forbidden
from timonel.api.objects import is_deleting, name_of
from timonel.api.placement import pinned_node
from timonel.api.refs import CONTROLLER_REVISIONS, DAEMON_SETS, PODS, STATEFUL_SETS

NODES = [node(f"n{number}") for number in range(1, 5)]


def one_of_each(cluster):
    """At no moment two living pods for the same place."""
    living = [pod for pod in cluster.pods if not is_deleting(pod)]
    places = [name_of(pod) if name_of(pod).startswith("web-") else pinned_node(pod["spec"]) for pod in living]
    assert len(places) == len(set(places)), places


async def disturb(cluster, ref, rng):
    client, pods = cluster.client, cluster.client.objects(PODS)
    victim = name_of(rng.choice(pods)) if pods else ""
    match rng.randrange(9):
        case 0 if victim:
            client.remove(PODS, victim, "default")
        case 1 if victim:
            client.change(PODS, victim, "default", lambda pod: pod.setdefault("status", {}).update(phase="Failed"))
        case 2 if victim:
            with suppress(ServiceUnavailable):  # as an earlier disturbance may have made it
                await client.delete(PODS, victim, "default")
        case 3:
            client.fail(forbidden(PODS, "", "exceeded quota"), verb="create", ref=PODS, times=rng.randrange(4))
        case 4:
            client.fail(conflict(ref, "x"), verb="update", ref=ref, times=rng.randrange(3))
        case 5:
            client.fail(ServiceUnavailable("away"), times=rng.randrange(6))
        case 6:
            client.disconnect()
        case 7:
            client.fail(ServiceUnavailable("away"), verb="create", ref=CONTROLLER_REVISIONS)
            set_image(cluster, ref, f"a:{rng.randrange(3)}")
        case 8:
            set_image(cluster, ref, f"a:{rng.randrange(3)}")


def set_image(cluster, ref, image):
    (test_stateful_sets if ref == STATEFUL_SETS else test_daemon_sets).set_image(cluster, image)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["ordered", "parallel", "daemons", "surge"])
async def test_it_arrives(kind, seed):
    rng = random.Random(f"{kind} {seed}")
    without = test_daemon_sets.OTHERS
    if kind in ("ordered", "parallel"):
        policy = {"podManagementPolicy": "Parallel"} if kind == "parallel" else {}
        ref, made = STATEFUL_SETS, test_stateful_sets.stateful_set(4, revisionHistoryLimit=1, **policy)
    else:
        limits = {"surge": 1, "unavailable": 0} if kind == "surge" else {}
        ref, made = DAEMON_SETS, test_daemon_sets.daemon_set(revisionHistoryLimit=1, **limits)
    client = clock = None
    for _ in range(4):  # managers, one after the other
        objects = () if client else (made, *NODES)
        async with Cluster(*objects, client=client, clock=clock, without=without) as cluster:
            client, clock = cluster.client, cluster.clock
            if kind != "surge":
                cluster.observe = lambda cluster=cluster: one_of_each(cluster)
            for _ in range(6):
                await disturb(cluster, ref, rng)
                await cluster.run(rng.choice([0.5, 3]))
    async with Cluster(client=client, clock=clock, without=without) as cluster:
        set_image(cluster, ref, "a:9")
        # An ordered set whose pod of a broken template never gets well waits for somebody; here all get well.
        await cluster.run(100)
        assert [pod["spec"]["containers"][0]["image"] for pod in cluster.pods] == ["a:9"] * 4
        one_of_each(cluster)
        assert len(client.objects(CONTROLLER_REVISIONS)) <= 2
        status = client.objects(ref)[0]["status"]
        assert status.get("availableReplicas", status.get("numberAvailable")) == 4
        writes = client.written()
        await cluster.run(30)
        assert client.written() == writes
