"""Whether a write fits in, and the sums behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api.objects import Object
from timonel.api.quota.amounts import minus, plus, rounded_up
from timonel.api.quota.charging import Account, Change, QuotaExceeded, charges
from timonel.api.quota.counting import count_usage, settled_usage
from timonel.api.quota.evaluator import Surroundings
from timonel.api.quota.registry import evaluator_for

AROUND = Surroundings(now=datetime(2026, 1, 1, tzinfo=UTC))


def quota(name: str, hard: Object, used: Object, **spec: Any) -> Account:
    return Account.of({"metadata": {"name": name}, "spec": {"hard": hard, **spec},
                       "status": {"hard": hard, "used": used}})  # fmt: skip


def pod(cpu: str, **spec: Any) -> Object:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {}, "spec": {"containers": [container], **spec}}


def change(kind: str, new: Object, old: Object | None = None, subresource: str = "") -> Change:
    return Change(evaluator_for(kind), "CREATE" if old is None else "UPDATE", subresource, new, old)


@pytest.mark.parametrize(
    ("one", "other", "total", "left"),
    [
        ("0", "252Mi", "252Mi", "0"),
        ("1Gi", "512Mi", "1536Mi", "512Mi"),
        ("500m", "1", "1500m", "0"),
        ("2", "500m", "2500m", "1500m"),
        ("1e3", "1e3", "2e3", "0"),
    ],
)
def test_sums_keep_the_spelling_of_their_first_part(one: str, other: str, total: str, left: str) -> None:
    assert (plus(one, other), minus(one, other)) == (total, left)


def test_storage_is_in_whole_bytes() -> None:
    assert [rounded_up(text) for text in ("1Gi", "1.5", "1001m")] == ["1Gi", "2", "2"]


def test_updates_are_charged_the_difference_and_only_where_they_counted_before() -> None:
    hard, used = {"requests.cpu": "10", "pods": "10"}, {"requests.cpu": "1", "pods": "1"}
    everything = quota("everything", hard, used)
    resized = change("pods", pod("3"), pod("1"), "resize")
    assert charges([everything], resized, AROUND) == {"everything": {"requests.cpu": "2"}}
    shrunk = change("pods", pod("1"), pod("3"), "resize")
    assert charges([everything], shrunk, AROUND) == {}
    # A pod that comes into a scope is charged in full there.
    ending = quota("ending", hard, used, scopes=["Terminating"])
    moved = change("pods", pod("1", activeDeadlineSeconds=1), pod("1"))
    assert charges([everything, ending], moved, AROUND) == {"ending": {"requests.cpu": "1", "pods": "1"}}


def test_only_what_rises_is_held_against_the_limit() -> None:
    # The limit was lowered below what is used: what does not need more may still change.
    full = quota("full", {"services": "1", "services.nodeports": "5"}, {"services": "3", "services.nodeports": "2"})
    plain, ported = {"spec": {"type": "ClusterIP", "ports": [{}]}}, {"spec": {"type": "NodePort", "ports": [{}]}}
    assert charges([full], change("services", ported, plain), AROUND) == {"full": {"services.nodeports": "1"}}
    with pytest.raises(QuotaExceeded) as caught:
        charges([full], change("services", plain), AROUND)
    assert str(caught.value) == "exceeded quota: full, requested: services=1, used: services=3, limited: services=1"


def test_a_status_is_charged_even_beyond_the_limit() -> None:
    full = quota("full", {"requests.storage": "1Gi"}, {"requests.storage": "1Gi"})
    old = {"metadata": {}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {}}
    new = {**old, "status": {"allocatedResources": {"storage": "2Gi"}}}
    found = charges([full], change("persistentvolumeclaims", new, old, "status"), AROUND)
    assert found == {"full": {"requests.storage": "1Gi"}}


def test_negative_use_is_refused() -> None:
    account = quota("q", {"requests.cpu": "1"}, {"requests.cpu": "0"})
    with pytest.raises(QuotaExceeded, match=r"quota usage is negative for resource\(s\): cpu,requests.cpu"):
        charges([account], change("pods", pod("-1")), AROUND)


def test_counting_anew_leaves_out_what_is_not_known() -> None:
    spec = {"hard": {"requests.cpu": "9", "pods": "9", "count/jobs.batch": "9", "count/things.example.com": "9"}}
    objects = {"pods": [pod("1"), pod("500m")], "jobs.batch": None}
    found = count_usage(
        {"metadata": {}, "spec": spec},
        [evaluator_for(kind) for kind in objects],
        lambda evaluator: objects[evaluator.group_resource],
        AROUND,
    )
    assert found == {"requests.cpu": "1500m", "pods": "2"}


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_settled_count_never_forgets_what_was_charged(before: int, gone: int, charged: int, unseen: int) -> None:
    """`before` were recorded and seen, `gone` of them deleted; of those `charged` since, `unseen` are not counted."""
    gone, unseen = min(gone, before), min(unseen, charged)
    counted = before - gone + charged - unseen
    found = settled_usage({"n": str(counted)}, {"n": str(before + charged)}, {"n": str(before)})
    really = before - gone + charged
    assert really <= int(found["n"]) <= before + charged
    # And all is given back once everything is seen and nothing is charged any more.
    settled = settled_usage({"n": str(really)}, found, found)
    assert int(settled["n"]) == really
