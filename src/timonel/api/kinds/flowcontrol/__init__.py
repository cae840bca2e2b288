"""The kinds of priority and fairness: which requests wait for which, and who may have how much of the server."""

from __future__ import annotations

from timonel.api.kinds.flowcontrol.flowschema import FLOW_SCHEMAS
from timonel.api.kinds.flowcontrol.prioritylevel import PRIORITY_LEVEL_CONFIGURATIONS

FLOW_CONTROL_ROWS = (FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS)

__all__ = ["FLOW_CONTROL_ROWS"]
