"""Approved requests for kubernetes.io's signers get their certificate, or are told why they do not.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests
"""

from __future__ import annotations

import logging
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from timonel.api.clock import Clock, format_time
from timonel.api.objects import Object, ObjectKey, get_path, name_of
from timonel.api.refs import CERTIFICATE_SIGNING_REQUESTS
from timonel.client.controller import Controller, Keys, Result, Watch
from timonel.client.events import EventRecorder
from timonel.client.informer import Informers
from timonel.client.protocol import ApiClient
from timonel.controllers.certificates.requests import (
    API_CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY_UNKNOWN,
    SIGNERS,
    CannotSign,
    certificate_of,
    has_failed,
    is_approved,
    lifetime_of,
    parse_wish,
)

if TYPE_CHECKING:
    from timonel.controllers.certificates.authority import Authority

log = logging.getLogger(__name__)

_RETRY_SECONDS = 60.0
"""Until an authority that cannot sign is asked again; somebody may have put its files in order."""


@dataclass(frozen=True, slots=True)
class SigningPair:
    """PEM files of one authority, as in --cluster-signing-<signer>-cert-file and -key-file."""

    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class SigningConfig:
    """Fields are named after the flags of kube-controller-manager."""

    cluster_signing_cert_file: str = ""
    """PEM; "": only signers with files of their own sign."""
    cluster_signing_key_file: str = ""
    cluster_signing_duration: float = 365 * 24 * 3600.0
    """Seconds that certificates last at most, and do unless the request says less."""
    kubelet_serving: SigningPair = field(default_factory=SigningPair)
    kubelet_client: SigningPair = field(default_factory=SigningPair)
    kube_apiserver_client: SigningPair = field(default_factory=SigningPair)
    legacy_unknown: SigningPair = field(default_factory=SigningPair)

    def pairs(self) -> dict[str, SigningPair]:
        """Signer -> its files: the cluster's for all of them, or else each signer's own."""
        own = {
            KUBELET_SERVING: self.kubelet_serving,
            KUBELET_CLIENT: self.kubelet_client,
            API_CLIENT: self.kube_apiserver_client,
            LEGACY_UNKNOWN: self.legacy_unknown,
        }
        common = SigningPair(self.cluster_signing_cert_file, self.cluster_signing_key_file)
        if common.cert_file:
            own = dict.fromkeys(own, common)
        return {signer: pair for signer, pair in own.items() if pair.cert_file and pair.key_file}


def _is_waiting(request: Object) -> bool:
    return (
        get_path(request, "spec", "signerName") in SIGNERS
        and is_approved(request)
        and not has_failed(request)
        and not certificate_of(request)
    )


def _key(request: Object) -> Keys:
    return ObjectKey("", name_of(request)) if _is_waiting(request) else None


class RequestSigner(Controller):
    """Keys are requests that wait for one of the signers."""

    name = "certificatesigningrequest-signing-controller"
    watches = (Watch(CERTIFICATE_SIGNING_REQUESTS, key=_key),)

    def __init__(
        self,
        *,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        recorder: EventRecorder | None = None,
        config: SigningConfig | None = None,
    ) -> None:
        super().__init__(client=client, informers=informers, clock=clock, recorder=recorder)
        self._config = config or SigningConfig()
        self._authorities: dict[str, Authority] = {}

    def _authority(self, signer: str) -> Authority | None:
        """None for a signer that has no files."""
        from timonel.controllers.certificates.authority import Authority

        pair = self._config.pairs().get(signer)
        if pair is not None and signer not in self._authorities:
            self._authorities[signer] = Authority(Path(pair.cert_file), Path(pair.key_file))
        return self._authorities.get(signer)

    async def sync(self, key: ObjectKey) -> Result:
        request = self.lister(CERTIFICATE_SIGNING_REQUESTS).get(*key)
        if request is None or not _is_waiting(request):
            return Result()
        spec = request["spec"]
        signer, usages = spec["signerName"], spec.get("usages") or []
        authority = self._authority(signer)
        if authority is None:
            return Result()
        try:
            wish = parse_wish(request)
            problem = SIGNERS[signer](wish, usages)
            if problem:
                await self._refuse(request, problem)
                return Result()
            longest = timedelta(seconds=self._config.cluster_signing_duration)
            lifetime = lifetime_of(spec.get("expirationSeconds"), longest)
            certificate = authority.sign(wish, usages, lifetime, self.clock.now())
        except CannotSign as error:
            log.warning("request was not signed, will retry name=%s signer=%s error=%s", key.name, signer, error)
            return Result(requeue_after=_RETRY_SECONDS)
        except ValueError as error:  # a key or usages that cannot go into a certificate
            await self._refuse(request, str(error))
            return Result()
        status = (request.get("status") or {}) | {"certificate": b64encode(certificate).decode()}
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, request | {"status": status}, subresource="status")
        log.info("request was signed name=%s signer=%s", key.name, signer)
        return Result()

    async def _refuse(self, request: Object, why: str) -> None:
        condition = {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": why,
            "lastUpdateTime": format_time(self.clock.now()),
        }
        status = request.get("status") or {}
        status = status | {"conditions": [*(status.get("conditions") or ()), condition]}
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, request | {"status": status}, subresource="status")
        log.info("request was refused name=%s reason=%r", name_of(request), why)
