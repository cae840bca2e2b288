"""A workload seen as a Scale."""

from __future__ import annotations

import pytest

from timonel.apiserver.scale import scale_of


@pytest.mark.parametrize(
    ("kind", "selector", "text"),
    [
        ("Deployment", {"matchLabels": {"app": "web"}}, "app=web"),
        ("StatefulSet", {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "app"),
        # Older than selectors with expressions: a plain map.
        ("ReplicationController", {"app": "web", "tier": "front"}, "app=web,tier=front"),
    ],
)
def test_selector_is_text(kind: str, selector: dict[str, object], text: str) -> None:
    obj = {"kind": kind, "metadata": {"name": "web"}, "spec": {"selector": selector, "replicas": 2}, "status": {}}
    scale = scale_of(obj)
    assert scale["status"] == {"replicas": 0, "selector": text}
    assert scale["spec"] == {"replicas": 2}
