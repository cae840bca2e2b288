"""The kinds of admissionregistration.k8s.io: webhooks and policies that change or refuse what is written."""

from __future__ import annotations

from timonel.api.kinds.admission.bindings import (
    MUTATING_ADMISSION_POLICY_BINDINGS,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from timonel.api.kinds.admission.policies import MUTATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICIES
from timonel.api.kinds.admission.webhooks import MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS

ADMISSION_ROWS = (
    VALIDATING_WEBHOOK_CONFIGURATIONS,
    MUTATING_WEBHOOK_CONFIGURATIONS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    MUTATING_ADMISSION_POLICIES,
    MUTATING_ADMISSION_POLICY_BINDINGS,
)

__all__ = ["ADMISSION_ROWS"]
