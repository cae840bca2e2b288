"""Bearer tokens of a client: where it gets one for each request."""

from __future__ import annotations

import os
from typing import Protocol

from timonel.api.clock import Clock
from timonel.client.config import ClientConfig
from timonel.client.transport import ConnectionFailed

_CHECK_SECONDS = 10.0


class Tokens(Protocol):
    """Where a client gets its bearer token, request by request; "" for none."""

    async def token(self) -> str: ...
    def refused(self, token: str) -> None: ...


class ConfiguredTokens:
    """The config's token, or its file's, which is looked at every ten seconds at most, and at once after a 401."""

    def __init__(self, config: ClientConfig, clock: Clock) -> None:
        self._path = config.token_file
        self._clock = clock
        self._token = config.token
        self._stamp: tuple[int, int] | None = None
        self._checked = float("-inf")

    async def token(self) -> str:
        """Raises ConnectionFailed when there is a file and none of it was ever read."""
        if self._path and self._clock.monotonic() - self._checked >= _CHECK_SECONDS:
            self._checked = self._clock.monotonic()
            try:
                self._read(self._path)
            except OSError as exc:
                if not self._token:
                    raise ConnectionFailed(f"unable to read the token file: {exc}") from exc
        return self._token

    def refused(self, token: str) -> None:
        self._checked = float("-inf")

    def _read(self, path: str) -> None:
        info = os.stat(path)
        if (info.st_ino, info.st_mtime_ns) != self._stamp:
            with open(path, encoding="utf-8") as file:
                self._token = file.read().strip()
            self._stamp = (info.st_ino, info.st_mtime_ns)
