"""Whole requests and their answers; requests.py says what a case is. One server answers all of them.

To add a case, write requests/<group>/NAME.input.yaml. Its output is recorded from Kubernetes v1.36, never from us: give
the address of such a server, whose tokens include those of testing/server.py, and look at what comes out:

    TIMONEL_GOLDEN_SERVER=https://127.0.0.1:6443 .venv/bin/pytest tests/golden/test_requests.py -k NAME

Without the variable, the same command compares our own answers with what was recorded.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.golden.requests import CASES, output_of, read_steps, run_case, write_answers
from tests.read_only import watching_live_objects
from timonel.apiserver.admission.selection import AdmissionConfig
from timonel.testing.server import ADMIN_TOKEN, start_api_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CASES = sorted(CASES.glob("*/*.input.yaml"))


@pytest.fixture(scope="module", autouse=True)
def live_objects() -> Iterator[None]:
    yield from watching_live_objects()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    if recorded := os.environ.get("TIMONEL_GOLDEN_SERVER"):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http:
            yield recorded, http
        return
    # Kubernetes has no need to warn of what is not built.
    as_upstream = AdmissionConfig(disable=("Unbuilt",))
    running = await start_api_server(tmp_path_factory.mktemp("server"), admission=as_upstream)
    yield running.url, running.http
    await running.stop()


@pytest.mark.parametrize("case", _CASES, ids=lambda path: f"{path.parent.name}/{path.name.removesuffix('.input.yaml')}")
async def test_golden(server: tuple[str, aiohttp.ClientSession], case: Path) -> None:
    answers = await run_case(read_steps(case), *server, ADMIN_TOKEN)
    if os.environ.get("TIMONEL_GOLDEN_SERVER"):
        write_answers(case, answers)
    expected = yaml.safe_load(output_of(case).read_text())
    for number, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
        assert answer == wanted, f"step {number}"
