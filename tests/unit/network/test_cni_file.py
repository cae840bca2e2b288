"""The file that CNI reads is ours: whoever changes or removes it finds it written again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.network.test_odd_addresses import CONFIG, node
from timonel.api.refs import NODES
from timonel.client.informer import Informers
from timonel.network import pod_network
from timonel.network.pod_network import CONFIG_NAME, PodNetwork, render_cni
from timonel.testing.fake_client import FakeClient

OWN = dataclasses.replace(CONFIG, node_name="n1")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    async def run_command(*_: str, **__: Any) -> str:
        return "[]"

    monkeypatch.setattr(pod_network, "run_command", run_command)
    monkeypatch.setattr(pod_network, "_write_sysctl", lambda *_: None)
    client = FakeClient()
    await client.create(NODES, node("n1", "192.0.2.1", "10.244.0.0/24"))
    informers = Informers(client)
    network = PodNetwork(config=dataclasses.replace(OWN, cni_config=tmp_path / "net.d"), informers=informers)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(informers.run()), group.create_task(network.run())]
        await network.wait_ready()
        yield tmp_path / "net.d"
        for task in tasks:
            task.cancel()


async def test_a_changed_file_is_written_again(folder: Path) -> None:
    file, text = folder / CONFIG_NAME, render_cni(OWN, "10.244.0.0/24")
    assert json.loads(file.read_text()) == json.loads(text)
    file.write_text("{}")
    await until(lambda: file.read_text() == text)
    file.unlink()
    await until(lambda: file.exists() and file.read_text() == text)
    (folder / "other").write_text("{}")
    (folder / "other").rename(file)
    await until(lambda: file.read_text() == text)


async def test_other_networks_files_are_left_alone(folder: Path) -> None:
    (folder / "05-other.conflist").write_text("{}")
    (folder / CONFIG_NAME).unlink()
    await until(lambda: (folder / CONFIG_NAME).exists())
    assert (folder / "05-other.conflist").read_text() == "{}"
