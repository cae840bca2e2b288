"""Kubeconfigs, as users have them, for the suite's server. The libraries that block run in threads of their own.

Three people: the administrator by token, alice by token, bob by a client certificate. Alice and bob have no rights but
those that a test's own role bindings give them.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import kubernetes
import pytest
import pytest_asyncio
import yaml

from timonel.cluster.certificates import ensure_client_certificate


def write_kubeconfig(path: Path, server, user: dict, namespace: str) -> str:
    cluster = {"server": server.url, "certificate-authority": str(server.ca)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
def admin(server, namespace, tmp_path) -> str:
    return write_kubeconfig(tmp_path / "admin.kubeconfig", server, {"token": server.token}, namespace)


@pytest.fixture
def alice(server, namespace, tmp_path) -> str:
    return write_kubeconfig(tmp_path / "alice.kubeconfig", server, {"token": server.alice_token}, namespace)


@pytest.fixture
def bob(server, namespace, tmp_path) -> str:
    pair = ensure_client_certificate(tmp_path, "bob", server.pki.ca, "bob", groups=("people",))
    user = {"client-certificate": str(pair.cert), "client-key": str(pair.key)}
    return write_kubeconfig(tmp_path / "bob.kubeconfig", server, user, namespace)


@pytest_asyncio.fixture(loop_scope="module")
async def editor(server, namespace, bob) -> str:
    """Bob, who may edit in the test's namespace. He uses a client certificate."""
    await server.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", {
        "metadata": {"name": "bob"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}],
    })  # fmt: skip
    return bob


@pytest_asyncio.fixture(loop_scope="module")
async def viewer(server, namespace, alice) -> str:
    """Alice, who may look in the test's namespace. She uses a token."""
    await server.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", {
        "metadata": {"name": "alice"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}],
    })  # fmt: skip
    return alice


@pytest.fixture
def official() -> Iterator[Callable[[str], kubernetes.client.ApiClient]]:
    """From a kubeconfig to a connection of the official client, closed when the test ends."""
    with ExitStack() as connections:
        yield lambda kubeconfig: connections.enter_context(kubernetes.config.new_client_from_config(kubeconfig))


@pytest.fixture(scope="module", autouse=True)
def collect() -> Iterator[None]:
    """Collects connections that the libraries left open, before their warnings reach somebody else's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
