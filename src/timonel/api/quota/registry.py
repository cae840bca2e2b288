"""Which evaluator counts a resource: four kinds use more than their number, every other is counted."""

from __future__ import annotations

from functools import lru_cache

from timonel.api.quota.device_claims import DeviceClaimEvaluator
from timonel.api.quota.evaluator import Evaluator
from timonel.api.quota.pods import PodEvaluator
from timonel.api.quota.services import ServiceEvaluator
from timonel.api.quota.volume_claims import VolumeClaimEvaluator

SPECIAL: dict[str, Evaluator] = {
    evaluator.group_resource: evaluator
    for evaluator in (PodEvaluator(), ServiceEvaluator(), VolumeClaimEvaluator(), DeviceClaimEvaluator())
}


@lru_cache(maxsize=1024)
def evaluator_for(group_resource: str) -> Evaluator:
    """`group_resource` is "pods", "deployments.apps": see ResourceRef."""
    return SPECIAL.get(group_resource) or Evaluator(group_resource)
