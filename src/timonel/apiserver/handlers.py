"""Every module that registers handlers of subresources, reviews and paths; importing this one fills the tables."""

from __future__ import annotations

from timonel.apiserver import component_statuses, namespace_finalize, pod_actions, pod_evictions, scale
from timonel.apiserver.flowcontrol import debug_paths
from timonel.apiserver.proxy import backends, pods
from timonel.apiserver.resource_metrics import serving
from timonel.apiserver.reviews import access, discovery, tokens

MODULES = (
    access, backends, component_statuses, debug_paths, discovery, namespace_finalize, pod_actions, pod_evictions, pods,
    scale, serving, tokens,
)  # fmt: skip
