"""Rules of policies are evaluated for every request that they match: it takes microseconds.

On the machine where this was written: 1.2, 6 and 8 µs; compiling took 0.1 to 0.3 ms. The bound is for busy machines.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from timonel.api.cel.admission import admission_environment
from timonel.api.cel.program import compile_expression

_BOUND = 200e-6  # seconds
_OBJECT: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"a": "b", "c": "d", "app.kubernetes.io/name": "web"}},
    "spec": {
        "replicas": 3,
        "template": {
            "spec": {
                "containers": [
                    {"image": "registry.example.com/a"},
                    {"image": "registry.example.com/b", "securityContext": {"privileged": False}},
                ]
            }
        },
    },
}


@pytest.mark.parametrize(
    "rule",
    [
        "object.spec.replicas <= params.maxReplicas",
        "object.spec.template.spec.containers.all(c, c.image.startsWith('registry.example.com/') && "
        "!(has(c.securityContext) && c.securityContext.privileged == true))",
        "has(object.metadata.labels) && object.metadata.labels.exists(k, k == 'app.kubernetes.io/name') && "
        "object.metadata.name.matches('^[a-z0-9-]+$')",
    ],
)
def test_a_rule_takes_microseconds(rule: str) -> None:
    program = compile_expression(rule, admission_environment(params=True, authorizer=True))
    variables = {"object": _OBJECT, "params": {"maxReplicas": 5}}
    best = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(50):
            value, _ = program.evaluate(variables)
        best = min(best, (time.perf_counter() - started) / 50)
        assert value is True
    assert best < _BOUND
