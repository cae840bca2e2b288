"""Rows by API group, of kinds that come into service together with what acts on them."""

from __future__ import annotations

from timonel.api.kinds.controllerrevision import CONTROLLER_REVISIONS
from timonel.api.kinds.cronjob import CRON_JOBS
from timonel.api.kinds.daemonset import DAEMON_SETS
from timonel.api.kinds.job import JOBS
from timonel.api.kinds.statefulset import STATEFUL_SETS

WORKLOAD_ROWS = (CONTROLLER_REVISIONS, DAEMON_SETS, STATEFUL_SETS)
BATCH_ROWS = (CRON_JOBS, JOBS)
