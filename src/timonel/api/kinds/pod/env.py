"""Environment of containers: plain values, references to fields, resources, ConfigMaps, Secrets and files."""

from __future__ import annotations

from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.pod.paths import check_no_backsteps
from timonel.api.kinds.rules import (
    Errors,
    check_qualified_name,
    check_required_label,
    check_subdomain,
    check_text,
)
from timonel.api.names import validate_config_key, validate_env_name
from timonel.api.objects import Object

ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_POD_FIELDS = frozenset(
    (
        *ENV_FIELDS, *VOLUME_FIELDS, "spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase",
    )
)  # fmt: skip
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_HUGE_PAGES = ("requests.hugepages-", "limits.hugepages-")
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


def check_env(errors: Errors, path: Path, variables: list[Object]) -> None:
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            errors.append(required(path[index] / "name"))
        elif not (name.isascii() and name.isidentifier()):
            check_text(errors, path[index] / "name", name, validate_env_name)
        source = variable.get("valueFrom")
        if source is not None:
            _check_source(errors, path[index] / "valueFrom", source, bool(variable.get("value")))


def _check_source(errors: Errors, path: Path, source: Object, has_value: bool) -> None:
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        check_field_ref(errors, path / "fieldRef", source["fieldRef"], ENV_FIELDS)
    if source.get("resourceFieldRef") is not None:
        count += 1
        check_resource_ref(errors, path / "resourceFieldRef", source["resourceFieldRef"], volume=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if source.get(kind) is not None:
            count += 1
            _check_key_ref(errors, path / kind, source[kind])
    if source.get("fileKeyRef") is not None:
        count += 1
        _check_file_ref(errors, path / "fileKeyRef", source["fileKeyRef"])
    if not count:
        why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(invalid(path, "", why))
    elif has_value:
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))


def split_subscript(text: str) -> tuple[str, str | None]:
    """Takes "metadata.labels['a']" -> ("metadata.labels", "a"); without a subscript the second is None."""
    if text.endswith("']") and "['" in text:
        field, _, rest = text[:-2].partition("['")
        if field:
            return field, rest
    return text, None


def check_field_ref(errors: Errors, path: Path, ref: Object, fields: tuple[str, ...]) -> None:
    version, text = ref.get("apiVersion") or "", ref.get("fieldPath") or ""
    if not version:
        errors.append(required(path / "apiVersion"))
        return
    if not text:
        errors.append(required(path / "fieldPath"))
        return
    field, subscript = split_subscript(text)
    problem = ""
    if version != "v1":
        problem = f"unsupported pod version: {version}"
    elif subscript is not None and field not in ("metadata.annotations", "metadata.labels"):
        problem = f"field label does not support subscript: {text}"
    elif subscript is None and text not in _POD_FIELDS:
        problem = f"field label not supported: {text}"
    if problem:
        errors.append(invalid(path / "fieldPath", text, f"error converting fieldPath: {problem}"))
    elif subscript is not None:
        check_qualified_name(errors, path, subscript.lower() if field == "metadata.annotations" else subscript)
    else:
        field = "spec.nodeName" if field == "spec.host" else field
        if field not in fields:
            errors.append(not_supported(path / "fieldPath", field, fields))


def check_resource_ref(errors: Errors, path: Path, ref: Object, *, volume: bool) -> None:
    resource = ref.get("resource") or ""
    if volume and not ref.get("containerName"):
        errors.append(required(path / "containerName"))
    elif not resource:
        errors.append(required(path / "resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errors.append(not_supported(path / "resource", resource, _RESOURCES))
    divisor = str(ref.get("divisor") or "0")
    if divisor == "0":
        return
    kind = resource.partition(".")[2]
    if kind == "cpu":
        if divisor not in ("1m", "1"):
            why = "only divisor's values 1m and 1 are supported with the cpu resource"
            errors.append(invalid(path / "divisor", resource, why))
    elif divisor not in _SIZES:
        called = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind)
        if called is None and resource.startswith(_HUGE_PAGES):
            called = "hugepages"
        if called is not None:
            why = f"only divisor's values {', '.join(_SIZES)} are supported with the {called} resource"
            errors.append(invalid(path / "divisor", resource, why))


def _check_key_ref(errors: Errors, path: Path, ref: Object) -> None:
    check_subdomain(errors, path / "name", ref.get("name") or "")
    if not ref.get("key"):
        errors.append(required(path / "key"))
    else:
        check_text(errors, path / "key", ref["key"], validate_config_key)


def _check_file_ref(errors: Errors, path: Path, ref: Object) -> None:
    if not ref.get("key"):
        errors.append(required(path / "key"))
    else:
        check_text(errors, path / "key", ref["key"], validate_env_name)
    check_required_label(errors, path / "volumeName", ref.get("volumeName") or "")
    if not ref.get("path"):
        errors.append(required(path / "path"))
    else:
        check_no_backsteps(errors, path / "path", ref["path"])


def check_env_from(errors: Errors, path: Path, sources: list[Object]) -> None:
    for index, source in enumerate(sources):
        if source.get("prefix"):
            check_text(errors, path[index] / "prefix", source["prefix"], validate_env_name)
        count = 0
        for kind in ("configMapRef", "secretRef"):
            ref = source.get(kind)
            if ref is not None:
                count += 1
                name = ref.get("name") or ""
                if name:
                    check_subdomain(errors, path[index] / kind / "name", name.removesuffix("-"))
                else:
                    errors.append(required(path[index] / kind / "name"))
        if not count:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
