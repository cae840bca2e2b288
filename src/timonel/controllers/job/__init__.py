"""Job: pods run until enough of them have succeeded, each of them counted exactly once."""

from timonel.controllers.job.controller import JobController

__all__ = ["JobController"]
