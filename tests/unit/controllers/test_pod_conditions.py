"""Conditions that controllers write into pods, over what others wrote there."""

from __future__ import annotations

from datetime import UTC, datetime

from timonel.controllers.pods import disruption_condition


def test_a_condition_without_a_time_of_change_gets_one() -> None:
    """core/v1: lastTransitionTime is optional."""
    pod = {"metadata": {}, "status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}
    made = disruption_condition(pod, "Why", "because", datetime(2026, 1, 1, tzinfo=UTC))
    assert made["lastTransitionTime"] == "2026-01-01T00:00:00Z"
