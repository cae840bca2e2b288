"""Service account tokens for pods: asked for once, kept, and renewed before they run out.

Source: kubernetes.io/docs/concepts/storage/projected-volumes, "serviceAccountToken": renewed when older than 80 % of
their time or than 24 hours.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime

from timonel.api.clock import Clock, parse_time
from timonel.api.errors import ApiError
from timonel.api.objects import Object, get_path, name_of, namespace_of, uid_of
from timonel.api.refs import SERVICE_ACCOUNTS
from timonel.client.protocol import ApiClient
from timonel.kubelet.volumes.payload import PayloadError

_MAX_AGE_SECONDS = 24 * 3600
_DEFAULT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: datetime
    expires: datetime


_PARALLEL = 4
"""Each more costs a connection and its TLS handshake when many pods start together."""

Key = tuple[str, str, int]
"""Pod uid, audience, seconds asked for."""


class TokenSource:
    def __init__(self, *, client: ApiClient, clock: Clock, rng: random.Random | None = None) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng or random.Random()
        self._tokens: dict[Key, _Token] = {}
        self._slots = asyncio.Semaphore(_PARALLEL)

    @staticmethod
    def _key(pod: Object, projection: Object) -> Key:
        seconds = projection.get("expirationSeconds") or _DEFAULT_SECONDS
        return uid_of(pod), projection.get("audience") or "", seconds

    async def ensure(self, pod: Object, projection: Object) -> None:
        """Fetches the token unless a fresh one is here. Raises PayloadError when there is none that still works."""
        key = self._key(pod, projection)
        known = self._tokens.get(key)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            return
        try:
            self._tokens[key] = await self._request(pod, key)
        except (ApiError, OSError) as exc:
            if known is None or now >= known.expires:
                raise PayloadError(f"failed to fetch token: {exc}") from exc

    async def _request(self, pod: Object, key: Key) -> _Token:
        _, audience, seconds = key
        bound = {"kind": "Pod", "apiVersion": "v1", "name": name_of(pod), "uid": uid_of(pod)}
        request: Object = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": bound,
            },
        }
        account = pod["spec"].get("serviceAccountName") or "default"
        began = self._clock.now()
        async with self._slots:
            answer = await self._client.create(
                SERVICE_ACCOUNTS, request, namespace_of(pod), subresource="token", name=account
            )
        expires = parse_time(get_path(answer, "status", "expirationTimestamp"))
        life = expires - began
        # Spread, so that the tokens of pods started together are not renewed together.
        share = 0.8 - 0.05 * self._rng.random()
        renew = began + min(life * share, life.__class__(seconds=_MAX_AGE_SECONDS))
        return _Token(answer["status"]["token"], renew, expires)

    def get(self, pod: Object, projection: Object) -> str:
        token = self._tokens.get(self._key(pod, projection))
        if token is None:
            raise PayloadError("failed to fetch token: not asked for yet")
        return token.text

    def next_renewal(self) -> datetime | None:
        return min((token.renew_at for token in self._tokens.values()), default=None)

    def due(self, now: datetime) -> set[str]:
        """Uids of pods with a token to renew."""
        return {key[0] for key, token in self._tokens.items() if token.renew_at <= now}

    def postpone(self, pod_uid: str, until: datetime) -> None:
        """After a renewal that failed."""
        for key, token in list(self._tokens.items()):
            if key[0] == pod_uid and token.renew_at < until:
                self._tokens[key] = _Token(token.text, until, token.expires)

    def forget(self, pod_uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == pod_uid]:
            del self._tokens[key]
