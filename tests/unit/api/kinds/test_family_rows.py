"""The rows of the families against the API documentation and upstream's storage layout."""

from __future__ import annotations

import pytest

from timonel.api import refs
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef
from timonel.api.resource import STORED_VERBS, Resource
from timonel.api.schema import schemas

from .samples import FAMILIES, TABLE, created

API = ("api-extensions",)
STATUS = ("status",)

# Reference, key prefix, short names, categories, subresources, whether changes of the spec are counted.
ROWS: list[tuple[ResourceRef, str, tuple[str, ...], tuple[str, ...], tuple[str, ...], bool]] = [
    (refs.PERSISTENT_VOLUMES, "persistentvolumes", ("pv",), (), STATUS, False),
    (refs.PERSISTENT_VOLUME_CLAIMS, "persistentvolumeclaims", ("pvc",), (), STATUS, False),
    (refs.STORAGE_CLASSES, "storageclasses", ("sc",), (), (), False),
    (refs.VOLUME_ATTACHMENTS, "volumeattachments", (), (), STATUS, False),
    (refs.VOLUME_ATTRIBUTES_CLASSES, "volumeattributesclasses", ("vac",), (), (), False),
    (refs.CSI_DRIVERS, "csidrivers", (), (), (), False),
    (refs.CSI_NODES, "csinodes", (), (), (), False),
    (refs.CSI_STORAGE_CAPACITIES, "csistoragecapacities", (), (), (), False),
    (refs.NETWORK_POLICIES, "networkpolicies", ("netpol",), (), (), True),
    (refs.INGRESSES, "ingress", ("ing",), (), STATUS, True),
    (refs.INGRESS_CLASSES, "ingressclasses", (), (), (), True),
    (refs.IP_ADDRESSES, "ipaddresses", ("ip",), (), (), False),
    (refs.SERVICE_CIDRS, "servicecidrs", (), (), STATUS, False),
    (refs.RUNTIME_CLASSES, "runtimeclasses", (), (), (), False),
    (refs.CERTIFICATE_SIGNING_REQUESTS, "certificatesigningrequests", ("csr",), (), ("approval", "status"), False),
    (refs.FLOW_SCHEMAS, "flowschemas", (), (), STATUS, True),
    (refs.PRIORITY_LEVEL_CONFIGURATIONS, "prioritylevelconfigurations", (), (), STATUS, True),
    (refs.VALIDATING_WEBHOOK_CONFIGURATIONS, "validatingwebhookconfigurations", (), API, (), True),
    (refs.MUTATING_WEBHOOK_CONFIGURATIONS, "mutatingwebhookconfigurations", (), API, (), True),
    (refs.VALIDATING_ADMISSION_POLICIES, "validatingadmissionpolicies", (), API, STATUS, True),
    (refs.VALIDATING_ADMISSION_POLICY_BINDINGS, "validatingadmissionpolicybindings", (), API, (), True),
    (refs.MUTATING_ADMISSION_POLICIES, "mutatingadmissionpolicies", (), API, (), True),
    (refs.MUTATING_ADMISSION_POLICY_BINDINGS, "mutatingadmissionpolicybindings", (), API, (), True),
    (refs.API_SERVICES, "apiregistration.k8s.io/apiservices", (), API, STATUS, False),
    (
        refs.CUSTOM_RESOURCE_DEFINITIONS, "apiextensions.k8s.io/customresourcedefinitions",
        ("crd", "crds"), API, STATUS, True,
    ),
    (refs.DEVICE_CLASSES, "deviceclasses", (), (), (), True),
    (refs.RESOURCE_CLAIMS, "resourceclaims", (), (), STATUS, False),
    (refs.RESOURCE_CLAIM_TEMPLATES, "resourceclaimtemplates", (), (), (), False),
    (refs.RESOURCE_SLICES, "resourceslices", (), (), (), True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ref", "prefix", "short", "categories", "subresources", "counted"), ROWS, ids=[row[0].kind for row in ROWS]
)
def test_rows(
    ref: ResourceRef,
    prefix: str,
    short: tuple[str, ...],
    categories: tuple[str, ...],
    subresources: tuple[str, ...],
    counted: bool,
) -> None:
    row = TABLE.row(ref)
    assert row.storage_prefix == f"/registry/{prefix}/"
    assert (row.short_names, row.categories, row.verbs) == (short, categories, STORED_VERBS)
    assert tuple(sorted(sub.name for sub in row.subresources)) == subresources
    assert row.has_status == ("status" in subresources)
    assert row.strategy.tracks_generation == counted
    assert row.singular == ref.kind.lower()


def test_every_row_is_described_here() -> None:
    assert {row[0] for row in ROWS} == {row.ref for row in FAMILIES}


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.ref.kind)
def test_what_defaults_write_is_in_the_schema_and_kept(row: Resource) -> None:
    sample = _with_parts(row)
    schemas().check(row.definition, sample)
    filled = created(row.ref, sample)
    read = copy_object(filled)
    checked = schemas().check(row.definition, read)
    assert (checked.unknown, checked.error) == ([], None)
    assert read == filled  # nothing of it is a zero that would be dropped


def _with_parts(row: Resource) -> Object:
    """An object that has everything which defaults are written into."""
    rule: Object = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    service = {"service": {"namespace": "a", "name": "b"}}
    request = {"name": "a", "exactly": {"deviceClassName": "c"}}
    devices: Object = {"devices": {"requests": [request]}}
    parts: dict[str, Object] = {
        "PersistentVolume": {"spec": {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}},
        "NetworkPolicy": {"spec": {"ingress": [{"ports": [{"port": 80}]}]}},
        "IngressClass": {"spec": {"parameters": {"kind": "K", "name": "n"}}},
        "PriorityLevelConfiguration": {
            "spec": {"exempt": {}, "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}
        },
        "ValidatingWebhookConfiguration": {"webhooks": [{"name": "a", "rules": [rule], "clientConfig": service}]},
        "MutatingWebhookConfiguration": {"webhooks": [{"name": "a", "rules": [rule], "clientConfig": service}]},
        "ValidatingAdmissionPolicy": {"spec": {"matchConstraints": {"resourceRules": [rule]}}},
        "MutatingAdmissionPolicyBinding": {"spec": {"matchResources": {"resourceRules": [rule]}}},
        "APIService": {"spec": service},
        "CustomResourceDefinition": {
            "spec": {
                "names": {"kind": "Thing", "plural": "things"},
                "versions": [{"name": "v1", "served": True, "storage": True}],
            }
        },
        "ResourceClaim": {"spec": devices},
        "ResourceClaimTemplate": {"spec": {"spec": devices}},
    }
    return {"metadata": {"name": "x"}, **parts.get(row.ref.kind, {})}


@pytest.mark.parametrize(
    ("ref", "obj", "expected"),
    [
        (
            refs.CERTIFICATE_SIGNING_REQUESTS, {"spec": {"signerName": "a.io/b"}}, {"spec.signerName": "a.io/b"},
        ),
        (
            refs.RESOURCE_SLICES, {"spec": {"driver": "d"}}, {"spec.nodeName": "", "spec.driver": "d"},
        ),
        (refs.PERSISTENT_VOLUMES, {}, {}),
    ],
    ids=lambda value: value.kind if isinstance(value, ResourceRef) else "",
)  # fmt: skip
def test_selectable_fields(ref: ResourceRef, obj: Object, expected: dict[str, str]) -> None:
    assert {field: read(obj) for field, read in TABLE.row(ref).selectable_fields.items()} == expected


def test_who_must_say_which_state_they_change() -> None:
    careful = {row.ref.kind for row in FAMILIES if not row.strategy.allow_unconditional_update}
    assert careful == {
        "VolumeAttachment", "CSIDriver", "CSINode", "CSIStorageCapacity", "RuntimeClass", "APIService",
        "CustomResourceDefinition", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    }  # fmt: skip
