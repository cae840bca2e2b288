"""Settings of admission plugins from the file that kube-apiserver takes as --admission-control-config-file.

Source: kubernetes.io/docs/reference/config-api/apiserver-config.v1/#apiserver-k8s-io-v1-AdmissionConfiguration
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from timonel.api.objects import Object
from timonel.apiserver.admission.selection import AdmissionConfig, select_plugins
from timonel.cluster.errors import UserError

_API_VERSION = "apiserver.config.k8s.io/v1"


def load_admission(enable: Sequence[str], disable: Sequence[str], file: str) -> AdmissionConfig:
    """What the API server is told of its plugins. Raises UserError for names and settings that cannot be had."""
    config = AdmissionConfig(enable=tuple(enable), disable=tuple(disable), settings=load_plugin_settings(file))
    try:
        select_plugins(config)
    except ValueError as error:
        raise UserError(f"{file}: {error}" if file else str(error)) from None
    return config


def load_plugin_settings(file: str) -> dict[str, Object]:
    """By plugin, what the file has for it, itself or in a file of its own. Raises UserError with one line."""
    if not file:
        return {}
    path = Path(file)
    data = _read(path)
    if data.get("apiVersion") != _API_VERSION or data.get("kind") != "AdmissionConfiguration":
        raise UserError(f"{path}: must be an AdmissionConfiguration of {_API_VERSION}")
    found: dict[str, Object] = {}
    for item in data.get("plugins") or ():
        name = item.get("name") if isinstance(item, dict) else None
        if not name or item.keys() - {"name", "path", "configuration"}:
            raise UserError(f"{path}: each of plugins has a name, and path or configuration")
        if item.get("path") and item.get("configuration") is not None:
            raise UserError(f"{path}: plugin {name} has both path and configuration")
        own = item.get("configuration")
        found[name] = _read(path.parent / item["path"]) if item.get("path") else {} if own is None else own
        if not isinstance(found[name], dict):
            raise UserError(f"{path}: configuration of plugin {name} must be a mapping")
    return found


def _read(path: Path) -> Object:
    try:
        data: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: must be a mapping")
    return data
