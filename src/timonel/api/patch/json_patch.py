"""JSON patch, RFC 6902, with the liberties that clients of Kubernetes know.

Beyond the RFC: negative indexes count from the end, "replace" of a missing field adds it, and "test" against null holds
for a missing one. An operation that does not apply answers 422 with upstream's short message, and says which and why
in the causes, where upstream leaves the client guessing.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from timonel.api.decode import is_too_deep
from timonel.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from timonel.api.field_errors import quote
from timonel.api.objects import Object, copy_object

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""What all "copy" operations of one patch may add, so that a small patch cannot blow an object up."""

_TOO_DEEP = "error decoding patch: the result exceeds max depth"
_MISSING = "missing value"
_INVALID_INDEX = "invalid index referenced"
_TEST_FAILED = "test failed"
_index = re.compile(r"[+-]?[0-9]{1,9}").fullmatch


class _DoesNotApply(ValueError):
    pass


def apply_json_patch(doc: Object, operations: Any) -> Object:
    """The patched document.

    Raises BadRequest when `operations` is no list of objects, RequestEntityTooLarge when it is too long, Invalid when
    an operation does not apply.
    """
    check_operations(operations)
    run = _Run(copy_object(doc))
    for operation in operations:
        try:
            run.apply(operation)
        except orjson.JSONEncodeError:
            raise BadRequest(_TOO_DEEP) from None
        except _DoesNotApply as exc:
            raise Invalid(
                "the server rejected our request due to an error in our request",
                details={"causes": [{"reason": "UnexpectedServerResponse", "message": str(exc)}]},
            ) from None
    if not isinstance(run.doc, dict):
        raise BadRequest("error decoding patch: the result is no object")
    # Only this kind of patch can put a deep value at a deep place, or a value into itself again and again.
    if is_too_deep(run.doc):
        raise BadRequest(_TOO_DEEP)
    return run.doc


def check_operations(operations: Any) -> None:
    """Raises BadRequest for what is no list of operations, RequestEntityTooLarge when it is too long."""
    if not isinstance(operations, list):
        raise BadRequest(_cannot_unmarshal(operations, "Go value of type []handlers.jsonPatchOp"))
    for operation in operations:
        if not isinstance(operation, dict):
            raise BadRequest(_cannot_unmarshal(operation, "Go value of type handlers.jsonPatchOp"))
        for name in ("op", "path", "from"):
            if operation.get(name) is not None and not isinstance(operation[name], str):
                wanted = f"Go struct field jsonPatchOp.{name} of type string"
                raise BadRequest(_cannot_unmarshal(operation[name], wanted))
    if len(operations) > MAX_OPERATIONS:
        why = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise RequestEntityTooLarge(f"Request entity too large: {why}")


def _cannot_unmarshal(value: Any, wanted: str) -> str:
    names: dict[type, str] = {str: "string", list: "array", dict: "object", bool: "bool", type(None): "null"}
    return f"error decoding patch: json: cannot unmarshal {names.get(type(value), 'number')} into {wanted}"


def find_unknown_members(operations: Any) -> list[str]:
    """Strict findings about the patch itself: members that operations do not have."""
    found: dict[str, None] = {}
    for index, operation in enumerate(operations if isinstance(operations, list) else ()):
        for name in operation if isinstance(operation, dict) else ():
            if name not in ("op", "path", "from", "value"):
                found[f"json patch unknown field {quote(f'[{index}].{name}')}"] = None
    return list(found)


class _Run:
    def __init__(self, doc: Any) -> None:
        self.doc = doc
        self.copied = 0

    def apply(self, operation: Object) -> None:
        name = operation.get("op")
        match name:
            case "add":
                path = self._pointer(operation, "path", name)
                container, key = self._find(path, 'add operation does not apply: doc is missing path: "%s"')
                self._add(container, key, operation.get("value"), f"error in add for path: '{path}'")
            case "remove":
                path = self._pointer(operation, "path", name)
                container, key = self._find(path, 'remove operation does not apply: doc is missing path: "%s"')
                self._remove(container, key, f"error in remove for path: '{path}'")
            case "replace":
                self._replace(self._pointer(operation, "path", name), operation.get("value"))
            case "move":
                self._move(operation)
            case "copy":
                self._copy(operation)
            case "test":
                self._test(self._pointer(operation, "path", name), operation.get("value"))
            case _:
                raise _DoesNotApply(f"Unexpected kind: {name if isinstance(name, str) else 'unknown'}")

    def _pointer(self, operation: Object, member: str, name: str) -> str:
        pointer = operation.get(member)
        if not isinstance(pointer, str):
            raise _DoesNotApply(f"{name} operation failed to decode {member}: {_MISSING}")
        return pointer

    def _find(self, path: str, missing: str) -> tuple[Any, str]:
        """The container that holds the last step of a path, and that step."""
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]
        container = self.doc if len(steps) > 1 else None
        for step in steps[1:-1]:
            if isinstance(container, dict):
                container = container.get(step)
            elif isinstance(container, list) and _index(step) and -len(container) <= int(step) < len(container):
                container = container[int(step)]
            else:
                container = None
        if not isinstance(container, (dict, list)):
            raise _DoesNotApply(f"{missing % path}: {_MISSING}")
        return container, steps[-1]

    def _position(self, container: list[Any], key: str, where: str, *, end: int) -> int:
        """An index into a list, at most `end`; negative ones count from there."""
        if not _index(key):
            raise _DoesNotApply(f"{where}: strconv.Atoi: parsing {quote(key)}: invalid syntax")
        position = int(key)
        if not -end <= position < end:
            raise _DoesNotApply(f"{where}: Unable to access invalid index: {position}: {_INVALID_INDEX}")
        return position + end if position < 0 else position

    def _get(self, container: Any, key: str, where: str) -> Any:
        if isinstance(container, dict):
            return container.get(key)
        return container[self._position(container, key, where, end=len(container))]

    def _add(self, container: Any, key: str, value: Any, where: str) -> None:
        if isinstance(container, dict):
            container[key] = value
        elif key == "-":
            container.append(value)
        else:
            container.insert(self._position(container, key, where, end=len(container) + 1), value)

    def _remove(self, container: Any, key: str, where: str) -> None:
        if isinstance(container, list):
            del container[self._position(container, key, where, end=len(container))]
        elif key in container:
            del container[key]
        else:
            raise _DoesNotApply(f"{where}: Unable to remove nonexistent key: {key}: {_MISSING}")

    def _replace(self, path: str, value: Any) -> None:
        if path == "":
            if not isinstance(value, (dict, list)):
                raise _DoesNotApply("replace operation value must be object or array")
            self.doc = value
            return
        container, key = self._find(path, "replace operation does not apply: doc is missing path: %s")
        if isinstance(container, dict):
            container[key] = value
            return
        try:
            container[self._position(container, key, "", end=len(container))] = value
        except _DoesNotApply:
            raise _DoesNotApply(f"replace operation does not apply: doc is missing key: {path}: {_MISSING}") from None

    def _move(self, operation: Object) -> None:
        source = self._pointer(operation, "from", "move")
        container, key = self._find(source, "move operation does not apply: doc is missing from path: %s")
        where = f"error in move for path: '{key}'"
        value = self._get(container, key, where)
        self._remove(container, key, where)
        path = self._pointer(operation, "path", "move")
        container, key = self._find(path, "move operation does not apply: doc is missing destination path: %s")
        self._add(container, key, value, f"error in move for path: '{path}'")

    def _copy(self, operation: Object) -> None:
        source = self._pointer(operation, "from", "copy")
        container, key = self._find(source, "copy operation does not apply: doc is missing from path: %s")
        value = orjson.dumps(self._get(container, key, f"error in copy for from: '{source}'"))
        path = self._pointer(operation, "path", "copy")
        container, key = self._find(path, "copy operation does not apply: doc is missing destination path: %s")
        self.copied += len(value)
        if self.copied > MAX_COPIED_BYTES:
            raise _DoesNotApply(
                f"Unable to complete the copy, the accumulated size increase of copy is {self.copied}, "
                f"exceeding the limit {MAX_COPIED_BYTES}"
            )
        self._add(container, key, orjson.loads(value), "error while adding value during copy")

    def _test(self, path: str, value: Any) -> None:
        if path == "":
            actual = self.doc
        else:
            container, key = self._find(path, "test operation does not apply: is missing path: %s")
            actual = self._get(container, key, f"error in test for path: '{path}'")
        # As JSON, where true is not 1.
        if orjson.dumps(actual, option=orjson.OPT_SORT_KEYS) != orjson.dumps(value, option=orjson.OPT_SORT_KEYS):
            raise _DoesNotApply(f"testing value {path} failed: {_TEST_FAILED}")
