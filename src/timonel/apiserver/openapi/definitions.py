"""Definitions as OpenAPI documents show them: without what the package's JSON Schema form added to them.

The package makes every optional value nullable and pins kind and apiVersion; upstream's documents do neither. What
the package leaves out is added: the values of enumerated fields and, in v3, defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from timonel import KUBERNETES_VERSION
from timonel.api.objects import Object
from timonel.api.presence import always_present, null_when_absent, shown_when_absent
from timonel.api.schema import raw_definitions
from timonel.apiserver.openapi.enumerations import enumerations
from timonel.apiserver.openapi.operations import TEXT, Operation

API_VERSION = KUBERNETES_VERSION.rpartition(".")[0]
_SOURCE = "#/$defs/"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_NESTED = ("items", "additionalProperties")
_NO_STRUCTURES = frozenset({"Quantity", "IntOrString", "Time", "MicroTime", "RawExtension"})
"""References to them have no {} for default."""
_ZEROS: Object = {"string": "", "integer": 0, "boolean": False}
_DEFAULTS: Object = {
    "AzureDiskVolumeSource.cachingMode": "ReadWrite", "AzureDiskVolumeSource.fsType": "ext4",
    "AzureDiskVolumeSource.kind": "Shared", "AzureDiskVolumeSource.readOnly": False, "ContainerPort.protocol": "TCP",
    "DeviceToleration.operator": "Equal", "FileKeySelector.optional": False,
    "ISCSIPersistentVolumeSource.iscsiInterface": "default", "ISCSIVolumeSource.iscsiInterface": "default",
    "RBDPersistentVolumeSource.keyring": "/etc/ceph/keyring", "RBDPersistentVolumeSource.pool": "rbd",
    "RBDPersistentVolumeSource.user": "admin", "RBDVolumeSource.keyring": "/etc/ceph/keyring",
    "RBDVolumeSource.pool": "rbd", "RBDVolumeSource.user": "admin", "ReplicationControllerSpec.minReadySeconds": 0,
    "ReplicationControllerSpec.replicas": 1, "ScaleIOPersistentVolumeSource.fsType": "xfs",
    "ScaleIOPersistentVolumeSource.storageMode": "ThinProvisioned", "ScaleIOVolumeSource.fsType": "xfs",
    "ScaleIOVolumeSource.storageMode": "ThinProvisioned", "ScaleSpec.replicas": 0, "ServicePort.protocol": "TCP",
    "Status.metadata": {}, "TokenRequestStatus.token": "", "GRPCAction.service": "",
    "ConfigMapEnvSource.name": "", "ConfigMapKeySelector.name": "", "ConfigMapProjection.name": "",
    "ConfigMapVolumeSource.name": "", "LocalObjectReference.name": "", "SecretEnvSource.name": "",
    "SecretKeySelector.name": "", "SecretProjection.name": "", "ServiceReference.name": "",
    "ServiceReference.namespace": "", "PriorityClass.value": 0, "QueuingConfiguration.handSize": 0,
    "QueuingConfiguration.queueLengthLimit": 0, "QueuingConfiguration.queues": 0,
}  # fmt: skip
"""Beyond the rule that what is always shown has its zero for default."""
_WITHOUT_DEFAULT = frozenset({
    "io.k8s.api.events.v1.Event.reportingInstance",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.ServiceReference.name",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.ServiceReference.namespace",
})  # fmt: skip
"""Other than the fields of the same short name elsewhere."""

Reference = Callable[[str, Object], Object]
"""Makes the schema that refers to a definition; gets its name and what stood beside the reference."""


def load_definitions() -> dict[str, Object]:
    """Read anew each time and given away: 15 MB as dicts, which nobody should keep."""
    return raw_definitions()


def roots_of(found: Iterable[Operation]) -> set[str]:
    """Names of the definitions that operations name."""
    return {name for operation in found for name in (operation.body, operation.answer) if name and name != TEXT}


def reachable(definitions: dict[str, Object], roots: Iterable[str]) -> list[str]:
    """Names of the definitions that `roots` need, themselves included, sorted."""
    found: set[str] = set()
    waiting = [root for root in roots if root in definitions]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += [each for each in _references(definitions[name]) if each not in found and each in definitions]
    return sorted(found)


class Cleaner:
    """Cleans definitions for one document of OpenAPI v2 or v3; `version` decides how values of two types are written,
    and whether defaults are."""

    def __init__(self, reference: Reference, version: int) -> None:
        self._reference = reference
        self._version = version
        self._enumerations = enumerations()

    def clean(self, name: str, schema: Object) -> Object:
        if name == _INT_OR_STRING:
            made: Object = {"format": "int-or-string"}
            made |= {"type": "string"} if self._version == 2 else {"oneOf": [{"type": "integer"}, {"type": "string"}]}
        elif name == _QUANTITY:
            made = {"type": "string"}
            if self._version == 3:
                made = {"oneOf": [{"type": "string"}, {"type": "number"}]}
        else:
            made = self._schema(schema)
            required = schema.get("required", ())
            for field, source in schema.get("properties", {}).items():
                made["properties"][field] = self._property(name, field, source, field in required)
            return made
        if "description" in schema:
            made["description"] = schema["description"]
        return made

    def _property(self, definition: str, field: str, source: Object, required: bool) -> Object:
        source = dict(source)
        short = definition.rpartition(".")[2]
        if field in ("kind", "apiVersion"):
            source.pop("enum", None)
        if self._version == 3 and f"{definition}.{field}" not in _WITHOUT_DEFAULT:
            default = _default(short, field, source, required)
            if default is not None:
                source["default"] = default
        values = self._enumerations.get(f"{short}.{field}")
        if values is None:
            return self._schema(source)
        made = self._schema(source)
        for nested in _NESTED:
            if nested in made:
                made[nested] = {**made[nested], "enum": values}
                return made
        return {**made, "enum": values}

    def _schema(self, schema: Object) -> Object:
        target = schema.get("$ref")
        if target is not None:
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self._reference(target.removeprefix(_SOURCE), beside)
        made: Object = {}
        for key, value in schema.items():
            if key == "type":
                made[key] = value[0] if isinstance(value, list) else value
            elif key in _NESTED and isinstance(value, dict):
                made[key] = self._schema(value)
            elif key == "properties":
                made[key] = {field: self._schema(each) for field, each in value.items()}
            elif key != "oneOf":
                made[key] = value
        return made


def _default(definition: str, field: str, schema: Object, required: bool) -> Any:
    """The default that readers may take for granted; None for none."""
    if (stated := _DEFAULTS.get(f"{definition}.{field}")) is not None:
        return stated
    target = schema.get("$ref")
    if target is not None:
        is_structure = target.rpartition(".")[2] not in _NO_STRUCTURES
        return {} if is_structure and always_present(definition, field, required) else None
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind not in _ZEROS or schema.get("format") == "byte":
        return None
    if null_when_absent(definition, field) or not shown_when_absent(definition, field, required):
        return None
    return _ZEROS[kind]


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_SOURCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
