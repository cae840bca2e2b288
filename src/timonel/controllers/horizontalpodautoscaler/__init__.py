"""Keeps the replicas of whatever has a scale in step with metrics."""

from timonel.controllers.horizontalpodautoscaler.config import AutoscalerConfig
from timonel.controllers.horizontalpodautoscaler.controller import HorizontalPodAutoscalerController

__all__ = ["AutoscalerConfig", "HorizontalPodAutoscalerController"]
