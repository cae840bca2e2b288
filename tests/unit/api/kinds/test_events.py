"""Events in two shapes over one storage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.api import refs
from timonel.api.kinds.events import CORE_TO_V1, from_core, to_core
from timonel.api.objects import Object

from .samples import findings, update_findings

NEW = {
    "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "ns"},
    "eventTime": "2026-03-01T12:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "c-1",
    "action": "Bind", "reason": "Bound", "type": "Normal", "note": "done",
    "regarding": {"kind": "Pod", "name": "web", "namespace": "ns"},
}  # fmt: skip
OLD = {
    "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "ns"}, "reason": "Started",
    "message": "started", "type": "Normal", "involvedObject": {"kind": "Pod", "name": "web", "namespace": "ns"},
    "source": {"component": "kubelet"}, "firstTimestamp": "2026-03-01T12:00:00Z",
    "lastTimestamp": "2026-03-01T12:00:00Z", "count": 1,
}  # fmt: skip


def test_fields_change_their_names() -> None:
    core = to_core(NEW)
    assert core["apiVersion"] == "v1"
    assert (core["message"], core["involvedObject"]["name"], core["reportingComponent"]) == (
        "done", "web", "example.com/c",
    )  # fmt: skip
    assert "note" not in core
    shaped = from_core(OLD)
    assert shaped["apiVersion"] == "events.k8s.io/v1"
    assert shaped["note"] == "started"
    assert shaped["deprecatedSource"] == {"component": "kubelet"}
    assert shaped["deprecatedCount"] == 1
    assert shaped["deprecatedFirstTimestamp"] == "2026-03-01T12:00:00Z"


fields = st.sampled_from([*CORE_TO_V1, "reason", "type", "action", "metadata", "related"])


@given(st.dictionaries(fields, st.integers() | st.text()))
def test_there_and_back_again(body: dict[str, Any]) -> None:
    core = {"reportingComponent": "", "reportingInstance": "", "involvedObject": {}, **body, "apiVersion": "v1"}
    before = dict(core)
    assert to_core(from_core(core)) == core
    assert core == before


def test_sound_events_pass() -> None:
    assert findings(refs.EVENTS, OLD) == []
    assert findings(refs.EVENTS, to_core(NEW)) == []
    assert findings(refs.EVENTS_V1, to_core(NEW)) == []


@pytest.mark.parametrize(
    ("ref", "event", "expected"),
    [
        (
            refs.EVENTS,
            {**OLD, "involvedObject": {"namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
        (
            refs.EVENTS,
            to_core({**NEW, "reportingInstance": "", "action": "", "note": "x" * 1025}),
            [
                "reportingInstance: Required value", "action: Required value",
                'message: Invalid value: "": can have at most 1024 characters',
            ],
        ),
        (
            refs.EVENTS_V1,
            OLD,
            [
                "eventTime: Required value", 'firstTimestamp: Invalid value: "": needs to be unset',
                'lastTimestamp: Invalid value: "": needs to be unset', 'count: Invalid value: "": needs to be unset',
                'source: Invalid value: "": needs to be unset',
            ],
        ),
        (
            refs.EVENTS_V1,
            to_core({**NEW, "type": "Odd", "series": {"count": 1}}),
            [
                'series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value",
                'type: Invalid value: "": has invalid value: Odd',
            ],
        ),
    ],
)  # fmt: skip
def test_rules(ref: Any, event: Object, expected: list[str]) -> None:
    assert findings(ref, event) == expected


def test_new_events_change_only_their_series() -> None:
    def repeat(obj: Object) -> None:
        obj["series"] = {"count": 2, "lastObservedTime": "2026-03-01T12:00:01.000000Z"}

    def reword(obj: Object) -> None:
        obj["message"] = "other"

    assert update_findings(refs.EVENTS_V1, to_core(NEW), repeat) == []
    assert update_findings(refs.EVENTS_V1, to_core(NEW), reword) == [
        'message: Invalid value: "other": field is immutable'
    ]
    assert update_findings(refs.EVENTS, OLD, reword) == []
