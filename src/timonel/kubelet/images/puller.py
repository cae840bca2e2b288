"""Makes sure that an image is there, by its pull policy; says so in events as upstream does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from timonel.api.clock import Clock
from timonel.api.objects import Object, uid_of
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import Runtime, RuntimeFailure, RuntimeUnavailable
from timonel.kubelet.images.credentials import credentials_for
from timonel.kubelet.images.reference import InvalidImageName, with_default_tag
from timonel.kubelet.pods.backoff import BackOff

Tell = Callable[[str, str, str], None]
"""Writes an event about the container: type, reason, message."""


_BACK_OFF_SHOWN_SECONDS = 1.5


class ImageFailure(Exception):
    """`reason` goes into the container's waiting state; `retry_at` is on the wall clock, None: at the next look."""

    def __init__(self, reason: str, message: str, retry_at: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_at = retry_at


class ImagePuller:
    """Shared by all pods of a node: at most `max_parallel` pulls at once, others wait in order of asking."""

    def __init__(self, *, runtime: Runtime, clock: Clock, max_parallel: int) -> None:
        self._runtime = runtime
        self._clock = clock
        self._slots = asyncio.Semaphore(max_parallel)
        self._back_off = BackOff()
        self._failed_at: dict[str, float] = {}
        self._last_error: dict[str, str] = {}

    async def ensure(
        self,
        pod: Object,
        container: Object,
        *,
        secrets: Sequence[Object],
        sandbox_config: cri.PodSandboxConfig | None,
        tell: Tell,
    ) -> cri.Image:
        """Raises ImageFailure, or RuntimeUnavailable through from the runtime."""
        named = container.get("image") or ""
        try:
            image = with_default_tag(named)
        except InvalidImageName as exc:
            message = f'Failed to apply default image tag "{named}": {exc}'
            tell("Warning", "InspectFailed", message)
            raise ImageFailure("InvalidImageName", message) from exc
        policy = container.get("imagePullPolicy") or "IfNotPresent"
        if policy != "Always":
            present = await self._inspect(image, named, tell)
            if present is not None:
                tell(
                    "Normal",
                    "Pulled",
                    f'Container image "{named}" already present on machine and can be accessed by the pod',
                )
                return present
            if policy == "Never":
                message = f'Container image "{named}" is not present with pull policy of Never'
                tell("Warning", "ErrImageNeverPull", message)
                raise ImageFailure("ErrImageNeverPull", message)
        return await self._pull(pod, named, image, secrets, sandbox_config, tell)

    async def _inspect(self, image: str, named: str, tell: Tell) -> cri.Image | None:
        try:
            return await self._runtime.image_status(image)
        except RuntimeUnavailable:
            raise
        except RuntimeFailure as exc:
            message = f'Failed to inspect image "{named}": {exc}'
            tell("Warning", "InspectFailed", message)
            raise ImageFailure("ImageInspectError", message) from exc

    async def _pull(
        self,
        pod: Object,
        named: str,
        image: str,
        secrets: Sequence[Object],
        sandbox_config: cri.PodSandboxConfig | None,
        tell: Tell,
    ) -> cri.Image:
        key = f"{uid_of(pod)}_{named}"
        now = self._clock.now().timestamp()
        until = self._failed_until(key)
        if until is not None and until > now:
            message = f'Back-off pulling image "{named}"'
            tell("Normal", "BackOff", message)
            if key in self._last_error:
                message += f": {self._last_error[key]}"
            raise ImageFailure("ImagePullBackOff", message, until)
        tell("Normal", "Pulling", f'Pulling image "{named}"')
        asked = self._clock.monotonic()
        async with self._slots:
            began = self._clock.monotonic()
            try:
                reference = await self._pull_with_any(image, secrets, sandbox_config)
            except RuntimeUnavailable:
                raise  # the runtime went away under the pull: that is not the image's fault
            except RuntimeFailure as exc:
                tell("Warning", "Failed", f'Failed to pull image "{named}": {exc}')
                now = self._clock.now().timestamp()
                self._back_off.fail(key, now, now)
                self._failed_at[key] = now
                self._last_error[key] = f"ErrImagePull: {exc}"
                # The next look, soon, finds the back-off and says so.
                raise ImageFailure("ErrImagePull", str(exc), now + _BACK_OFF_SHOWN_SECONDS) from exc
        found = await self._inspect(reference or image, named, tell) or await self._inspect(image, named, tell)
        if found is None:
            raise ImageFailure("ImageInspectError", f'Failed to inspect image "{named}": it is gone after the pull')
        ended = self._clock.monotonic()
        self._failed_at.pop(key, None)
        self._last_error.pop(key, None)
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{named}" in {_go_duration(ended - began)} '
            f"({_go_duration(ended - asked)} including waiting). Image size: {found.size} bytes.",
        )
        return found

    async def _pull_with_any(
        self, image: str, secrets: Sequence[Object], sandbox_config: cri.PodSandboxConfig | None
    ) -> str:
        """Tries each matching credential, and without any when there is none."""
        choices: list[cri.AuthConfig | None] = [*credentials_for(image, secrets)] or [None]
        for auth in choices[:-1]:
            try:
                return await self._runtime.pull_image(image, auth, sandbox_config)
            except RuntimeFailure:
                continue
        return await self._runtime.pull_image(image, choices[-1], sandbox_config)

    def _failed_until(self, key: str) -> float | None:
        failed = self._failed_at.get(key)
        return None if failed is None else self._back_off.until(key, failed)

    def forget(self, pod_uid: str) -> None:
        """Of a pod that is gone."""
        prefix = f"{pod_uid}_"
        self._back_off.forget(prefix)
        for key in [key for key in self._failed_at if key.startswith(prefix)]:
            del self._failed_at[key]
            self._last_error.pop(key, None)


def _go_duration(seconds: float) -> str:
    """To the millisecond, in Go's notation: 0.042 -> "42ms", 1.5 -> "1.5s", 75.25 -> "1m15.25s"."""
    milliseconds = int(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{text}s" if minutes else f"{text}s"
