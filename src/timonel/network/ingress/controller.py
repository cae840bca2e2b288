"""The loop: Ingresses and what they name become HAProxy's files; their status and events say what came of them.

Nothing runs, and no Secret is read, before the first Ingress of our class is there; with the last one HAProxy ends.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from dataclasses import dataclass
from pathlib import Path

from timonel.api.clock import Clock
from timonel.api.errors import AlreadyExists, ApiError, NotFound
from timonel.api.objects import Object, ObjectKey, get_path, key_of
from timonel.api.refs import INGRESS_CLASSES, INGRESSES, SECRETS
from timonel.client.backoff import Backoff
from timonel.client.events import EventRecorder
from timonel.client.informer import Informer, Informers
from timonel.client.protocol import ApiClient
from timonel.network.ingress.haproxy import render_files
from timonel.network.ingress.process import ProxyFailed, ProxyProcess, digest_of
from timonel.network.ingress.routing import CONTROLLER, Routing, plan_routing

logger = logging.getLogger(__name__)

CLASS_NAME = "timonel"
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressConfig:
    address: str
    """Of this node: what statuses say."""
    folder: Path
    """For HAProxy's files."""
    http_port: int = 80
    https_port: int = 443


class IngressController:
    """`informers` and `client` act as the controller's own identity; `services` is an informer of all Services."""

    def __init__(
        self,
        *,
        config: IngressConfig,
        client: ApiClient,
        informers: Informers,
        services: Informer,
        recorder: EventRecorder,
        clock: Clock,
    ) -> None:
        self._config = config
        self._client = client
        self._informers = informers
        self._recorder = recorder
        self._clock = clock
        self._ingresses = informers.of(INGRESSES)
        self._classes = informers.of(INGRESS_CLASSES)
        self._services = services
        self._secrets: Informer | None = None
        self._changed = asyncio.Event()
        self._process = ProxyProcess(folder=config.folder, on_end=self._changed.set)
        self._told: dict[ObjectKey, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Until cancelled. HAProxy goes on, as it was told last."""
        for informer in (self._ingresses, self._classes, self._services):
            informer.add_handler(on_add=self._look, on_update=self._compare, on_delete=self._look)
        await asyncio.gather(*(item.wait_synced() for item in (self._ingresses, self._classes, self._services)))
        self._changed.set()
        backoff = Backoff(first=1.0, limit=30.0)
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    await self._sync()
                    backoff.reset()
                except (ApiError, ProxyFailed, OSError) as error:
                    delay = backoff.next_delay()
                    logger.error("ingresses not settled, will retry seconds=%.1f error=%s", delay, error)
                    await self._clock.sleep(delay)
                    self._changed.set()
                except Exception:
                    # An odd object must not end the agent; HAProxy goes on as it was told last.
                    logger.exception("ingresses not settled")
                    await self._clock.sleep(backoff.next_delay())
        finally:
            self._process.leave()

    def _look(self, _: Object) -> None:
        self._changed.set()

    def _compare(self, old: Object, new: Object) -> None:
        if any(old.get(part) != new.get(part) for part in ("spec", "status", "data")):
            self._changed.set()

    async def _sync(self) -> None:
        await self._ensure_class()
        certificates = await self._certificates()
        routing = plan_routing(
            self._ingresses.lister.list(),
            self._classes.lister.list(),
            {key_of(item): item for item in self._services.lister.list()},
            certificates,
        )
        if not routing.served:
            await self._process.stop()
            self._told.clear()
            await self._write_statuses(routing)
            return
        try:
            await self._run(routing, certificates)
        except ProxyFailed as error:
            for key in routing.served:
                self._tell(key, "Warning", "NotServed", (f"HAProxy does not serve this: {error}",))
            raise
        config = self._config
        ports = str(config.http_port) + (f" and {config.https_port}" if routing.certificates else "")
        for key in routing.served:
            problems = routing.problems.get(key, ())
            if problems:
                self._tell(key, "Warning", "NotAsWished", problems)
            else:
                self._tell(key, "Normal", "Served", (f"Served at {config.address}, port {ports} of the node",))
        await self._write_statuses(routing)

    async def _run(self, routing: Routing, certificates: dict[ObjectKey, str]) -> None:
        def render(folder: str) -> dict[str, str]:
            return render_files(
                routing,
                certificates,
                folder=folder,
                socket=str(self._process.socket),
                http=self._config.http_port,
                https=self._config.https_port,
            )

        digest = digest_of(render(""))
        await self._process.apply(digest, render(str(self._process.folder_of(digest))))

    async def _ensure_class(self) -> None:
        """Ours, and the default where there is none, when nobody has any class of ours."""
        classes = self._classes.lister.list()
        if any(get_path(item, "spec", "controller") == CONTROLLER for item in classes):
            return
        has_default = any((item["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true" for item in classes)
        annotations = {} if has_default else {DEFAULT_CLASS: "true"}
        made = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": CLASS_NAME, "annotations": annotations},
            "spec": {"controller": CONTROLLER},
        }
        try:
            await self._client.create(INGRESS_CLASSES, made)
            logger.info("ingress class made name=%s", CLASS_NAME)
        except AlreadyExists:
            pass  # there is one of that name, of somebody else

    async def _certificates(self) -> dict[ObjectKey, str]:
        """PEM texts of the Secrets that any Ingress names; they are watched from the first one on."""
        named = {
            ObjectKey(key_of(item).namespace, entry["secretName"])
            for item in self._ingresses.lister.list()
            for entry in get_path(item, "spec", "tls", default=None) or []
            if entry.get("secretName")
        }
        if not named:
            return {}
        if self._secrets is None:
            self._secrets = self._informers.of(SECRETS, field_selector="type=kubernetes.io/tls")
            self._secrets.add_handler(on_add=self._look, on_update=self._compare, on_delete=self._look)
        await self._secrets.wait_synced()
        found = {}
        for key in named:
            secret = self._secrets.lister.get(*key)
            text = pem_of(secret) if secret else ""
            if text:
                found[key] = text
        return found

    def _tell(self, key: ObjectKey, kind: str, reason: str, messages: tuple[str, ...]) -> None:
        ingress = self._ingresses.lister.get(*key)
        if ingress is not None and self._told.get(key) != messages:
            self._told[key] = messages
            for message in messages:
                self._recorder.event(ingress, kind, reason, message)

    async def _write_statuses(self, routing: Routing) -> None:
        served = set(routing.served)
        for ingress in self._ingresses.lister.list():
            key = key_of(ingress)
            now = get_path(ingress, "status", "loadBalancer", "ingress", default=None) or []
            ours = [{"ip": self._config.address}]
            if key in served:
                wanted = ours
            elif now == ours:
                wanted = []  # it was ours, and is another class's now
            else:
                continue
            if now != wanted:
                patch = {"status": {"loadBalancer": {"ingress": wanted or None}}}
                try:
                    await self._client.patch(
                        INGRESSES, key.name, patch, key.namespace, type="merge", subresource="status"
                    )
                except NotFound:
                    continue


def pem_of(secret: Object) -> str:
    """Chain and key, as HAProxy reads them from one file; "" where one is missing or is none."""
    data = secret.get("data") or {}
    try:
        parts = [base64.b64decode(data.get(name) or "", validate=True).decode() for name in ("tls.crt", "tls.key")]
    except (binascii.Error, UnicodeDecodeError):
        return ""
    if not all("-----BEGIN " in part for part in parts):
        return ""
    return "".join(part if part.endswith("\n") else part + "\n" for part in parts)
