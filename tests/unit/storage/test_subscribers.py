"""Who hears of which keys: those under its prefix, in order of subscription."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from timonel.storage.protocol import Event
from timonel.storage.subscribers import Subscribers

_TEXTS = st.text("ab/", max_size=6)


def _event(key: str, revision: int = 1) -> Event:
    return Event(key, revision, b"x", None, revision, 0)


@given(prefixes=st.lists(_TEXTS, max_size=6), keys=st.lists(_TEXTS, max_size=6))
def test_each_hears_of_just_the_keys_that_begin_with_its_prefix(prefixes: list[str], keys: list[str]) -> None:
    subscribers: Subscribers[int] = Subscribers()
    for number, prefix in enumerate(prefixes):
        subscribers.add(prefix, number)
    events = [_event(key, revision) for revision, key in enumerate(keys)]
    expected = [
        (prefix, number, concerned)
        for number, prefix in enumerate(prefixes)
        if (concerned := [event for event in events if event.key.startswith(prefix)])
    ]
    assert subscribers.concerned(events) == expected


def test_whoever_left_hears_nothing() -> None:
    subscribers: Subscribers[str] = Subscribers()
    leave = subscribers.add("/pods/", "one")
    subscribers.add("/pods/", "two")
    leave()
    leave()
    assert [name for _, name, _ in subscribers.concerned([_event("/pods/a")])] == ["two"]
    assert list(subscribers) == ["two"]


def test_one_may_leave_while_others_are_told() -> None:
    subscribers: Subscribers[str] = Subscribers()
    leave = subscribers.add("/a", "one")
    subscribers.add("/a", "two")
    told = []
    for _, name, _ in subscribers.concerned([_event("/a")]):
        leave()
        told.append(name)
    assert told == ["one", "two"]
    assert list(subscribers) == ["two"]
