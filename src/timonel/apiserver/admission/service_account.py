"""ServiceAccount: every pod runs as an account that exists, with a projected token unless it declines one.

Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
"""

from __future__ import annotations

import random

from timonel.api.clock import Clock
from timonel.api.errors import Forbidden
from timonel.api.objects import Object, annotations_of, name_of
from timonel.api.pod_references import secret_names
from timonel.api.refs import SERVICE_ACCOUNTS
from timonel.apiserver.admission.chain import AdmissionRequest, Meeting, Plugin
from timonel.apiserver.readers import Readers

DEFAULT_ACCOUNT = "default"
TOKEN_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
TOKEN_SECONDS = 3607
"""An hour and seven seconds marks a token the server put in by itself; it lives longer, but warns from then on."""
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # upstream's for generated names: no vowels, no look-alikes
_WAITS, _WAIT_SECONDS = 10, 0.1
_TRUE = ("1", "t", "T", "TRUE", "true", "True")


class ServiceAccount(Plugin):
    name = "ServiceAccount"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, *, readers: Readers, clock: Clock) -> None:
        self._accounts = readers.reader(SERVICE_ACCOUNTS)
        self._clock = clock

    def cares(self, meeting: Meeting) -> bool:
        if meeting.operation == "CREATE":
            return not meeting.subresource
        return meeting.subresource == "ephemeralcontainers" and not meeting.mutates

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.obj
        if pod is None or request.operation != "CREATE" or request.subresource:
            return
        if MIRROR_ANNOTATION in annotations_of(pod):
            return
        spec = pod["spec"]
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = spec["serviceAccount"] = DEFAULT_ACCOUNT
        account = await self._account(request, spec["serviceAccountName"])
        if _automounts(account, spec):
            mount_token(spec)
        if not spec.get("imagePullSecrets") and (pull_secrets := account.get("imagePullSecrets")):
            spec["imagePullSecrets"] = [{"name": item.get("name")} for item in pull_secrets]

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.obj
        if pod is None:
            return
        if request.operation == "UPDATE":
            if request.subresource == "ephemeralcontainers":
                account = await self._account(request, pod["spec"].get("serviceAccountName") or "")
                if _enforces_mountable(account):
                    _limit_containers(request, account, pod, "ephemeralContainers", "ephemeral container")
            return
        if request.subresource:
            return
        if MIRROR_ANNOTATION in annotations_of(pod):
            _check_mirror(request, pod)
            return
        name = pod["spec"].get("serviceAccountName")
        if not name:
            raise request.forbidden(
                f"no service account specified for pod {request.namespace}/{pod['metadata'].get('name') or ''}"
            )
        account = await self._account(request, name)
        if _enforces_mountable(account):
            _limit_secrets(request, account, pod)

    async def _account(self, request: AdmissionRequest, name: str) -> Object:
        """Waits a moment for "default": in a new namespace the controller is about to make it."""
        for _ in range(_WAITS if name == DEFAULT_ACCOUNT else 0):
            account = self._accounts.get(request.namespace, name)
            if account is not None:
                return account
            await self._clock.sleep(_WAIT_SECONDS)
        account = self._accounts.get(request.namespace, name)
        if account is None:
            raise request.forbidden(
                f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
            )
        return account


def mount_token(spec: Object) -> None:
    """Adds the token volume, and its mount to every container that has nothing at that path yet."""
    volumes = spec.get("volumes") or []
    existing = next((item["name"] for item in volumes if str(item.get("name")).startswith(VOLUME_PREFIX)), None)
    volume_name = existing or VOLUME_PREFIX + "".join(random.choices(_ALPHABET, k=5))
    needed = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts") or []
            if all(mount.get("mountPath") != TOKEN_MOUNT_PATH for mount in mounts):
                mount = {"name": volume_name, "readOnly": True, "mountPath": TOKEN_MOUNT_PATH}
                container["volumeMounts"] = [*mounts, mount]
                needed = True
    if needed and existing is None:
        spec["volumes"] = [*volumes, {"name": volume_name, "projected": _token_source()}]


def _token_source() -> Object:
    namespace_field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace_field}]}},
        ],
        "defaultMode": 0o644,
    }


def _automounts(account: Object, spec: Object) -> bool:
    for source in (spec, account):
        wish = source.get("automountServiceAccountToken")
        if wish is not None:
            return bool(wish)
    return True


def _enforces_mountable(account: Object) -> bool:
    return annotations_of(account).get(ENFORCE_MOUNTABLE) in _TRUE


def _check_mirror(request: AdmissionRequest, pod: Object) -> None:
    if pod["spec"].get("serviceAccountName"):
        raise request.forbidden("a mirror pod may not reference service accounts")
    if next(secret_names(pod), None):
        raise request.forbidden("a mirror pod may not reference secrets")
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                raise request.forbidden("a mirror pod may not use ServiceAccountToken volume projections")


def _limit_secrets(request: AdmissionRequest, account: Object, pod: Object) -> None:
    spec = pod["spec"]
    mountable = {item.get("name") for item in account.get("secrets") or ()}
    for volume in spec.get("volumes") or ():
        name = (volume.get("secret") or {}).get("secretName")
        if name and name not in mountable:
            raise _not_mountable(request, f"volume with secret.secretName={_quote(name)}", account)
    _limit_containers(request, account, pod, "initContainers", "init container")
    _limit_containers(request, account, pod, "containers", "container")
    pullable = {item.get("name") for item in account.get("imagePullSecrets") or ()}
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if item.get("name") not in pullable:
            raise request.forbidden(
                f"imagePullSecrets[{index}].name={_quote(item.get('name') or '')} is not allowed because service"
                f" account {name_of(account)} does not reference that imagePullSecret"
            )


def _limit_containers(request: AdmissionRequest, account: Object, pod: Object, field: str, words: str) -> None:
    mountable = {item.get("name") for item in account.get("secrets") or ()}
    for container in pod["spec"].get(field) or ():
        what = f"{words} {container.get('name')} with"
        for variable in container.get("env") or ():
            name = ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
            if name and name not in mountable:
                variable_name = variable.get("name")
                raise _not_mountable(
                    request, f"{what} envVar {variable_name} referencing secret.secretName={_quote(name)}", account
                )
        for source in container.get("envFrom") or ():
            name = (source.get("secretRef") or {}).get("name")
            if name and name not in mountable:
                raise _not_mountable(request, f"{what} envFrom referencing secret.secretName={_quote(name)}", account)


def _not_mountable(request: AdmissionRequest, what: str, account: Object) -> Forbidden:
    return request.forbidden(
        f"{what} is not allowed because service account {name_of(account)} does not reference that secret"
    )


def _quote(name: str) -> str:
    return f'"{name}"'
