"""What is done twice is done once: patches, applies, and writes of what was read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.objects import deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = settings(
    max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
KEYS = st.sampled_from(["a", "b", "c", "example.com/d"])
VALUES = st.text(alphabet="xyz0é ", max_size=5)
WORDS = st.sampled_from(["x", "y", "z0", ""])
DATA = st.dictionaries(st.sampled_from(["a", "b", "c", "d.txt"]), VALUES, max_size=4)
CHANGES = st.dictionaries(KEYS, st.none() | WORDS, max_size=3)
OBJECTS = st.fixed_dictionaries({
    "metadata": st.fixed_dictionaries({}, optional={"labels": st.dictionaries(KEYS, WORDS, max_size=3),
                                                    "annotations": st.dictionaries(KEYS, VALUES, max_size=3)}),
    "data": DATA,
})  # fmt: skip
MERGES = st.fixed_dictionaries({}, optional={
    "metadata": st.fixed_dictionaries({}, optional={"labels": CHANGES, "annotations": CHANGES}),
    "data": st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | VALUES, max_size=3),
})  # fmt: skip
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["c", "d", "e"]), "image": st.sampled_from(["nginx", "busybox:1"])},
        optional={
            "env": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from(["A", "B"]), "value": WORDS}),
                unique_by=lambda each: each["name"], max_size=2,
            ),
            "args": st.lists(WORDS, max_size=2),
        },
    ),
    unique_by=lambda each: each["name"], min_size=1, max_size=3,
)  # fmt: skip


class Caller:
    """Requests of the server, from the thread that hypothesis runs in."""

    def __init__(self, server, path: str) -> None:
        self.server, self.path, self.loop = server, path, asyncio.get_running_loop()
        self.number = 0

    def __call__(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        asking = self.server.request(method, path, body, headers={"Content-Type": kind} if body is not None else {})
        status, answer = asyncio.run_coroutine_threadsafe(asking, self.loop).result(10)
        assert status in (200, 201), answer
        return answer

    def create(self, body: Any) -> tuple[str, Any]:
        """Under a name of its own, since examples share a namespace. Its path and what came back."""
        self.number += 1
        name = f"p{self.number}"
        made = self("POST", self.path, {**body, "metadata": {**body.get("metadata", {}), "name": name}})
        return f"{self.path}/{name}", made


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two answers differ: the revision is one such place, so nothing was written when there is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [found for key in sorted({*one, *other})
                for found in differences(one.get(key), other.get(key), f"{path}.{key}")]  # fmt: skip
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [found for index, pair in enumerate(zip(one, other, strict=True))
                for found in differences(*pair, f"{path}[{index}]")]  # fmt: skip
    return [] if one == other else [f"{path}: {one!r} is not {other!r}"]


def revision(obj: Any) -> str:
    return obj["metadata"]["resourceVersion"]


async def test_what_is_created_is_what_is_read(server, namespace):
    call = Caller(server, f"/api/v1/namespaces/{namespace}/configmaps")

    @SETTINGS
    @given(OBJECTS)
    def holds(body):
        path, made = call.create(body)
        assert call("GET", path) == made
        assert made.get("data", {}) == body["data"]
        for field in ("labels", "annotations"):
            assert made["metadata"].get(field, {}) == body["metadata"].get(field, {})
        assert revision(call("PUT", path, made)) == revision(made)
        del made["metadata"]["resourceVersion"]
        made["metadata"].pop("managedFields", None)  # an object without fields has no manager of any
        assert revision(call("PUT", path, made)) == revision(call("GET", path))

    await asyncio.to_thread(holds)


@pytest.mark.parametrize("kind", ["application/merge-patch+json", "application/strategic-merge-patch+json"])
async def test_a_patch_twice_is_a_patch_once(server, namespace, kind):
    call = Caller(server, f"/api/v1/namespaces/{namespace}/configmaps")

    @SETTINGS
    @given(OBJECTS, MERGES)
    def holds(body, patch):
        path, _ = call.create(body)
        once = call("PATCH", path, patch, kind)
        assert differences(call("PATCH", path, patch, kind), once) == []

    await asyncio.to_thread(holds)


async def test_a_strategic_patch_of_lists_twice_is_one(server, namespace):
    call = Caller(server, f"/apis/apps/v1/namespaces/{namespace}/deployments")

    @SETTINGS
    @given(CONTAINERS, CONTAINERS)
    def holds(first, second):
        body = deployment("any")
        body["spec"]["template"]["spec"]["containers"] = first
        path, _ = call.create(body)
        patch = {"spec": {"template": {"spec": {"containers": second}}}}
        once = call("PATCH", path, patch, "application/strategic-merge-patch+json")
        names = {each["name"] for each in once["spec"]["template"]["spec"]["containers"]}
        assert names == {each["name"] for each in first + second}
        assert differences(call("PATCH", path, patch, "application/strategic-merge-patch+json"), once) == []
        assert revision(call("PUT", path, once)) == revision(once)

    await asyncio.to_thread(holds)


async def test_an_apply_twice_and_of_its_own_output_is_one(server, namespace):
    call = Caller(server, f"/apis/apps/v1/namespaces/{namespace}/deployments")

    def apply(path, body):
        return call("PATCH", f"{path}?fieldManager=me&force=true", body, "application/apply-patch+yaml")

    @SETTINGS
    @given(CONTAINERS, CONTAINERS)
    def holds(first, second):
        call.number += 1
        body = deployment(f"p{call.number}")
        path = f"{call.path}/p{call.number}"
        body["spec"]["template"]["spec"]["containers"] = first
        made = apply(path, body)
        assert differences(apply(path, body), made) == []
        body["spec"]["template"]["spec"]["containers"] = second
        once = apply(path, body)
        # What the manager no longer says, nobody says: the list is what it applied last.
        assert [each["name"] for each in once["spec"]["template"]["spec"]["containers"]] == [
            each["name"] for each in second
        ]
        assert differences(apply(path, body), once) == []
        again = {**once, "metadata": {k: v for k, v in once["metadata"].items() if k != "managedFields"}}
        applied = apply(path, again)
        assert applied["spec"] == once["spec"]
        settled = {**applied, "metadata": {k: v for k, v in applied["metadata"].items() if k != "managedFields"}}
        assert differences(apply(path, settled), applied) == []

    await asyncio.to_thread(holds)
