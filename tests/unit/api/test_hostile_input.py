"""Whatever a client sends is either taken or refused with a Status: nothing else comes out of the machinery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.api.samples import DEPLOYMENT, POD, web_deployment, web_pod
from timonel.api.decode import decode
from timonel.api.errors import ApiError, BadRequest
from timonel.api.managed_fields import apply, update_managed
from timonel.api.objects import copy_object
from timonel.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from timonel.api.schema import schemas

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_KEYS = st.sampled_from(
    [
        "metadata", "spec", "status", "labels", "finalizers", "managedFields", "template", "containers", "name", "env",
        "value", "ports", "containerPort", "protocol", "resources", "limits", "cpu", "volumes", "emptyDir", "replicas",
        "strategy", "ownerReferences", "uid", "$patch", "$retainKeys", "$setElementOrder/containers",
        "$setElementOrder/finalizers", "$deleteFromPrimitiveList/finalizers", "$deleteFromPrimitiveList", "x", "",
        "creationTimestamp", "conditions", "type", "tolerations", "kind", "apiVersion", "operation", "fieldsV1",
    ]
)  # fmt: skip
_SCALARS = st.sampled_from(
    [None, True, 0, 1, -1, 1.5, 2**40, "", "a", "nginx", "delete", "replace", "merge", "1Gi", "zz"]
)
_JSON = st.recursive(
    _SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=4),
    max_leaves=14,
)


@st.composite
def _graft(draw: st.DrawFn, base: Any) -> Any:
    """A good object with something wrong, or something else, at one place in it."""
    node = base
    while True:
        steps = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not steps:
            return base
        step = draw(st.sampled_from(steps))
        if isinstance(node[step], (dict, list)) and node[step] and draw(st.booleans()):
            node = node[step]
            continue
        node[step] = draw(_JSON)
        return base


_PODS = st.builds(web_pod).flatmap(_graft)
_DEPLOYMENTS = st.builds(web_deployment).flatmap(_graft)


@settings(max_examples=75, deadline=None)
@given(_PODS | _JSON)
def test_checking(obj: Any) -> None:
    checked = schemas().check(POD, obj)
    if checked.error is None:
        once = copy_object(obj)
        assert schemas().check(POD, obj).error is None
        assert obj == once


@settings(max_examples=75, deadline=None)
@given(_JSON | _PODS, st.sampled_from([apply_merge_patch, apply_json_patch]))
def test_patching(patch: Any, patcher: Any) -> None:
    doc = web_pod()
    for attempt in (lambda: patcher(doc, patch), lambda: apply_strategic_patch(doc, patch, POD)):
        try:
            orjson.dumps(attempt())
        except ApiError:
            pass
    assert doc == web_pod()


@settings(max_examples=75, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", 3]),
                "path": st.lists(st.sampled_from(["", "spec", "containers", "0", "-", "-1", "9", "name", "~1"])).map(
                    lambda steps: "/".join(["", *steps])
                ),
                "from": st.sampled_from(["/spec", "/spec/containers/0", "/x/y", "", 1]),
                "value": _JSON,
            }
        ),
        max_size=4,
    )
)
def test_json_patching(operations: Any) -> None:
    try:
        orjson.dumps(apply_json_patch(web_pod(), operations))
    except ApiError:
        pass


@settings(max_examples=75, deadline=None)
@given(_DEPLOYMENTS, _DEPLOYMENTS)
def test_applying_and_tracking(config: Any, live: Any) -> None:
    if schemas().check(DEPLOYMENT, live).error is not None or not isinstance(live.get("metadata"), dict):
        live = web_deployment()
    update_managed(None, live, DEPLOYMENT, "creator", _NOW, "apps/v1")
    for force in (False, True):
        try:
            result = apply(live, config, DEPLOYMENT, "me", force, _NOW, "apps/v1")
        except ApiError:
            continue
        if schemas().check(DEPLOYMENT, result).error is None:
            update_managed(live, copy_object(result), DEPLOYMENT, "other", _NOW, "apps/v1")
            again = apply(result, config, DEPLOYMENT, "me", False, _NOW, "apps/v1")
            assert schemas().check(DEPLOYMENT, again).error is None


@settings(max_examples=75, deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]:,"\\ae1-. \n', max_size=40).map(str.encode))
def test_decoding(body: bytes) -> None:
    for media_type in ("application/json", "application/yaml"):
        try:
            orjson.dumps(decode(body, media_type, "Pod").obj)
        except BadRequest:
            pass


def test_many_objects_under_one_name_are_joined_in_one_go() -> None:
    """Copying what there is for each that comes took half a minute here."""
    count = 90_000
    body = b"{" + b",".join(b'"a":{"n":%d,"k%d":1}' % (n, n) for n in range(count)) + b"}"
    decoded = decode(body)
    assert len(decoded.obj["a"]) == count + 1
    assert decoded.obj["a"]["n"] == count - 1
    assert decoded.duplicates == ['duplicate field "a"']


def test_long_names_are_not_kept_for_each_field_below_them() -> None:
    """A thousand fields below a name of a megabyte would have been a gigabyte."""
    name = b"x" * 1_000_000
    body = b'{"' + name + b'":{' + b",".join(b'"k%d":1,"k%d":2' % (n, n) for n in range(50_000)) + b"}}"
    decoded = decode(body)
    assert len(decoded.obj[name.decode()]) == 50_000
    assert len(decoded.duplicates) == 100
    assert sum(map(len, decoded.places)) < 50_000_000
