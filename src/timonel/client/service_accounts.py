"""Clients that act as service accounts: each writes with its own rights, all through one pool of connections.

An account is made when it is first needed, and so is its token: a client that never asks anything costs neither. Tokens
come from the TokenRequest API and live for an hour; a new one is asked for when four fifths of it are over, or at once
when the server no longer accepts the old one, as after the account was deleted and made again.
Source: kubernetes.io/docs/reference/access-authn-authz/rbac/#controller-roles, --use-service-account-credentials
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object
from timonel.api.refs import SERVICE_ACCOUNTS
from timonel.client.protocol import ApiClient
from timonel.client.rest import Client, ClientConfig
from timonel.client.transport import Connections

log = logging.getLogger(__name__)

LIFETIME_SECONDS = 3600
"""What is asked for; the server may give another time, which counts then."""
_RENEW_AFTER = 0.8
"""Of the lifetime."""
_ASK_AGAIN_SECONDS = 10.0
"""After a renewal that failed while the old token is still good."""


class ServiceAccountToken:
    """The token of one account. `asker` may create service accounts and their tokens."""

    def __init__(self, asker: ApiClient, namespace: str, name: str, *, clock: Clock) -> None:
        self._asker = asker
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token = ""
        self._renew_at = float("-inf")
        self._expires_at = float("-inf")

    async def token(self) -> str:
        """A token that is good for a while. Raises ApiError when there is none and the server gives none."""
        if self._clock.monotonic() < self._renew_at:
            return self._token
        async with self._asking:
            now = self._clock.monotonic()
            if now < self._renew_at:
                return self._token
            try:
                granted = await self._request()
            except ApiError as exc:
                if now >= self._expires_at:
                    raise
                log.info("token not renewed account=%s/%s error=%s", self._namespace, self._name, exc)
                self._renew_at = min(now + _ASK_AGAIN_SECONDS, self._expires_at)
                return self._token
            seconds = float((granted.get("spec") or {}).get("expirationSeconds") or LIFETIME_SECONDS)
            self._token = granted["status"]["token"]
            self._renew_at, self._expires_at = now + seconds * _RENEW_AFTER, now + seconds
            return self._token

    def refused(self, token: str) -> None:
        """The server answered 401 to this one; the next request asks for another."""
        if token == self._token:
            self._renew_at = self._expires_at = float("-inf")

    async def _request(self) -> Object:
        request: Object = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "spec": {"expirationSeconds": LIFETIME_SECONDS},
        }
        for _ in range(2):
            try:
                return await self._asker.create(
                    SERVICE_ACCOUNTS, request, self._namespace, subresource="token", name=self._name
                )
            except NotFound:
                await self._create_account()
        return await self._asker.create(
            SERVICE_ACCOUNTS, request, self._namespace, subresource="token", name=self._name
        )

    async def _create_account(self) -> None:
        account: Object = {
            "kind": "ServiceAccount",
            "apiVersion": SERVICE_ACCOUNTS.api_version,
            "metadata": {"name": self._name, "namespace": self._namespace},
        }
        try:
            await self._asker.create(SERVICE_ACCOUNTS, account)
        except AlreadyExists:
            return
        log.info("service account created account=%s/%s", self._namespace, self._name)


class ServiceAccountClients:
    """Gives each account its client. `asker` is the one whose rights make the accounts and their tokens."""

    def __init__(self, asker: Client, *, clock: Clock, namespace: str = "kube-system") -> None:
        self._asker = asker
        self._clock = clock
        self._namespace = namespace
        # A certificate would win over the token.
        self._config = dataclasses.replace(
            asker.config, cert_file="", key_file="", cert_data="", key_data="", token="", token_file=""
        )
        self._connections = Connections(self._config)
        self._clients: dict[str, Client] = {}

    def client(self, account: str) -> Client:
        """The same client for the same account, as which it acts from its first request on."""
        if account not in self._clients:
            self._clients[account] = Client(
                self._agent_config(account),
                clock=self._clock,
                connections=self._connections,
                tokens=ServiceAccountToken(self._asker, self._namespace, account, clock=self._clock),
                figures=self._asker.figures,
            )
        return self._clients[account]

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.close()
        await self._connections.close()

    def _agent_config(self, account: str) -> ClientConfig:
        """Says in the user agent who it is, too; what stands before the slash names the manager of fields."""
        return dataclasses.replace(self._config, user_agent=f"{self._config.user_agent}/{account}")
