"""Rows by API group, of kinds that come into service together with what acts on them."""

from __future__ import annotations

from timonel.api.kinds.autoscaler import HORIZONTAL_POD_AUTOSCALERS, HORIZONTAL_POD_AUTOSCALERS_V1
from timonel.api.kinds.componentstatus import COMPONENT_STATUSES
from timonel.api.kinds.controllerrevision import CONTROLLER_REVISIONS
from timonel.api.kinds.cronjob import CRON_JOBS
from timonel.api.kinds.daemonset import DAEMON_SETS
from timonel.api.kinds.job import JOBS
from timonel.api.kinds.limitrange import LIMIT_RANGES
from timonel.api.kinds.poddisruptionbudget import POD_DISRUPTION_BUDGETS
from timonel.api.kinds.podtemplate import POD_TEMPLATES
from timonel.api.kinds.replicationcontroller import REPLICATION_CONTROLLERS
from timonel.api.kinds.resourcequota import RESOURCE_QUOTAS
from timonel.api.kinds.statefulset import STATEFUL_SETS

WORKLOAD_ROWS = (CONTROLLER_REVISIONS, DAEMON_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)
BATCH_ROWS = (CRON_JOBS, JOBS)
AUTOSCALING_ROWS = (HORIZONTAL_POD_AUTOSCALERS_V1, HORIZONTAL_POD_AUTOSCALERS)
POLICY_ROWS = (POD_DISRUPTION_BUDGETS,)
NAMESPACE_LIMIT_ROWS = (LIMIT_RANGES, RESOURCE_QUOTAS)
CORE_ROWS = (COMPONENT_STATUSES, POD_TEMPLATES)
