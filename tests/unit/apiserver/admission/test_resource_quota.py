"""How writes are settled against quotas: together, atomically, and given back when a race turns them down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.unit.apiserver.admission.reviewing import review
from timonel.api.errors import ApiError, Conflict, Forbidden, InternalError
from timonel.api.objects import Object, copy_object
from timonel.api.refs import CONFIGMAPS, NODES, RESOURCE_QUOTAS, ResourceRef
from timonel.apiserver.admission.resource_quota import ResourceQuota
from timonel.testing.clock import VirtualClock, settle
from timonel.testing.readers import FakeReaders


class Store:
    """Readers, and a writer that stores at the next turn of the loop; `before_write` may interfere."""

    def __init__(self) -> None:
        self.readers = FakeReaders()
        self.writes: list[tuple[str, dict[str, str]]] = []
        self.before_write: Callable[[str], None] = lambda name: None
        self.revision = 1

    def quota(self, name: str, hard: int, used: int | None = 0) -> None:
        status: Object = {"hard": {"count/configmaps": str(hard)}}
        if used is not None:
            status["used"] = {"count/configmaps": str(used)}
        self.put({"metadata": {"namespace": "d", "name": name}, "spec": {"hard": status["hard"]}, "status": status})

    def put(self, obj: Object) -> None:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self.readers.put(RESOURCE_QUOTAS, obj)

    def used(self, name: str) -> str:
        found = self.readers.reader(RESOURCE_QUOTAS).get("d", name)
        assert found is not None
        return found["status"]["used"]["count/configmaps"]

    def set_used(self, name: str, used: int) -> None:
        """As somebody else writes it."""
        live = self.readers.reader(RESOURCE_QUOTAS).get("d", name)
        assert live is not None
        changed = copy_object(live)
        changed["status"]["used"]["count/configmaps"] = str(used)
        self.put(changed)

    async def create(self, ref: ResourceRef, obj: Object, namespace: str = "") -> Any:
        raise AssertionError

    async def update(
        self, ref: ResourceRef, namespace: str, name: str, transform: Any, *, subresource: str = ""
    ) -> Any:
        assert (ref, subresource) == (RESOURCE_QUOTAS, "status")
        await asyncio.sleep(0)
        self.before_write(name)
        live = self.readers.reader(ref).get(namespace, name)
        assert live is not None
        changed = transform(live)
        self.put(changed)
        self.writes.append((name, dict(changed["status"]["used"])))


async def create(plugin: ResourceQuota, name: str, **fields: Any) -> ApiError | None:
    try:
        await plugin.validate(review(CONFIGMAPS, {"metadata": {"name": name}}, **fields))
    except ApiError as error:
        return error
    return None


def plugin_over(store: Store) -> ResourceQuota:
    return ResourceQuota(readers=store.readers, writer=store, clock=VirtualClock())


async def test_together_they_cost_one_write_and_never_exceed() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("q", 10)
    answers = await asyncio.gather(*(create(plugin, f"m-{n}") for n in range(50)))
    assert [answer is None for answer in answers] == [True] * 10 + [False] * 40  # first come, first served
    assert {type(answer) for answer in answers[10:]} == {Forbidden}
    assert str(answers[10]) == (
        'configmaps "m-10" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=10,'
        " limited: count/configmaps=10"
    )
    assert store.writes == [("q", {"count/configmaps": "10"})]


async def test_what_no_quota_is_about_is_not_written() -> None:
    store = Store()
    plugin = plugin_over(store)
    assert await create(plugin, "m") is None
    store.quota("q", 1)
    assert await create(plugin, "m", namespace="other") is None
    assert await create(plugin, "m", operation="UPDATE", old={"metadata": {"name": "m"}}) is None
    await plugin.validate(review(NODES, {"metadata": {"name": "n"}}))
    assert await create(plugin, "m", dry_run=True) is None
    store.readers.put(CONFIGMAPS, {"metadata": {"namespace": "d", "name": "there"}})
    assert await create(plugin, "there") is None  # the write itself will say that it exists
    assert store.writes == []


async def test_a_quota_not_counted_yet_lets_nothing_through() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("q", 1, used=None)
    assert str(await create(plugin, "m")).endswith("status unknown for quota: q, resources: count/configmaps")


async def test_a_lost_race_is_decided_anew() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("q", 3, used=1)
    others = iter([2, 3])

    def another_server(name: str) -> None:
        used = next(others, None)
        if used is not None:
            store.set_used(name, used)

    store.before_write = another_server
    answers = await asyncio.gather(create(plugin, "a"), create(plugin, "b"))
    assert all(isinstance(answer, Forbidden) for answer in answers)
    assert store.used("q") == "3"
    store.set_used("q", 1)
    assert await create(plugin, "a") is None
    assert store.used("q") == "2"


async def test_what_another_quota_refuses_after_all_is_given_back() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("first", 5)
    store.quota("second", 1)
    once = iter(["second"])

    def fill_second(name: str) -> None:
        if name == "second" and next(once, None):
            store.set_used("second", 1)

    store.before_write = fill_second
    assert "exceeded quota: second" in str(await create(plugin, "m"))
    await settle()
    assert (store.used("first"), store.used("second")) == ("0", "1")


async def test_a_request_that_went_away_is_given_back_too() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("q", 5)
    waiting = asyncio.create_task(create(plugin, "m"))

    def hang_up(name: str) -> None:
        waiting.cancel()

    store.before_write = hang_up
    await settle()
    assert waiting.cancelled()
    assert store.writes == [("q", {"count/configmaps": "1"}), ("q", {"count/configmaps": "0"})]


async def test_a_race_that_never_ends_is_a_conflict() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("q", 1000)
    store.before_write = lambda name: store.set_used(name, int(store.used(name)) + 1)
    answer = await create(plugin, "m")
    assert isinstance(answer, Conflict)
    assert answer.message.startswith('Operation cannot be fulfilled on resourcequotas "q"')


async def test_a_failing_store_lets_nothing_through_and_the_next_try_works() -> None:
    store = Store()
    plugin = plugin_over(store)
    store.quota("q", 5)

    def full(name: str) -> None:
        raise InternalError("disk full")

    store.before_write = full
    answers = await asyncio.gather(create(plugin, "a"), create(plugin, "b"))
    assert [str(answer) for answer in answers] == ["disk full", "disk full"]
    store.before_write = lambda name: None
    assert await create(plugin, "a") is None
    assert store.used("q") == "1"
