"""What a real client sent, against the same objects as JSON."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from timonel.api.protobuf import decode_protobuf
from timonel.api.protobuf.tables import PACKAGES
from timonel.api.schema import schemas

CASES = yaml.safe_load(Path(__file__).with_name("kubectl.yaml").read_text())


def checked(obj: dict[str, Any]) -> dict[str, Any]:
    found = schemas().check(f"{PACKAGES[obj['apiVersion']]}.{obj['kind']}", obj)
    assert found.error is None
    assert not found.unknown
    return obj


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["command"].split(" -")[0])
def test_a_recorded_body_is_the_object_that_kubectl_meant(case: dict[str, str]) -> None:
    decoded = decode_protobuf(base64.b64decode(case["body"]))

    assert checked(decoded) == checked(json.loads(case["object"]))
