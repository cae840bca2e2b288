"""Bearers of bootstrap tokens.

Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controllers.test_bootstrap_tokens import ID, SECRET, token
from timonel.api.refs import SECRETS
from timonel.apiserver.authn.bootstrap_tokens import BootstrapTokens
from timonel.apiserver.authn.user import UserInfo
from timonel.testing.clock import VirtualClock
from timonel.testing.readers import FakeReaders


def bearer(text: str = f"{ID}.{SECRET}", *, kind: str = "", deleting: bool = False, **data: str) -> UserInfo | None:
    readers = FakeReaders()
    secret = token(**{"usage_bootstrap_authentication": "true", **data})
    if kind:
        secret["type"] = kind
    if deleting:
        secret["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    readers.reader(SECRETS).put(secret)
    return BootstrapTokens(readers=readers, clock=VirtualClock()).authenticate(text)


def test_a_good_token() -> None:
    found = bearer(auth_extra_groups="system:bootstrappers:kubeadm:default-node-token")
    assert found is not None
    assert found.name == f"system:bootstrap:{ID}"
    assert found.groups == ("system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token")


@pytest.mark.parametrize(
    "case",
    [
        {"text": f"{ID}.{SECRET[::-1]}"},
        {"text": f"abcdef.{SECRET}"},
        {"text": "no token"},
        {"kind": "Opaque"},
        {"deleting": True},
        {"token_id": "abcdef", "text": f"{ID}.{SECRET}"},
        {"expiration": "2026-01-01T00:00:00Z"},
        {"usage_bootstrap_authentication": "false"},
        {"auth_extra_groups": "system:masters"},
    ],
)
def test_one_that_is_not(case: dict[str, Any]) -> None:
    assert bearer(**case) is None
