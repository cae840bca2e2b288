"""kubernetes.io/docs/concepts/cluster-administration/flow-control, "Maintenance of the mandatory and suggested
configuration objects", and the condition Dangling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from timonel.api.kinds.flowcontrol.mandatory import MANDATORY_FLOW_SCHEMAS, MANDATORY_PRIORITY_LEVELS
from timonel.api.objects import Object, copy_object, name_of
from timonel.api.refs import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS, ResourceRef
from timonel.apiserver.flowcontrol.control import FlowControl
from timonel.apiserver.flowcontrol.following import ConfigurationFollower, condition_as_is
from timonel.apiserver.flowcontrol.keeping import ConfigurationKeeper, revised
from timonel.apiserver.flowcontrol.levels import Levels
from timonel.apiserver.flowcontrol.suggested import (
    AUTO_UPDATE,
    SUGGESTED_FLOW_SCHEMAS,
    SUGGESTED_PRIORITY_LEVELS,
    bootstrap_object,
)
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.readers import FakeReaders


class FakeObjects(FakeReaders):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[str, str]] = []

    async def create(self, ref: ResourceRef, obj: Object) -> object:
        self.writes.append(("create", name_of(obj)))
        made = copy_object(obj)
        made["metadata"] |= {"generation": 1, "uid": f"uid-{name_of(obj)}"}
        return self.put(ref, made)

    async def update(
        self, ref: ResourceRef, name: str, transform: Callable[[Object], Object], *, subresource: str = ""
    ) -> object:
        self.writes.append((f"update {subresource}".strip(), name))
        live = self.reader(ref).get("", name)
        assert live is not None
        return self.put(ref, transform(live))

    async def apply_status(self, ref: ResourceRef, name: str, status: Object) -> object:
        self.writes.append(("apply status", name))
        live = self.reader(ref).get("", name)
        assert live is not None
        return self.put(ref, {**live, "status": status})

    async def delete(self, ref: ResourceRef, name: str) -> object:
        self.writes.append(("delete", name))
        self.reader(ref).remove("", name)
        return None


SPEC = SUGGESTED_PRIORITY_LEVELS["system"]
OTHER = {**SPEC, "type": "Other"}


def live(spec: Object, annotation: str | None, generation: int = 1, name: str = "system") -> Object:
    obj = copy_object(bootstrap_object(name, spec))
    obj["metadata"]["generation"] = generation
    if annotation is None:
        del obj["metadata"]["annotations"]
    else:
        obj["metadata"]["annotations"][AUTO_UPDATE] = annotation
    return obj


@pytest.mark.parametrize(
    ("obj", "mandatory", "becomes"),
    [
        (live(SPEC, "true"), False, None),
        (live(OTHER, "true", 2), False, (SPEC, "true")),
        (live(OTHER, "T", 2), False, (SPEC, "T")),
        (live(OTHER, "false", 2), False, None),
        (live(OTHER, None, 2), False, (OTHER, "false")),  # changed by somebody: theirs
        (live(OTHER, None, 1), False, (SPEC, "true")),  # as an older version made it
        (live(OTHER, "yes", 2), False, (OTHER, "false")),
        (live(SPEC, "false"), True, (SPEC, "true")),
        (live(OTHER, "false", 5), True, (SPEC, "true")),
    ],
)
def test_when_objects_are_changed(obj: Object, mandatory: bool, becomes: tuple[Object, str] | None) -> None:
    before = copy_object(obj)
    result = revised(obj, SPEC, mandatory=mandatory)
    assert obj == before
    if becomes is None:
        assert result is None
    else:
        assert result is not None
        assert (result["spec"], result["metadata"]["annotations"][AUTO_UPDATE]) == becomes


def test_the_exempt_level_may_lend_what_the_administrator_says() -> None:
    spec = MANDATORY_PRIORITY_LEVELS["exempt"]
    mine = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 7, "lendablePercent": 50}}
    assert revised(live(mine, "true", 2, "exempt"), spec, mandatory=True) is None
    assert revised(live({"type": "Exempt"}, "true", 2, "exempt"), spec, mandatory=True) is not None


async def test_everything_is_made_once() -> None:
    objects = FakeObjects()
    keeper = ConfigurationKeeper(objects=objects, clock=VirtualClock())
    await keeper.ensure()
    levels = {name_of(obj) for obj in objects.reader(PRIORITY_LEVEL_CONFIGURATIONS).list()}
    schemas = {name_of(obj) for obj in objects.reader(FLOW_SCHEMAS).list()}
    assert levels == {*SUGGESTED_PRIORITY_LEVELS, *MANDATORY_PRIORITY_LEVELS}
    assert schemas == {*SUGGESTED_FLOW_SCHEMAS, *MANDATORY_FLOW_SCHEMAS}
    objects.writes.clear()
    await keeper.ensure()
    assert objects.writes == []


async def test_objects_of_other_versions_go_and_those_of_people_stay() -> None:
    objects = FakeObjects()
    for name, annotation in (("old", "true"), ("theirs", None), ("kept", "false"), ("odd", "perhaps")):
        objects.put(PRIORITY_LEVEL_CONFIGURATIONS, live(SPEC, annotation, name=name))
    await ConfigurationKeeper(objects=objects, clock=VirtualClock()).ensure()
    assert [name for what, name in objects.writes if what == "delete"] == ["old"]


async def test_what_is_deleted_comes_back_within_a_minute() -> None:
    objects, clock = FakeObjects(), VirtualClock()
    keeper = ConfigurationKeeper(objects=objects, clock=clock)
    await keeper.ensure()
    task = asyncio.create_task(keeper.run())
    await clock.advance(120)
    objects.writes.clear()
    objects.reader(FLOW_SCHEMAS).remove("", "catch-all")
    await clock.advance(59)
    assert objects.writes == []
    await clock.advance(2)
    assert objects.writes == [("create", "catch-all")]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def follower(objects: FakeObjects, clock: VirtualClock) -> ConfigurationFollower:
    control = FlowControl(
        levels=Levels(total=600, now=clock.monotonic()), clock=clock, stored=lambda group, resource: None
    )
    return ConfigurationFollower(objects=objects, control=control, clock=clock, jitter=lambda low, high: high)


async def test_schemas_say_whether_their_level_exists() -> None:
    objects, clock = FakeObjects(), VirtualClock()
    await ConfigurationKeeper(objects=objects, clock=clock).ensure()
    following = follower(objects, clock)
    following.start()
    task = asyncio.create_task(following.run())
    await settle()

    def dangling() -> tuple[str, ...]:
        schema = objects.reader(FLOW_SCHEMAS).get("", "service-accounts")
        assert schema is not None
        return condition_as_is(schema)

    name = 'This FlowSchema references the PriorityLevelConfiguration object named "workload-low"'
    assert dangling() == ("False", "Found", f"{name} and it exists")
    objects.reader(PRIORITY_LEVEL_CONFIGURATIONS).remove("", "workload-low")
    await settle()
    assert dangling() == ("True", "NotFound", f"{name} but there is no such object")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_two_opinions_do_not_fight_for_ever() -> None:
    objects, clock = FakeObjects(), VirtualClock()
    await ConfigurationKeeper(objects=objects, clock=clock).ensure()
    following = follower(objects, clock)
    following.start()
    task = asyncio.create_task(following.run())
    for _ in range(30):
        await settle()
        schema = copy_object(objects.reader(FLOW_SCHEMAS).get("", "probes") or {})
        schema["status"] = {"conditions": [{"type": "Dangling", "status": "True"}]}
        objects.put(FLOW_SCHEMAS, schema)
    await settle()
    assert objects.writes.count(("apply status", "probes")) == 6
    await clock.advance(76)
    assert objects.writes.count(("apply status", "probes")) == 7
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
