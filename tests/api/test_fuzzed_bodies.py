"""Bodies made of the kinds' own definitions with values of any sort: refused or stored, never an internal error."""

from __future__ import annotations

import random

import pytest

from timonel.api.kinds import BUILTIN
from timonel.api.schema import raw_definitions

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 25
ODD = ["", "a", "A b", "-", "x" * 300, "1", "0", "1Ki", "-5m", "50%", "127.0.0.1", "::1", "10.0.0.0/8", "é", "\x00",
       0, 1, -1, 80, 65536, 2**31, 2**63, 1.5, True, False, None, [], {}, [None], {"a": None}, ["a", "a"]]  # fmt: skip
WORDS = [
    "a",
    "b",
    "TCP",
    "Always",
    "ClusterIP",
    "NodePort",
    "Never",
    "RollingUpdate",
    "Recreate",
    "10.96.9.9",
    "Exists",
]


class Maker:
    """Objects that fit a definition more often than not."""

    def __init__(self, definitions, seed):
        self.definitions = definitions
        self.random = random.Random(seed)

    def object(self, name, depth=0):
        schema = self.definitions[name]
        if "properties" not in schema:
            return self.random.choice(ODD)
        required = schema.get("required") or ()
        chance = 0.5 if depth < 3 else 0.12
        return {
            field: self.value(each, depth + 1)
            for field, each in schema["properties"].items()
            if field in required or self.random.random() < chance
        }

    def value(self, schema, depth):
        if self.random.random() < 0.05:
            return self.random.choice(ODD)
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if depth > 9:
                return {}
            return self.object(name, depth)
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "string":
            return self.random.choice(schema.get("enum") or WORDS)
        if kind in ("integer", "number"):
            return self.random.choice([0, 1, 80, 443, -1, 70000])
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "array":
            return [self.value(schema["items"], depth + 1) for _ in range(self.random.randrange(3))]
        values = schema.get("additionalProperties")
        return {key: self.value(values or {"type": "string"}, depth + 1) for key in WORDS[: self.random.randrange(3)]}


@pytest.mark.parametrize("row", BUILTIN.rows, ids=lambda row: row.ref.group_resource)
async def test_no_body_makes_the_server_fail(server, namespace, row):
    maker = Maker(raw_definitions(), row.ref.group_resource)
    ref = row.ref
    path = ref.path(namespace)
    failures = []
    for number in range(ROUNDS):
        body = maker.object(row.definition)
        body["kind"], body["apiVersion"] = ref.kind, ref.api_version
        body["metadata"] = {"name": f"fuzz-{number}", **({"namespace": namespace} if ref.namespaced else {})}
        query = "?dryRun=All" if ref.plural == "namespaces" else ""
        status, answer = await server.request("POST", path + query, body)
        if status >= 500:
            failures.append((body, answer))
        if status == 201 and "patch" in row.verbs and not query:
            patch = maker.object(row.definition)
            patch.pop("metadata", None)
            patch.update({"kind": ref.kind, "apiVersion": ref.api_version})
            status, answer = await server.request(
                "PATCH", f"{path}/fuzz-{number}", patch, headers={"Content-Type": "application/merge-patch+json"}
            )
            if status >= 500:
                failures.append((patch, answer))
        if row.storage_prefix:
            table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
            assert (await server.request("GET", path, headers=table))[0] == 200
    assert failures == []
