"""CronJobs and their Jobs among the other controllers, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from tests.unit.controllers.test_jobs import OTHERS, Jobs, job
from timonel.api.errors import ServiceUnavailable
from timonel.api.objects import Object, name_of, uid_of
from timonel.api.refs import CRON_JOBS, JOBS
from timonel.controllers.cronjob import CronJobController
from timonel.testing.clock import VirtualClock, settle

FIRST = int(datetime.fromisoformat("2026-01-01T00:01:00Z").timestamp()) // 60


def cron_job(**spec: Any) -> Object:
    template = job()["spec"]
    return {
        "kind": "CronJob", "apiVersion": "batch/v1",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {
            "schedule": "* * * * *", "concurrencyPolicy": "Allow", "suspend": False,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1, "jobTemplate": {"spec": template}, **spec,
        },
        "status": {},
    }  # fmt: skip


class JumpingClock(VirtualClock):
    """Whose wall can be set, as people and NTP do; what sleeps does not notice."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


def names(cluster: Jobs) -> list[str]:
    return [name_of(item) for item in cluster.client.objects(JOBS)]


def status_of(cluster: Jobs) -> Object:
    status: Object = cluster.client.objects(CRON_JOBS)[0]["status"]
    return status


async def test_a_job_every_minute_and_a_few_kept() -> None:
    async with Jobs(cron_job(successfulJobsHistoryLimit=2)) as cluster:
        await cluster.run(59)
        assert names(cluster) == []
        await cluster.run(2)
        assert names(cluster) == [f"tick-{FIRST}"]
        assert [reference["name"] for reference in status_of(cluster)["active"]] == [f"tick-{FIRST}"]
        assert status_of(cluster)["lastScheduleTime"] == "2026-01-01T00:01:00Z"
        await cluster.run(20)
        assert "active" not in status_of(cluster)
        assert status_of(cluster)["lastSuccessfulTime"] > "2026-01-01T00:01:00Z"
        await cluster.run(200, step=2.5)
        assert names(cluster) == [f"tick-{FIRST + 2}", f"tick-{FIRST + 3}"]
        told = {reason for kind, reason, _ in cluster.events() if kind == "CronJob"}
        assert told == {"SuccessfulCreate", "SawCompletedJob", "SuccessfulDelete"}


async def test_between_two_starts_nothing_is_asked() -> None:
    async with Jobs(cron_job(schedule="0 12 * * *")) as cluster:
        await cluster.run(5)
        reads, writes = len(cluster.client.reads), len(cluster.client.writes)
        await cluster.clock.advance(3600)
        asked = [ref for verb, ref in cluster.client.reads[reads:] if verb != "watch"]
        assert not {JOBS, CRON_JOBS} & set(asked)
        assert not {JOBS, CRON_JOBS} & {write.ref for write in cluster.client.writes[writes:]}


async def test_forbid_waits_and_replace_does_not() -> None:
    for policy, jobs, made in (("Forbid", 1, 1), ("Replace", 1, 3), ("Allow", 3, 3)):
        cluster = Jobs(cron_job(concurrencyPolicy=policy), ending=lambda pod, age: None)
        async with cluster:
            await cluster.run(185, step=2.5)
            assert len(names(cluster)) == jobs, policy
            created = [write for write in cluster.client.written() if write.ref == JOBS and write.verb == "create"]
            assert len(created) == made, policy
            assert len(status_of(cluster)["active"]) == jobs


async def test_one_start_is_made_once_whatever_is_lost() -> None:
    cluster = Jobs(cron_job())
    cluster.client.fail(ServiceUnavailable("away"), verb="update", ref=CRON_JOBS, times=3)
    async with cluster:
        await cluster.run(75)
        assert names(cluster) == [f"tick-{FIRST}"]
        assert status_of(cluster)["lastScheduleTime"] == "2026-01-01T00:01:00Z"


async def test_after_a_long_stop_only_the_last_start_is_made_up_for() -> None:
    first = Jobs(cron_job())
    async with first:
        await first.run(1)
    await first.clock.advance(3 * 3600)
    async with Jobs(client=first.client, clock=first.clock) as second:
        await second.run(5)
        assert names(second) == [f"tick-{FIRST + 179}"]
        assert "TooManyMissedTimes" in {reason for _, reason, _ in second.events()}


async def test_suspended_and_resumed() -> None:
    async with Jobs(cron_job(suspend=True)) as cluster:
        await cluster.run(90, step=5)
        assert names(cluster) == []
        cluster.client.change(CRON_JOBS, "tick", "default", lambda obj: obj["spec"].update(suspend=False))
        await cluster.run(3)
        assert names(cluster) == [f"tick-{FIRST}"]  # the one that it missed


async def test_a_new_schedule_makes_up_for_nothing() -> None:
    async with Jobs(cron_job(schedule="0 0 1 7 *")) as cluster:
        await cluster.run(150, step=5)
        cluster.client.change(CRON_JOBS, "tick", "default", lambda obj: obj["spec"].update(schedule="* * * * *"))
        await cluster.run(25, step=5)
        assert names(cluster) == []
        await cluster.run(10, step=5)
        assert names(cluster) == [f"tick-{FIRST + 2}"]


async def test_a_start_that_is_too_late_is_told_once() -> None:
    async with Jobs(cron_job(suspend=True, startingDeadlineSeconds=10)) as cluster:
        await cluster.run(90, step=5)
        cluster.client.change(CRON_JOBS, "tick", "default", lambda obj: obj["spec"].update(suspend=False))
        await cluster.run(3)
        cluster.client.change(CRON_JOBS, "tick", "default", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await cluster.run(3)
        assert names(cluster) == []
        told = [message for _, reason, message in cluster.events() if reason == "MissSchedule"]
        assert told == ["Missed scheduled time to start a job: Thu, 01 Jan 2026 00:01:00 +0000"]
        await cluster.run(30)
        assert names(cluster) == [f"tick-{FIRST + 1}"]


class ToldChanges:
    """In place of the system's word that the clock was set."""

    def __init__(self) -> None:
        self.set = asyncio.Event()
        self.closed = False

    async def wait(self) -> None:
        await self.set.wait()
        self.set.clear()

    def close(self) -> None:
        self.closed = True


async def test_a_wall_clock_that_is_set_is_noticed_at_once() -> None:
    clock, changes = JumpingClock(), ToldChanges()
    async with Jobs(cron_job(schedule="0 12 * * *"), clock=clock, without=(*OTHERS, "cronjob")) as cluster:
        controller = CronJobController(
            client=cluster.client, informers=cluster.manager.informers, clock=clock, clock_changes=lambda: changes  # type: ignore[arg-type,return-value]
        )  # fmt: skip
        task = asyncio.create_task(controller.run())
        await settle(100)
        clock.ahead = timedelta(hours=12)
        changes.set.set()
        await settle(100)
        assert len(names(cluster)) == 1
        clock.ahead = timedelta(0)  # and back again: that start was made
        changes.set.set()
        await clock.advance(12 * 3600)
        assert len(names(cluster)) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert changes.closed


async def test_without_word_of_it_a_set_clock_is_found_out() -> None:
    clock = JumpingClock()
    async with Jobs(cron_job(schedule="0 12 * * *"), clock=clock) as cluster:
        await cluster.run(5)
        clock.ahead = timedelta(hours=12)
        await cluster.clock.advance(3600)
        assert len(names(cluster)) == 1


async def test_a_job_made_by_hand_is_told_of_and_counts_for_the_history() -> None:
    async with Jobs(cron_job(schedule="0 12 * * *", successfulJobsHistoryLimit=0)) as cluster:
        owner = {
            "apiVersion": "batch/v1", "kind": "CronJob", "name": "tick",
            "uid": uid_of(cluster.client.objects(CRON_JOBS)[0]), "controller": True,
        }  # fmt: skip
        by_hand = job("by-hand")
        by_hand["metadata"]["ownerReferences"] = [owner]
        cluster.client.add(by_hand)
        await cluster.run(2)
        assert "UnexpectedJob" in {reason for _, reason, _ in cluster.events()}
        await cluster.run(10)
        assert names(cluster) == []
        assert "lastSuccessfulTime" in status_of(cluster)
