"""What components ask of a client: the real one (rest.py) and timonel.testing.fake_client both are one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.client.rest import PatchType
from timonel.client.watching import WatchEvent


class ApiClient(Protocol):
    """See `timonel.client.rest.Client` for what each method promises."""

    async def get(self, ref: ResourceRef, name: str, namespace: str = "", *, subresource: str = "") -> Object: ...

    async def list(
        self,
        ref: ResourceRef,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Object: ...

    async def create(
        self,
        ref: ResourceRef,
        obj: Object,
        namespace: str = "",
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
        field_manager: str = "",
    ) -> Object: ...

    async def update(
        self, ref: ResourceRef, obj: Object, *, subresource: str = "", field_manager: str = ""
    ) -> Object: ...

    async def patch(
        self,
        ref: ResourceRef,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        type: PatchType,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object: ...

    async def delete(
        self,
        ref: ResourceRef,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation_policy: str | None = None,
    ) -> Object: ...

    async def delete_collection(
        self, ref: ResourceRef, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Object: ...

    def watch(
        self,
        ref: ResourceRef,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        allow_bookmarks: bool = True,
        send_initial_events: bool = False,
        timeout_seconds: int | None = None,
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]: ...

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]: ...

    async def close(self) -> None: ...
