"""Sizes of a Deployment's ReplicaSets: bounds, proportions, and the promises of a rolling update."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timonel.controllers.deployment.revisions import DESIRED_REPLICAS, MAX_REPLICAS
from timonel.controllers.deployment.scaling import Bounds, Sizes, bounds_of, is_scaling_event, roll, scale


def deployment(replicas, surge="25%", unavailable="25%", kind="RollingUpdate"):
    strategy = {"type": kind}
    if kind == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"metadata": {"name": "web"}, "spec": {"replicas": replicas, "strategy": strategy}}


def replica_set(name, replicas, available=None, *, desired=None, maximum=None, created=0):
    annotations = {}
    if desired is not None:
        annotations[DESIRED_REPLICAS] = str(desired)
    if maximum is not None:
        annotations[MAX_REPLICAS] = str(maximum)
    created_at = f"2026-01-01T00:00:{created:02}Z"
    return {
        "metadata": {"name": name, "uid": name, "annotations": annotations, "creationTimestamp": created_at},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": replicas if available is None else available},
    }


# Documented: surge rounds up, unavailable rounds down; if both come to 0, one may be unavailable.
@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (10, 0, 1, (0, 1)),
        (2, "0%", "1%", (0, 1)),
        (10, "0%", "0%", (0, 1)),
        (4, 2, "100%", (2, 4)),
        (2, 0, 5, (0, 2)),
        (0, "25%", "25%", (0, 0)),
        (100, "33%", "33%", (33, 33)),
    ],
)
def test_bounds_of_a_rolling_update(replicas, surge, unavailable, expected):
    bounds = bounds_of(deployment(replicas, surge, unavailable))
    assert (bounds.surge, bounds.unavailable) == expected


def test_recreate_has_no_room_either_way():
    assert bounds_of(deployment(4, kind="Recreate")) == Bounds(4, 0, 0)


def sizes_after(sizes):
    return {item["metadata"]["name"]: sizes.of(item) for item in sizes.all}


@pytest.mark.parametrize(
    ("bounds", "new", "old", "expected"),
    [
        # The new one grows by the surge first.
        (Bounds(10, 3, 2), ("n", 0, 0), [("o", 10, 10)], {"n": 3, "o": 10}),
        # It cannot grow: old ones shrink as far as availability allows.
        (Bounds(10, 3, 2), ("n", 3, 0), [("o", 10, 10)], {"n": 3, "o": 8}),
        # New ones that became available let old ones go.
        (Bounds(10, 3, 2), ("n", 5, 5), [("o", 8, 8)], {"n": 5, "o": 3}),
        # Unavailable old ones go first, even if the younger ReplicaSet is the one that has them.
        (Bounds(10, 0, 2), ("n", 0, 0), [("o", 8, 8), ("p", 2, 0)], {"n": 0, "o": 8, "p": 0}),
        # A new version that never becomes ready stops the rollout.
        (Bounds(10, 3, 2), ("n", 5, 0), [("o", 8, 8)], {"n": 5, "o": 8}),
        # More than wished: shrink the new one.
        (Bounds(3, 1, 0), ("n", 5, 5), [], {"n": 3}),
        # All done: nothing.
        (Bounds(3, 1, 0), ("n", 3, 3), [("o", 0, 0)], {"n": 3, "o": 0}),
    ],
)
def test_one_step_of_rolling(bounds, new, old, expected):
    name, replicas, available = new
    first = replica_set(name, replicas, available, created=50)
    # Room for growth is taken into account only if there is any.
    if sum(item[1] for item in old) + replicas < bounds.max_total and replicas < bounds.desired:
        expected = {**expected, name: min(bounds.desired, bounds.max_total - sum(item[1] for item in old))}
        expected = {**{item[0]: item[1] for item in old}, name: expected[name]}
    sizes = Sizes(first, [replica_set(*item, created=index) for index, item in enumerate(old)])
    roll(bounds, sizes)
    assert sizes_after(sizes) == expected


def test_scaling_event_is_a_wish_that_differs_from_the_noted_one():
    sizes = Sizes(replica_set("n", 3, desired=3), [replica_set("o", 0, desired=7)])
    assert not is_scaling_event(deployment(3), sizes)
    assert is_scaling_event(deployment(5), sizes)


# The documented example: 10 replicas, surge 3, unavailable 2; mid-rollout with 8 old and 5 new, scaled to 15.
def test_proportional_scaling_as_documented():
    new, old = replica_set("n", 5, desired=10, maximum=13), replica_set("o", 8, desired=10, maximum=13)
    sizes = Sizes(new, [old])
    subject = deployment(15, 3, 2)
    assert scale(subject, bounds_of(subject), sizes)
    assert sizes_after(sizes) == {"o": 11, "n": 7}


@pytest.mark.parametrize(
    ("replicas", "sizes", "expected"),
    [
        (0, (5, 5), (0, 0)),
        (20, (5, 5), (10, 10)),
        (5, (5, 5), (2, 3)),  # of equals, the older shrinks first and rounding's rest is its as well
        (13, (8, 2), (10, 3)),
    ],
)
def test_proportional_scaling(replicas, sizes, expected):
    total = sum(sizes)
    old = replica_set("o", sizes[0], maximum=total, created=1)
    new = replica_set("n", sizes[1], maximum=total, created=2)
    state = Sizes(new, [old])
    subject = deployment(replicas, 0, 1)
    assert scale(subject, bounds_of(subject), state)
    assert (state.of(old), state.of(new)) == expected


def test_only_active_one_takes_the_whole_wish():
    sizes = Sizes(replica_set("n", 3), [replica_set("o", 0)])
    assert not scale(deployment(7), bounds_of(deployment(7)), sizes)
    assert sizes_after(sizes) == {"o": 0, "n": 7}


def test_saturated_new_one_ends_the_old_ones():
    sizes = Sizes(replica_set("n", 3, 3, desired=3), [replica_set("o", 1)])
    scale(deployment(3), bounds_of(deployment(3)), sizes)
    assert sizes_after(sizes) == {"o": 0, "n": 3}


class World:
    """ReplicaSets that follow their sizes one pod at a time, in whatever order hypothesis wishes."""

    def __init__(self, bounds, old):
        self.bounds = bounds
        self.wanted = {**{f"o{index}": size for index, size in enumerate(old)}, "n": 0}
        self.pods = {name: [True] * size for name, size in self.wanted.items()}
        self.noted = {name: sum(pods) for name, pods in self.pods.items()}

    def plan(self):
        def made(name, index):
            return replica_set(name, self.wanted[name], self.noted[name], created=index)

        old = [made(name, index) for index, name in enumerate(sorted(self.wanted)) if name != "n"]
        sizes = Sizes(made("n", 59), old)
        roll(self.bounds, sizes)
        for item in sizes.all:
            self.wanted[item["metadata"]["name"]] = sizes.of(item)

    def act(self, name):
        """The ReplicaSet makes or deletes a pod, those not available first."""
        pods = self.pods[name]
        if len(pods) < self.wanted[name]:
            pods.append(False)
        elif len(pods) > self.wanted[name]:
            pods.sort()
            pods.pop(0)

    def become_ready(self, name):
        pods = self.pods[name]
        if False in pods:
            pods[pods.index(False)] = True

    def note(self, name):
        self.noted[name] = sum(self.pods[name])

    @property
    def available(self):
        return sum(map(sum, self.pods.values()))

    @property
    def total(self):
        return sum(map(len, self.pods.values()))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_rolling_keeps_its_bounds_and_ends(data):
    desired = data.draw(st.integers(1, 12))
    surge = data.draw(st.integers(0, 5))
    unavailable = data.draw(st.integers(0 if surge else 1, desired))
    bounds = Bounds(desired, surge, unavailable)
    first = data.draw(st.integers(0, desired))
    world = World(bounds, [first, desired - first])
    names = sorted(world.wanted)
    actions = st.tuples(st.sampled_from(["plan", "act", "become_ready", "note"]), st.sampled_from(names))
    for action, name in data.draw(st.lists(actions, max_size=200)):
        if action == "plan":
            world.plan()
            assert sum(world.wanted.values()) <= bounds.max_total
        else:
            getattr(world, action)(name)
        assert world.available >= bounds.min_available
    # Fairness ends it: everybody gets a turn, again and again.
    for _ in range(20 * (desired + surge) + 20):
        world.plan()
        for name in names:
            for _ in range(desired + surge):
                world.act(name)
                world.become_ready(name)
            world.note(name)
        assert world.available >= bounds.min_available
    assert world.pods["n"] == [True] * desired
    assert all(not world.pods[name] for name in names if name != "n")
