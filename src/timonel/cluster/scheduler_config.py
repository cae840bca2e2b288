"""The scheduler's configuration from the file that kube-scheduler takes as --config.

`timonel up` reads and checks it, and keeps what it says in the manager's settings, so that a manager that starts anew
needs no file. Plugins that it names are those of packages installed beside this one.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timonel.api.decode import decode
from timonel.api.errors import BadRequest
from timonel.api.objects import Object
from timonel.cluster.errors import UserError

if TYPE_CHECKING:
    from timonel.scheduler.configuration.reading import SchedulerConfiguration


def read_document(file: str) -> Object:
    """Raises UserError with one line."""
    path = Path(file)
    try:
        decoded = decode(path.read_bytes(), "application/yaml")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BadRequest as error:
        raise UserError(f"{path}: {error.message}") from None
    if decoded.duplicates:
        raise UserError(f"{path}: {' '.join(decoded.duplicates[0].split())}")
    document: Any = decoded.obj
    if not isinstance(document, dict):
        raise UserError(f"{path}: must be a KubeSchedulerConfiguration")
    return document


def parse_document(document: Object, source: str) -> SchedulerConfiguration:
    """Raises UserError with one line that names `source`."""
    # The command line has no need of the scheduler unless it is configured.
    from timonel.scheduler.configuration.errors import InvalidConfiguration
    from timonel.scheduler.configuration.reading import named_plugins, parse_configuration
    from timonel.scheduler.python_plugins import load_plugins
    from timonel.scheduler.time_limit import AlarmLimit

    try:
        plugins = load_plugins(named_plugins(document), limit=AlarmLimit(), monotonic=time.monotonic)
        return parse_configuration(document, plugins)
    except InvalidConfiguration as error:
        raise UserError(f"{source}: {error}") from None


def checked_document(file: str) -> Object:
    """What `up` hands to the manager; {} without a file. Raises UserError with one line."""
    if not file:
        return {}
    document = read_document(file)
    parse_document(document, file)
    return document
