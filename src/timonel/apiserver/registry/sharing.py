"""What a new object shares with the live one: a write leaves most of an object alone, and what it leaves is not copied.

Live objects are read-only, so that sharing is safe as long as every step of a write replaces what it changes of a part
that it did not make itself. metadata is always private, but for what is in it.
"""

from __future__ import annotations

from collections.abc import Collection

from timonel.api.objects import Object, copy_object

NOT_IN_SPEC = ("metadata", "status", "kind", "apiVersion")


def private_parts(live: Object, patch: Object, touched: Collection[str], *, replaces_lists: bool) -> Object:
    """A copy of what a patch may change of an object. What it replaces whole is null in it, and managedFields, most of
    any metadata, are the object's own unless the patch is about them: copying took a tenth of a PATCH."""
    parts: Object = {}
    scalars: Object = {}
    for name in touched:
        value = live.get(name)
        if not isinstance(value, dict):
            if name in live:
                (parts if isinstance(value, list) else scalars)[name] = value
            continue
        wanted = patch.get(name)
        if replaces_lists and isinstance(wanted, dict):
            value = {
                field: None if field in wanted and not isinstance(wanted[field], dict) else item
                for field, item in value.items()
            }
        parts[name] = value
    tracked = None
    changes = patch.get("metadata")
    if isinstance(changes, dict) and not any(name == "managedFields" or name.startswith("$") for name in changes):
        metadata = parts.get("metadata") or {}
        tracked = metadata.get("managedFields")
        if tracked is not None:
            parts["metadata"] = {**metadata, "managedFields": None}
    copied = copy_object(parts)
    if tracked is not None:
        copied["metadata"]["managedFields"] = tracked
    copied.update(scalars)
    return copied


def keeps_spec(new: Object, old: Object, *, has_status: bool) -> bool:
    """Whether a patch left all that is not metadata, nor the status where writes keep that, as the live object's own.
    It was defaulted when it was written."""
    if len(new) != len(old):
        return False
    for part, value in new.items():
        if part in ("metadata", "kind", "apiVersion") or (part == "status" and has_status):
            continue
        if old.get(part) is not value:
            return False
    return True


def unshare(new: Object, old: Object) -> None:
    """A private copy of what a patch did not touch."""
    shared = {part: value for part, value in new.items() if isinstance(value, (dict, list)) and old.get(part) is value}
    if shared:
        new.update(copy_object(shared))


def changes_spec(new: Object, old: Object) -> bool:
    """Whether anything but metadata and status differs."""
    for part, value in new.items():
        if part not in NOT_IN_SPEC:
            before = old.get(part)
            if before is not value and before != value:
                return True
    return any(part not in new and part not in NOT_IN_SPEC for part in old)
