"""ConfigMap: files and settings for pods, optionally frozen by `immutable`."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, plain
from timonel.api.resource import Column, Resource, Strategy


class ConfigMapStrategy(Strategy):
    tracks_generation = False


CONFIG_MAPS = Resource(
    ref=refs.CONFIGMAPS,
    definition="io.k8s.api.core.v1.ConfigMap",
    singular="configmap",
    short_names=("cm",),
    strategy=ConfigMapStrategy(),
    columns=(
        NAME,
        Column(
            "Data",
            plain(lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
            description="Number of keys.",
        ),
        AGE,
    ),
    storage_prefix="/registry/configmaps/",
)
