"""Secret: like a ConfigMap, with types that promise certain keys; `stringData` is a convenience for writers."""

from __future__ import annotations

from timonel.api import refs
from timonel.api.kinds.columns import AGE, NAME, cell_at, plain
from timonel.api.kinds.fields import text_at
from timonel.api.resource import Column, Resource, Strategy


class SecretStrategy(Strategy):
    tracks_generation = False


SECRETS = Resource(
    ref=refs.SECRETS,
    definition="io.k8s.api.core.v1.Secret",
    singular="secret",
    strategy=SecretStrategy(),
    columns=(
        NAME,
        Column("Type", cell_at("type"), description="What the keys mean."),
        Column("Data", plain(lambda obj: len(obj.get("data") or ())), description="Number of keys."),
        AGE,
    ),
    selectable_fields={"type": text_at("type")},
    storage_prefix="/registry/secrets/",
)
