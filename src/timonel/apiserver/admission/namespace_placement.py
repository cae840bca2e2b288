"""PodNodeSelector and PodTolerationRestriction: annotations of a namespace say where its pods may run. Off by default.

Source: kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podnodeselector
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from timonel.api.errors import ApiError, BadRequest, InternalError, not_found
from timonel.api.objects import Object, annotations_of
from timonel.api.quota.pods import is_best_effort
from timonel.api.refs import NAMESPACES
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.admission.tolerations import covers, merge_tolerations
from timonel.apiserver.readers import Reader, Readers

NODE_SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"
DEFAULT_TOLERATIONS = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED_TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
CLUSTER_DEFAULT = "clusterDefaultNodeSelector"

_pair = re.compile(r"\s*([^=,\s]+)\s*=\s*([^=,\s]*)\s*").fullmatch


class PodNodeSelector(Plugin):
    """`selectors`: labels as text by namespace, as the plugin's configuration has them, and one default for all."""

    name = "PodNodeSelector"
    operations = frozenset({"CREATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers, selectors: dict[str, str] | None = None) -> None:
        self._namespaces = readers.reader(NAMESPACES)
        self._selectors = {name: parse_labels(text) for name, text in (selectors or {}).items()}

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.obj is not None and not request.subresource:
            wanted = self._check(request, request.obj)
            if wanted:
                spec = request.obj["spec"]
                spec["nodeSelector"] = {**wanted, **(spec.get("nodeSelector") or {})}

    async def validate(self, request: AdmissionRequest) -> None:
        if request.obj is None or request.subresource:
            return
        self._check(request, request.obj)
        allowed = self._selectors.get(request.namespace)
        given = request.obj["spec"].get("nodeSelector") or {}
        if allowed and any(allowed.get(key) != value for key, value in given.items()):
            raise request.forbidden("pod node label selector labels conflict with its namespace whitelist")

    def _check(self, request: AdmissionRequest, pod: Object) -> dict[str, str]:
        """The namespace's selector. Raises Forbidden when the pod's own says something else."""
        annotations = annotations_of(_namespace(request, self._namespaces))
        if NODE_SELECTOR in annotations:
            try:
                wanted = parse_labels(annotations[NODE_SELECTOR])
            except ValueError as exc:
                raise InternalError(f"Internal error occurred: {exc}") from exc
        else:
            wanted = self._selectors.get(CLUSTER_DEFAULT, {})
        given = pod["spec"].get("nodeSelector") or {}
        if any(given.get(key, value) != value for key, value in wanted.items()):
            raise request.forbidden("pod node label selector conflicts with its namespace node label selector")
        return wanted


class PodTolerationRestriction(Plugin):
    """`default` and `allowed` are the cluster's tolerations, for namespaces whose annotations say nothing."""

    name = "PodTolerationRestriction"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers, default: list[Object] | None = None, allowed: list[Object] | None = None):
        self._namespaces = readers.reader(NAMESPACES)
        self._default = default or []
        self._allowed = allowed or []

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.obj
        if pod is None or request.subresource:
            return
        extra: list[Object] = []
        if request.operation == "CREATE":
            found = self._annotated(request, DEFAULT_TOLERATIONS)
            extra = list(self._default if found is None else found)
        if not is_best_effort(pod):
            extra.append({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"})
        if extra:
            spec = request.own("spec")
            spec["tolerations"] = merge_tolerations(spec.get("tolerations") or [], extra)

    async def validate(self, request: AdmissionRequest) -> None:
        given = (request.obj or {}).get("spec", {}).get("tolerations") or []
        if request.subresource or not given:
            return
        allowed, scope = self._annotated(request, ALLOWED_TOLERATIONS), "namespace"
        if allowed is None:
            allowed, scope = self._allowed, "cluster"
        if allowed and not all(any(covers(wide, item) for wide in allowed) for item in given):
            # Upstream answers with an error that is no Status: 500, with this message.
            raise ApiError(
                "pod tolerations (possibly merged with namespace default tolerations) conflict with its"
                f" {scope} whitelist"
            )

    def _annotated(self, request: AdmissionRequest, key: str) -> list[Object] | None:
        text = annotations_of(_namespace(request, self._namespaces)).get(key)
        if text is None:
            return None
        try:
            found: Any = orjson.loads(text) if text else []
        except orjson.JSONDecodeError as exc:
            raise BadRequest(f"annotation {key} of namespace {request.namespace}: {exc}") from exc
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise BadRequest(f"annotation {key} of namespace {request.namespace}: must be a list of tolerations")
        return found


def parse_labels(text: str) -> dict[str, str]:
    """Takes "a=b,c=d". Raises ValueError."""
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        match = _pair(part)
        if match is None:
            raise ValueError(f"invalid selector: [{part}]")
        found[match[1]] = match[2]
    return found


def _namespace(request: AdmissionRequest, namespaces: Reader) -> Object:
    found = namespaces.get("", request.namespace)
    if found is None:
        raise not_found(NAMESPACES, request.namespace)
    return found
