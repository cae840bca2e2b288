"""Operations that are about no kind: discovery, the version, and how tokens of service accounts are checked."""

from __future__ import annotations

from collections.abc import Iterable

from timonel.apiserver.openapi.operations import META, OBJECT_TYPES, TEXT, Operation, camel, pascal

_JSON = ("application/json",)
_GROUP = "get information of a group"


def of_path(name: str) -> Operation | None:
    """The operation of a document that has no other, by the document's name: "api", "apis/apps", "version" …"""
    match name.split("/"):
        case ["api"]:
            return _discovery(name, "core", "getCoreAPIVersions", "get available API versions", "APIVersions")
        case ["apis"]:
            return _discovery(name, "apis", "getAPIVersions", "get available API versions", "APIGroupList")
        case ["apis", group]:
            tag = camel(group)
            return _discovery(name, tag, f"get{pascal(tag)}APIGroup", _GROUP, "APIGroup")
        case ["version"]:
            described = "get the version information for this server"
            answer = "io.k8s.apimachinery.pkg.version.Info"
            return Operation("/version/", "get", "getCodeVersion", "version", described, answer, _JSON, _JSON)
        case ["openid", "v1", "jwks"]:
            described = "get the keys that service accounts' tokens are signed with, as a JSON Web Key Set"
            made_id, types = "getServiceAccountIssuerOpenIDKeyset", ("application/jwk-set+json",)
            return Operation(f"/{name}/", "get", made_id, "openid", described, TEXT, types)
        case [".well-known", "openid-configuration"]:
            described = "get the OpenID configuration of the issuer of service accounts' tokens"
            made_id = "getServiceAccountIssuerOpenIDConfiguration"
            return Operation(f"/{name}/", "get", made_id, "WellKnown", described, TEXT, _JSON)
    return None


def names(groups: Iterable[str]) -> list[str]:
    """Of the documents that `of_path` has something for; `groups` without the legacy one."""
    found = [".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"]
    return [*found, *(f"apis/{group}" for group in groups)]


def of_version(group: str, version: str) -> Operation:
    """What kinds a group version has."""
    tag = f"{camel(group)}_{version}"
    path = f"apis/{group}/{version}" if group else f"api/{version}"
    return _discovery(path, tag, f"get{pascal(tag)}APIResources", "get available resources", "APIResourceList")


def _discovery(path: str, tag: str, operation_id: str, description: str, answer: str) -> Operation:
    return Operation(f"/{path}/", "get", operation_id, tag, description, f"{META}.{answer}", OBJECT_TYPES, OBJECT_TYPES)
