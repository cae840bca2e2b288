from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

from timonel.storage.etcd import EtcdConfig
from timonel.testing.etcd import EtcdProcess, etcd_binary

_numbers = count()

# How long an example takes says more about the machine than about the code. The same examples every time, so that a
# change that broke nothing passes; `make properties` looks for new ones.
settings.register_profile("timonel", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("search", settings.get_profile("timonel"), derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "timonel"))


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """One for the whole session; tests keep apart by prefix, so revisions begin anywhere."""
    if etcd_binary() is None:
        pytest.skip("etcd is not installed (Debian: apt install etcd-server)")
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as process:
        yield process


@pytest.fixture(scope="session")
def new_config(etcd: EtcdProcess) -> Callable[[], EtcdConfig]:
    """Configurations of clusters of their own in the shared etcd, where nobody compacts."""
    return lambda: etcd.config(prefix=f"/test-{next(_numbers)}", history_seconds=0)
