"""metadata of every kind: what the server sets, what clients may not, and what is refused.

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta and the API conventions "Metadata".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from timonel.api.clock import format_time
from timonel.api.errors import BadRequest, FieldError
from timonel.api.field_errors import Path, forbidden, invalid, required, too_long
from timonel.api.names import (
    mask_trailing_dash,
    validate_dns1123_label,
    validate_label_value,
    validate_qualified_name,
)
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
MAX_ANNOTATIONS_BYTES = 256 * 1024
MAX_MANAGER_BYTES = 128
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Upstream's: no vowels, so that no words come out, and no digits that look like letters."""
_SUFFIX_LENGTH = 5
_MAX_GENERATED_PREFIX = 63 - _SUFFIX_LENGTH
_METADATA = Path("metadata")
_LABELS = _METADATA / "labels"
_ANNOTATIONS = _METADATA / "annotations"
_CHECKED = ("generation", "labels", "annotations", "ownerReferences", "managedFields", "finalizers")
_STANDARD_FINALIZERS = frozenset({"kubernetes", ORPHAN, FOREGROUND})
_ANY_FINALIZER = frozenset(
    {
        "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io",
        "policy",
    }
)  # fmt: skip
"""Groups whose kinds take finalizers without a domain, as custom resources do."""

_WIPED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


NameCheck = Callable[[str], list[str]]


def metadata_of(obj: Object) -> Object:
    """obj.metadata, made if missing. Raises BadRequest if it is no map (the schema check finds that first)."""
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    return metadata


def match_namespace(metadata: Object, namespace: str) -> None:
    """Puts the URL's namespace into the object. Raises BadRequest if it names another."""
    given = metadata.get("namespace") or ""
    if given == namespace:
        return
    if given:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = namespace


def fill_created(metadata: Object, now: datetime, *, tracks_generation: bool) -> None:
    """What the server alone sets on a new object."""
    for name in _WIPED:
        metadata.pop(name, None)
    # Unique is enough: nobody trusts a uid for being hard to guess, and the kernel's randomness costs 15 µs a time.
    metadata["uid"] = random_uid()
    metadata["creationTimestamp"] = format_time(now)
    if tracks_generation:
        metadata["generation"] = 1


def random_uid() -> str:
    """A UUID of version 4 (RFC 9562), in a third of the time that the uuid module takes."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[random.getrandbits(2)]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def generate_name(prefix: str) -> str:
    suffix = "".join(random.choices(_SUFFIX_ALPHABET, k=_SUFFIX_LENGTH))
    return prefix[:_MAX_GENERATED_PREFIX] + suffix


def fill_updated(new: Object, old: Object) -> None:
    """What an update may never change; both are metadata."""
    for name in ("uid", "creationTimestamp"):
        if name in old:
            new[name] = old[name]
    if old.get("deletionTimestamp"):
        new["deletionTimestamp"] = old["deletionTimestamp"]
        if "deletionGracePeriodSeconds" in old:
            new["deletionGracePeriodSeconds"] = old["deletionGracePeriodSeconds"]
    else:
        new.pop("deletionTimestamp", None)
        new.pop("deletionGracePeriodSeconds", None)
    if "generation" in old:
        new["generation"] = old["generation"]
    else:
        new.pop("generation", None)
    new.pop("selfLink", None)


def restore_for_status(new: Object, old: Object, carried: tuple[str, ...]) -> None:
    """An update of a status keeps the object's metadata, but for the fields named in `carried`."""
    kept: Object = {name: new[name] for name in (*carried, "managedFields") if name in new}
    resource_version = new.get("resourceVersion")
    uid = new.get("uid")
    new.clear()
    new.update({name: value for name, value in old.items() if name not in carried})
    new.pop("managedFields", None)
    new.update(kept)
    for name, value in (("resourceVersion", resource_version), ("uid", uid)):
        if value:
            new[name] = value


def dedupe_owners(metadata: Object, warnings: list[str], *, patching: bool = False) -> None:
    """Owner references repeated word for word are dropped, with upstream's warning."""
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) < 2:
        return
    kept: list[Any] = []
    repeated: dict[str, None] = {}
    for owner in owners:
        if owner in kept:
            repeated[owner.get("uid") or ""] = None
        else:
            kept.append(owner)
    if repeated:
        when = " after mutating admission happens" if patching else ""
        warnings.append(
            f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, "
            "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
            + ", ".join(repeated)
        )
    metadata["ownerReferences"] = kept


def validate_metadata(metadata: Object, ref: ResourceRef, check_name: NameCheck) -> list[FieldError]:
    """Findings about the metadata of a new object."""
    return _validate_name(metadata, ref, check_name) + _validate_fields(metadata, ref)


def _validate_fields(metadata: Object, ref: ResourceRef) -> list[FieldError]:
    found: list[FieldError] = []
    if (metadata.get("generation") or 0) < 0:
        found.append(invalid(_METADATA / "generation", metadata["generation"], "must be greater than or equal to 0"))
    if labels := metadata.get("labels"):
        found += validate_labels(labels, _LABELS)
    if annotations := metadata.get("annotations"):
        found += validate_annotations(annotations, _ANNOTATIONS)
    if owners := metadata.get("ownerReferences"):
        found += _validate_owners(owners)
    if managed := metadata.get("managedFields"):
        found += _validate_managers(managed)
    if finalizers := metadata.get("finalizers"):
        path = _METADATA / "finalizers"
        found += [invalid(path, name, why) for name in finalizers for why in validate_qualified_name(name)]
        if ref.group not in _ANY_FINALIZER:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            for index, name in enumerate(finalizers):
                if "/" not in name and name not in _STANDARD_FINALIZERS:
                    found.append(invalid(path[index], name, why))
        if ORPHAN in finalizers and FOREGROUND in finalizers:
            found.append(invalid(path, finalizers, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"))
    return found


def find_deletion_problems(new: Object, old: Object) -> list[FieldError]:
    """Findings about marks of deletion that a client put on an object; only a delete does that."""
    period = new.get("deletionGracePeriodSeconds")
    if old.get("deletionTimestamp"):
        if period is None or period == old.get("deletionGracePeriodSeconds"):
            return []
        return [invalid(_METADATA / "deletionGracePeriodSeconds", period, "field is immutable")]
    names = ("deletionTimestamp", "deletionGracePeriodSeconds")
    return [invalid(_METADATA / name, new[name], "field is immutable") for name in names if new.get(name) is not None]


def validate_metadata_update(new: Object, old: Object, ref: ResourceRef) -> list[FieldError]:
    """Findings about the metadata of an object that there was. What did not change was found good when it was written;
    names are immutable."""
    changed = {}
    for name in _CHECKED:
        value = new.get(name)
        if value:
            before = old.get(name)
            if value is not before and value != before:
                changed[name] = value
    found = _validate_fields(changed, ref) if changed else []
    if old.get("deletionTimestamp"):
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            listed = "[]string{" + ", ".join(f'"{name}"' for name in extra) + "}"
            found.append(
                forbidden(
                    _METADATA / "finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers " + listed,
                )
            )
    for name in ("name", "namespace", "uid"):
        if (new.get(name) or "") != (old.get(name) or ""):
            found.append(invalid(_METADATA / name, new.get(name) or "", "field is immutable"))
    return found


def validate_labels(labels: Mapping[str, str], path: Path) -> list[FieldError]:
    found = []
    for key, value in labels.items() if len(labels) < 2 else sorted(labels.items()):
        if whys := validate_qualified_name(key):
            found += [invalid(path, key, why) for why in whys]
        if whys := validate_label_value(value):
            found += [invalid(path, value, why) for why in whys]
    return found


def validate_annotations(annotations: Mapping[str, str], path: Path) -> list[FieldError]:
    found = [invalid(path, key, why) for key in sorted(annotations) for why in validate_qualified_name(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > MAX_ANNOTATIONS_BYTES:
        found.append(too_long(path, MAX_ANNOTATIONS_BYTES))
    return found


def _validate_name(metadata: Object, ref: ResourceRef, check: NameCheck) -> list[FieldError]:
    found = []
    prefix = metadata.get("generateName") or ""
    if prefix:
        found += [invalid(_METADATA / "generateName", prefix, why) for why in check(mask_trailing_dash(prefix))]
    name = metadata.get("name") or ""
    if not name:
        found.append(required(_METADATA / "name", "name or generateName is required"))
    else:
        found += [invalid(_METADATA / "name", name, why) for why in check(name)]
    if ref.namespaced:
        namespace = metadata.get("namespace") or ""
        found += [invalid(_METADATA / "namespace", namespace, why) for why in validate_dns1123_label(namespace)]
    return found


def _validate_managers(managed: list[Object]) -> list[FieldError]:
    found = []
    for index, entry in enumerate(managed):
        found += find_manager_problems(entry.get("manager") or "", _METADATA / "managedFields", index)
    return found


def find_manager_problems(manager: str, path: Path, index: int | None = None) -> list[FieldError]:
    """Findings about the name of a field manager: of an entry of managedFields, or at `path` itself."""
    if manager.isprintable() and len(manager) <= MAX_MANAGER_BYTES // 4:
        return []
    if index is not None:
        path = path[index] / "manager"
    found: list[FieldError] = []
    if len(manager.encode()) > MAX_MANAGER_BYTES:
        found.append(too_long(path, MAX_MANAGER_BYTES))
    for position, char in enumerate(manager):
        if not char.isprintable():
            at = len(manager[:position].encode())
            found.append(invalid(path, manager, f"invalid character U+{ord(char):04X} (at position {at})"))
    return found


def _validate_owners(owners: list[Object]) -> list[FieldError]:
    path = _METADATA / "ownerReferences"
    found = []
    controller = ""
    for owner in owners:
        api_version = owner.get("apiVersion") or ""
        if not api_version.rpartition("/")[2] or api_version.count("/") > 1:
            found.append(invalid(path / "apiVersion", api_version, "version must not be empty"))
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                found.append(invalid(path / name, owner.get(name) or "", "must not be empty"))
        if owner.get("kind") == "Event" and api_version == "v1":
            found.append(invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            this = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                found.append(
                    invalid(
                        path,
                        owners,
                        'Only one reference can have Controller set to true. Found "true" in references for '
                        f"{controller} and {this}",
                    )
                )
            else:
                controller = this
    return found
