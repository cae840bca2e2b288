"""Doubles when three times as many as its seconds were refused in its length, shrinks when fewer than one a second."""

from __future__ import annotations

from timonel.apiserver.flowcontrol.retry_after import RetryAfter


def refuse(retry_after: RetryAfter, second: int, count: int) -> int:
    for _ in range(count):
        retry_after.refused(second)
    return retry_after.seconds


def test_a_few_refusals_change_nothing() -> None:
    retry_after = RetryAfter()
    assert [refuse(retry_after, second, 2) for second in range(1, 10)] == [1] * 9


def test_many_double_it_once_in_its_own_length_up_to_half_a_minute() -> None:
    retry_after = RetryAfter()
    seen = [refuse(retry_after, second, 100) for second in range(1, 80)]
    assert seen[:8] == [1, 2, 2, 4, 4, 4, 4, 8]
    assert seen[-1] == 32


def test_it_shrinks_by_a_second_at_a_time() -> None:
    retry_after = RetryAfter()
    for second in range(1, 5):
        refuse(retry_after, second, 100)
    assert retry_after.seconds == 4
    assert refuse(retry_after, 100, 1) == 3
    assert refuse(retry_after, 110, 1) == 2
    assert refuse(retry_after, 120, 1) == 1
