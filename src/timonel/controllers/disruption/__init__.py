"""Keeps the status of PodDisruptionBudgets, by which evictions are allowed or put off."""

from timonel.controllers.disruption.controller import DisruptionController

__all__ = ["DisruptionController"]
