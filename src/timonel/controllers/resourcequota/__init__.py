"""Keeps the status of ResourceQuotas: what may be used, what is used, and when use is given back."""

from timonel.controllers.resourcequota.controller import ResourceQuotaController

__all__ = ["ResourceQuotaController"]
