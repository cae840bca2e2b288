"""What is made, read, listed, changed and deleted looks as our OpenAPI documents say, at every step of its life."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from kubernetes import client

from tests.api.clients.official_samples import SAMPLES
from tests.api.openapi.fuzzing import find_failures, load, promised_by
from timonel.api.kinds import BUILTIN
from timonel.api.objects import Object
from timonel.api.resource import Resource

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MERGE = {"Content-Type": "application/merge-patch+json"}
_WAITS = {"metadata": {"finalizers": ["example.com/waits"]}}
_DONE = {"metadata": {"finalizers": None}}


def rows() -> Iterator[tuple[Resource, Object]]:
    plain = client.ApiClient(client.Configuration())
    for sample in SAMPLES:
        body = plain.sanitize_for_serialization(sample.body)
        kind = type(sample.body).__name__[2:]
        row = next(row for row in BUILTIN.rows if row.ref.kind == kind and row.verbs)
        if row.ref.kind != "Namespace":  # is made empty before it goes
            yield row, body
    plain.close()


class Life:
    def __init__(self, session: requests.Session, url: str, document: Any, row: Resource, namespace: str) -> None:
        self.session, self.url, self.schema = session, url, load(document)
        self.collection = row.ref.path(namespace if row.ref.namespaced else "")
        self.template = self.collection.replace(f"/namespaces/{namespace}/", "/namespaces/{namespace}/")
        self.wrong: list[str] = []

    def send(self, method: str, name: str = "", body: Any = None, headers: dict[str, str] | None = None) -> Object:
        path = f"{self.collection}/{name}" if name else self.collection
        template = f"{self.template}/{{name}}" if name else self.template
        answer = self.session.request(method, self.url + path, json=body, headers=headers)
        if not answer.ok:
            self.wrong.append(f"{method} {path}: {answer.text}")
        operation = self.schema[template][method]
        found = find_failures(lambda: promised_by(operation, answer).validate_response(answer))
        self.wrong += [f"{method} {path}: {each}" for each in found]
        found: Object = answer.json()
        return found

    def live(self, body: Object) -> None:
        name = body["metadata"]["name"] = "life"
        self.send("POST", body=body)
        self.send("GET")
        self.send("PATCH", name, {"metadata": {"labels": {"a": "b"}}}, MERGE)
        self.send("PUT", name, self.send("GET", name))
        self.send("PATCH", name, _WAITS, MERGE)
        waiting = self.send("DELETE", name)
        if "deletionTimestamp" not in waiting.get("metadata", {}):
            self.wrong.append(f"{self.collection}: does not wait")
        self.send("PATCH", name, _DONE, MERGE)
        self.send("POST", body=body)
        self.send("DELETE", name)


async def test_every_step_looks_as_promised(server, namespace):
    wrong = []
    kinds = 0
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {server.token}"
        session.verify = str(server.ca)
        for row, body in rows():
            group = f"apis/{row.ref.api_version}" if row.ref.group else "api/v1"
            _, document = await server.request("GET", f"/openapi/v3/{group}")
            life = Life(session, server.url, document, row, namespace)
            await asyncio.to_thread(life.live, body)
            wrong += life.wrong
            kinds += 1
    assert wrong == []
    assert kinds > 20
