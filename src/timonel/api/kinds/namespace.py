"""Namespace: removed in two steps, `spec.finalizers` by the finalize subresource after its content is gone."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, cell_at
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.subresources import STATUS
from timonel.api.resource import Column, Resource, Strategy, Subresource


class NamespaceStrategy(Strategy):
    tracks_generation = False


NAMESPACES = Resource(
    ref=refs.NAMESPACES,
    definition="io.k8s.api.core.v1.Namespace",
    singular="namespace",
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource("finalize", verbs=("update",)), STATUS),
    strategy=NamespaceStrategy(),
    columns=(NAME, Column("Status", cell_at("status", "phase"), description="Active or Terminating."), AGE),
    selectable_fields={"status.phase": text_at("status", "phase"), "name": text_at("metadata", "name")},
    storage_prefix="/registry/namespaces/",
    has_status=True,
)
