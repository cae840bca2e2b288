"""The glance at managed fields that suffices for most writes gives what the long way gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.samples import POD, web_pod
from timonel.api.managed_fields import apply, tracking, update_managed
from timonel.api.objects import Object, copy_object
from timonel.api.schema import schemas

_NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

# A path in the object and what is there afterwards; None takes it away.
_changes = st.sampled_from(
    [
        (("metadata", "labels", "app"), "a"),
        (("metadata", "labels", "app"), "b"),
        (("metadata", "labels", "tier"), "a"),
        (("metadata", "labels", "tier"), None),
        (("metadata", "annotations"), None),
        (("metadata", "annotations", "x"), "y"),
        (("spec", "nodeName"), "n"),
        (("spec", "nodeName"), None),
        (("spec", "containers", 0, "image"), "web:1"),
        (("spec", "containers", 0, "image"), "web:2"),
        (("spec", "containers", 1, "image"), "web:2"),
        (("status", "phase"), "Running"),
        (("status", "phase"), "Failed"),
        (("status", "conditions"), [{"type": "Ready", "status": "True"}]),
        (("status", "conditions"), [{"type": "Ready", "status": "False"}]),
        (("status", "conditions"), None),
    ]
)
_sent = st.sampled_from(["as they are", "as they are", "as they are", "none", "cleared", "copied", "edited"])
_steps = st.lists(
    st.tuples(
        st.lists(_changes, max_size=2),
        st.sampled_from(["m1", "m2", "m3", ""]),
        st.sampled_from(["", "", "status"]),
        st.integers(0, 2),
        _sent,
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def _changed(obj: Object, path: tuple[Any, ...], value: Any) -> None:
    *parents, last = path
    for step in parents:
        obj = obj.setdefault(step, {}) if isinstance(step, str) else obj[step]
    if value is None:
        obj.pop(last, None)
    else:
        obj[last] = value


def _run(steps: Any, glance: bool) -> list[bytes]:
    with pytest.MonkeyPatch.context() as patch:
        if not glance:
            patch.setattr(tracking, "rewritten", lambda *_: None)
        obj = web_pod()
        assert schemas().check(POD, obj).error is None
        update_managed(None, obj, POD, "creator", _NOW, "v1")
        found, now = [], _NOW
        for changes, manager, subresource, seconds, sent, applies in steps:
            now += timedelta(seconds=seconds)
            before, new = orjson.dumps(obj), copy_object(obj)
            for path, value in changes:
                _changed(new, path, value)
            metadata = new["metadata"]
            if applies:
                config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"tier": manager or "a"}}}
                new = apply(obj, config, POD, manager, True, now, "v1")
            else:
                if sent == "none":
                    metadata.pop("managedFields", None)
                elif sent == "cleared":
                    metadata["managedFields"] = [{}]
                elif sent == "edited":
                    metadata["managedFields"] = metadata.get("managedFields", [])[1:]
                elif sent == "as they are" and "managedFields" in metadata:
                    metadata["managedFields"] = obj["metadata"]["managedFields"]
                update_managed(obj, new, POD, manager, now, "v1", subresource)
            assert orjson.dumps(obj) == before
            obj = new
            found.append(orjson.dumps(obj["metadata"].get("managedFields")))
        return found


@given(_steps)
def test_a_glance_gives_what_the_long_way_gives(steps: Any) -> None:
    assert _run(steps, glance=True) == _run(steps, glance=False)


@pytest.mark.parametrize(
    "edit",
    [
        {"operation": "Write"},
        {"apiVersion": ""},
        {"fieldsType": "FieldsV2"},
        {"fieldsV1": {}},
        {"manager": "creator", "time": "2026-01-01T00:00:00Z"},
    ],
)
def test_entries_that_no_server_writes(edit: Object) -> None:
    """Stored by others, or long ago."""
    results = []
    for glance in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not glance:
                patch.setattr(tracking, "rewritten", lambda *_: None)
            old = web_pod()
            update_managed(None, old, POD, "creator", _NOW, "v1")
            odd = {**old["metadata"]["managedFields"][0], "manager": "odd", **edit}
            old["metadata"]["managedFields"].append(odd)
            new = copy_object(old)
            new["metadata"]["labels"]["app"] = "other"
            update_managed(old, new, POD, "creator", _NOW + timedelta(seconds=5), "v1")
            results.append(orjson.dumps(new))
    assert results[0] == results[1]


@given(st.lists(st.tuples(st.lists(_changes, max_size=3), st.sampled_from(["m1", ""])), min_size=1, max_size=6))
def test_who_creates_many_alike_owns_the_same(made: Any) -> None:
    tracking.known_beginnings.cache_clear()
    for number, (changes, manager) in enumerate(made * 2):
        objects = []
        for repeats in (True, False):
            new = web_pod()
            assert schemas().check(POD, new).error is None
            for path, value in changes:
                _changed(new, path, value)
            new["metadata"].update(name=f"web-{number}", uid=str(number))
            update_managed(None, new, POD, manager, _NOW, "v1", repeats=repeats)
            objects.append(orjson.dumps(new))
        assert objects[0] == objects[1]


def test_too_many_managers() -> None:
    steps = [([(("metadata", "labels", f"l{n}"), str(n))], f"m{n}", "", 1, "as they are", False) for n in range(14)]
    assert _run(steps, glance=True) == _run(steps, glance=False)
    assert len(orjson.loads(_run(steps, glance=True)[-1])) <= 11
