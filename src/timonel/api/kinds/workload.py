"""What the kinds that keep pods by a template and a selector share."""

from __future__ import annotations

from timonel.api.kinds.columns import plain
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.objects import Object
from timonel.api.resource import Column


def selector_text(obj: Object) -> str:
    try:
        return str(selector_from_object((obj.get("spec") or {}).get("selector")))
    except InvalidSelector:
        return "<invalid>"


SELECTOR_COLUMN = Column("Selector", plain(selector_text), priority=1, description="Labels its pods are known by.")
