"""CustomResourceDefinition: a kind that users add.

What is checked of its schemas is in `openapi`, `structural`, `defaults` and `rule_compiling`; that default values pass
the rules is not.
Source: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
"""

from __future__ import annotations

from urllib.parse import urlsplit

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, quote, required
from timonel.api.kinds.admission.clients import default_client
from timonel.api.kinds.columns import DEFAULT_COLUMNS
from timonel.api.kinds.crd.formats import unrecognized_formats
from timonel.api.kinds.crd.spec import check_names, check_spec
from timonel.api.kinds.rules import Errors, check_immutable
from timonel.api.kinds.subresources import STATUS
from timonel.api.objects import Object, annotations_of, copy_object, find_by, get_path
from timonel.api.resource import Resource, Strategy

_SPEC = Path("spec")
_STATUS = Path("status")
_APPROVED = "api-approved.kubernetes.io"
_PROPOSAL = "see https://github.com/kubernetes/enhancements/pull/1111"


class CustomResourceDefinitionStrategy(Strategy):
    status_carries = ()
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        kind = names.get("kind") or ""
        if kind and not names.get("singular"):
            names["singular"] = kind.lower()
        if kind and not names.get("listKind"):
            names["listKind"] = f"{kind}List"
        conversion = spec.setdefault("conversion", {"strategy": "None"})
        default_client(get_path(conversion, "webhook", "clientConfig"))

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"acceptedNames": {"kind": "", "plural": ""}, "conditions": None, "storedVersions": None}
        _remember_stored(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        if "status" in new:
            new["status"] = copy_object(new["status"])
        _remember_stored(new)

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec, name = obj["spec"], obj["metadata"].get("name") or ""
        if name and name != f"{get_path(spec, 'names', 'plural', default='')}.{spec.get('group') or ''}":
            why = 'must be spec.names.plural+"."+spec.group'
            errors.append(invalid(Path("metadata") / "name", name, why))
        _validate(errors, obj)
        _check_approval(errors, obj, None)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        _validate(errors, new, old)
        spec, before = new["spec"], old["spec"]
        established = find_by(get_path(old, "status", "conditions"), "type", "Established") or {}
        if established.get("status") == "True":
            check_immutable(errors, _SPEC / "scope", spec.get("scope"), before.get("scope"))
            kind = spec["names"].get("kind")
            check_immutable(errors, _SPEC / "names" / "kind", kind, get_path(before, "names", "kind"))
        check_immutable(errors, _SPEC / "group", spec.get("group"), before.get("group"))
        plural = spec["names"].get("plural")
        check_immutable(errors, _SPEC / "names" / "plural", plural, get_path(before, "names", "plural"))
        _check_approval(errors, new, old)
        return errors

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        errors: Errors = []
        check_names(errors, _STATUS / "acceptedNames", get_path(new, "status", "acceptedNames", default={}))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        known = set(_formats(old)) if old is not None else set()
        return [f"unrecognized format {quote(text)}" for text in _formats(obj) if text not in known]


def _formats(definition: Object) -> list[str]:
    """Of all versions; a schema that every version has counts once, as upstream keeps it once."""
    schemas = [get_path(v, "schema", "openAPIV3Schema") for v in get_path(definition, "spec", "versions", default=[])]
    if schemas and all(schema == schemas[0] for schema in schemas):
        schemas = schemas[:1]
    return [text for schema in schemas for text in unrecognized_formats(schema)]


def _remember_stored(definition: Object) -> None:
    """The storage version joins those in which objects may be stored."""
    for version in definition["spec"].get("versions") or ():
        if version.get("storage"):
            status = definition.setdefault("status", {})
            stored = status.get("storedVersions") or []
            if version.get("name") not in stored:
                status["storedVersions"] = [*stored, version.get("name") or ""]
            return


def _validate(errors: Errors, definition: Object, old: Object | None = None) -> None:
    spec, status = definition["spec"], definition.get("status") or {}
    check_spec(errors, _SPEC, spec, old and old["spec"])
    check_names(errors, _STATUS / "acceptedNames", status.get("acceptedNames") or {})
    _check_stored(errors, status.get("storedVersions"), spec.get("versions") or [])
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        errors.append(invalid(_SPEC / "preserveUnknownFields", True, why))


def _check_stored(errors: Errors, stored: list[str] | None, versions: list[Object]) -> None:
    path = _STATUS / "storedVersions"
    if not stored:
        errors.append(invalid(path, stored, "must have at least one stored version"))
        return
    names = {version.get("name") for version in versions}
    for version in versions:
        if version.get("storage") and version.get("name") not in stored:
            errors.append(invalid(path, stored, f"must have the storage version {version.get('name')}"))
    for index, name in enumerate(stored):
        if name not in names:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            errors.append(invalid(path[index], name, why))


def _approval(definition: Object) -> str:
    text = annotations_of(definition).get(_APPROVED, "")
    if not text:
        return "missing"
    if text.startswith("unapproved"):
        return "bypassed"
    try:
        url = urlsplit(text)
    except ValueError:
        return "invalid"
    return "approved" if url.scheme and url.netloc else "invalid"


def _check_approval(errors: Errors, new: Object, old: Object | None) -> None:
    """Groups of the community need a word that the community agreed."""
    group = "." + (new["spec"].get("group") or "")
    if not group.endswith((".k8s.io", ".kubernetes.io")):
        return
    state, path = _approval(new), (Path("metadata") / "annotations")[_APPROVED]
    if old is not None and _approval(old) == state:
        return
    rule = f"protected groups must have approval annotation {quote(_APPROVED)}"
    if state == "missing":
        errors.append(required(path, f"{rule}, {_PROPOSAL}"))
    elif state == "invalid":
        why = f'{rule} with either a URL or a reason starting with "unapproved", {_PROPOSAL}'
        errors.append(invalid(path, annotations_of(new)[_APPROVED], why))


CUSTOM_RESOURCE_DEFINITIONS = Resource(
    ref=refs.CUSTOM_RESOURCE_DEFINITIONS,
    definition="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    singular="customresourcedefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(STATUS,),
    strategy=CustomResourceDefinitionStrategy(),
    columns=DEFAULT_COLUMNS,
    # The server of these was once one of its own, which put the group into its keys.
    storage_prefix="/registry/apiextensions.k8s.io/customresourcedefinitions/",
    has_status=True,
)

API_EXTENSIONS_ROWS = (CUSTOM_RESOURCE_DEFINITIONS,)
