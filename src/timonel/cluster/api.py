"""The few requests the command line makes while a cluster comes up, without an event loop: quick to import."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from timonel.cluster.errors import UserError


class AdminApi:
    """HTTPS with the admin's certificate from its kubeconfig."""

    def __init__(self, kubeconfig: Path, timeout_seconds: float = 5.0) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        self.server = str(cluster["server"])
        context = ssl.create_default_context(cadata=_text(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as bundle:
            bundle.write(_text(user["client-certificate-data"]) + "\n" + _text(user["client-key-data"]))
            bundle.flush()
            context.load_cert_chain(bundle.name)
        self._context = context
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPSConnection | None = None

    def request(self, method: str, path: str) -> tuple[int, Any]:
        """Status code and decoded body (text when it is not JSON). Raises OSError while nobody answers."""
        if self._connection is None:
            parts = urlsplit(self.server)
            self._connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, context=self._context, timeout=self._timeout_seconds
            )
        try:
            self._connection.request(method, path)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise OSError(f"{self.server}: {error}") from error
        try:
            return response.status, json.loads(body)
        except ValueError:
            return response.status, body.decode(errors="replace")

    def get(self, path: str) -> Any:
        """Raises UserError for anything but 200."""
        try:
            status, body = self.request("GET", path)
        except OSError as error:
            raise UserError(f"the server does not answer: {error}") from error
        if status != 200:
            message = body.get("message") if isinstance(body, dict) else body
            raise UserError(f"GET {path}: {status} {message}")
        return body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(data: str) -> str:
    return base64.b64decode(data).decode()


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def not_ready_reason(node: dict[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions") or []
    ready = next((item for item in conditions if item["type"] == "Ready"), None)
    return (ready.get("message") or ready.get("reason") or "") if ready else "has not reported yet"
