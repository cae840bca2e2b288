"""The status of ValidatingAdmissionPolicies: whether their expressions fit the kinds that they match."""

from timonel.controllers.admissionpolicies.controller import PolicyStatusController

__all__ = ["PolicyStatusController"]
