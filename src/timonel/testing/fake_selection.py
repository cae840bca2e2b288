"""What a list or watch of the fake client is about, and how its objects are shown."""

from __future__ import annotations

from timonel.api.fields import FieldSelector, parse_field_selector
from timonel.api.labels import Selector, parse_label_selector
from timonel.api.objects import Object, copy_object, get_path, labels_of, namespace_of
from timonel.client.watching import EventType, WatchEvent
from timonel.testing.fake_store import Change


class Selection:
    def __init__(self, namespace: str, label_selector: str, field_selector: str) -> None:
        self._namespace = namespace
        self._labels: Selector = parse_label_selector(label_selector)
        self._fields: FieldSelector = parse_field_selector(field_selector)

    def matches(self, obj: Object) -> bool:
        if self._namespace and namespace_of(obj) != self._namespace:
            return False
        if not self._labels.matches(labels_of(obj)):
            return False
        return self._fields.matches(lambda path: str(get_path(obj, *path.split("."), default="")))

    def event(self, change: Change, metadata_only: bool) -> WatchEvent | None:
        """What a selecting watcher sees: an object that leaves its selection is deleted, as far as it knows."""
        before = change.old is not None and self.matches(change.old)
        after = change.new is not None and self.matches(change.new)
        if not before and not after:
            return None
        kind: EventType = "DELETED" if not after else ("MODIFIED" if before else "ADDED")
        obj = view((change.new if after else change.old) or {}, metadata_only)
        obj["metadata"]["resourceVersion"] = str(change.revision)
        return WatchEvent(kind, obj)


def view(obj: Object, metadata_only: bool) -> Object:
    if metadata_only:
        meta = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        return copy_object(meta)
    return copy_object(obj)
