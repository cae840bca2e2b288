"""Every operation of the v2 document that takes an object refuses what is none: with a Status, and a code of 4xx."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="module"),
]

BODIES = [
    b"", b"[]", b'"x"', b"7", b"{", b"{}}", b"\xff\xfe", b'{"kind": 7}', b'{"kind": "Nothing", "apiVersion": "v1"}',
    b'{"metadata": []}', b'{"metadata": {"name": 7}}', b'{"metadata": {"labels": {"a": {}}}}',
]  # fmt: skip


async def test_what_is_no_object_is_refused(server, namespace):
    status, document = await server.request("GET", "/openapi/v2")
    assert status == 200
    wrong = []
    tried = 0
    for path, methods in sorted(document["paths"].items()):
        takes_object = any(each.get("name") == "body" for each in methods.get("post", {}).get("parameters", ()))
        if not takes_object or "/proxy" in path:
            continue
        target = path.replace("{namespace}", namespace).replace("{name}", "a")
        for body in BODIES:
            code, answer = await server.request("POST", target, body)
            tried += 1
            if not (400 <= code < 500 and isinstance(answer, dict) and answer["kind"] == "Status"):
                wrong.append((target, body, code))
    assert wrong == []
    assert tried > 500
