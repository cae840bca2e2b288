"""DaemonSets: a pod on every node that the template fits."""

from timonel.controllers.daemonset.controller import DaemonSetController

__all__ = ["DaemonSetController"]
