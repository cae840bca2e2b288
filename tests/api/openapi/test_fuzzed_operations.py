"""No request that our OpenAPI documents allow, or forbid, makes the server fail; answers are as they promise."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from schemathesis import GenerationMode

from tests.api.openapi.fuzzing import EXAMPLES, SEED, Fuzzer, group_paths, load, operations_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(100_000 if EXAMPLES else 120),
    pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest_asyncio.fixture(loop_scope="module")
async def fuzzer(server, namespace):
    fuzzer = Fuzzer(server, namespace)
    await asyncio.to_thread(fuzzer.seed_objects)
    yield fuzzer
    fuzzer.close()


@pytest.mark.parametrize("group", group_paths())
async def test_requests_by_the_documents_of_groups(server, fuzzer, group):
    status, document = await server.request("GET", f"/openapi/v3/{group}")
    assert status == 200
    failures: list[str] = []
    statuses: list[int] = []

    def program():
        # A short run asks in one of the two ways of each operation, by turns.
        for turn, operation in enumerate(operations_of(load(document), group), SEED):
            for mode in MODES if EXAMPLES else [MODES[turn % 2]]:
                fuzzer.run(operation, mode, failures, statuses)

    await asyncio.to_thread(program)
    assert failures == []
    assert statuses
