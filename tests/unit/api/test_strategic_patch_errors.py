from typing import Any

import pytest

from tests.unit.api.samples import DEPLOYMENT, POD, web_deployment, web_pod
from timonel.api.errors import BadRequest, Invalid
from timonel.api.objects import copy_object
from timonel.api.patch.strategic import apply_strategic_patch


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            {"spec": {"containers": [{"image": "x"}]}},
            "map: map[image:x] does not contain declared merge key: name",
        ),
        ({"spec": {"$patch": "frob"}}, "unknown patch type: frob in map: map[$patch:frob]"),
        ({"spec": {"$retainKeys": "a"}}, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["a"], "nodeName": "b"}}, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder/containers": "a"}}, "expected a []interface {}, but received a string"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "z"}], "containers": [{"name": "nginx"}]}},
            "The order in patch list:\n[map[name:nginx]]\n doesn't match $setElementOrder list:\n[map[name:z]]\n",
        ),
        ({"spec": {"containers": [{"name": "nginx"}, 3]}}, "list element types are not identical: "),
        (["x"], "json: cannot unmarshal []interface {} into Go value of type map[string]interface {}"),
    ],
)
def test_malformed_patches(patch: Any, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        apply_strategic_patch(web_pod(), patch, POD)
    assert caught.value.message.startswith(message)


def test_lists_of_lists() -> None:
    with pytest.raises(Invalid):
        apply_strategic_patch(web_pod(), {"spec": {"containers": [[1]]}}, POD)


def test_the_arguments_are_left_alone() -> None:
    doc, patch = web_deployment(), {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    before, sent = copy_object(doc), copy_object(patch)
    patched = apply_strategic_patch(doc, patch, DEPLOYMENT)
    patched["spec"]["template"]["spec"]["containers"].clear()
    assert doc == before
    assert patch == sent
