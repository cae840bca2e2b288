"""CronJob: a Job at every time that its schedule names."""

from timonel.controllers.cronjob.controller import CronJobController

__all__ = ["CronJobController"]
