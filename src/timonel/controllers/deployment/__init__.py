"""Deployment: rolls from one ReplicaSet to the next, within its bounds of availability and surge."""

from timonel.controllers.deployment.controller import DeploymentController

__all__ = ["DeploymentController"]
