"""One command at a time per cluster."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from timonel.cluster.errors import UserError
from timonel.cluster.lock import exclusive


def test_the_second_is_told_who_has_it_and_gets_it_afterwards() -> None:
    subject = str(uuid.uuid4())
    said: list[str] = []
    told, entered = threading.Event(), threading.Event()

    def second() -> None:
        def say(text: str) -> None:
            said.append(text)
            told.set()

        with exclusive(subject, say):
            entered.set()

    thread = threading.Thread(target=second)
    with exclusive(subject, said.append):
        thread.start()
        assert told.wait(10)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()
    assert said == [f"waiting for another timonel command (pid {os.getpid()}) to end"]


def test_other_clusters_do_not_wait() -> None:
    with exclusive(str(uuid.uuid4()), pytest.fail), exclusive(str(uuid.uuid4()), pytest.fail):
        pass


def test_waiting_has_an_end() -> None:
    subject = str(uuid.uuid4())
    with (
        exclusive(subject, print),
        pytest.raises(UserError, match=r"another timonel command \(pid \d+\)"),
        exclusive(subject, print, wait_seconds=0.0),
    ):
        pass
