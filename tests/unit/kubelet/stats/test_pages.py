"""What is told of a node with one pod: the summary and the pages for Prometheus."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeFailure
from timonel.kubelet.node.machine import Machine
from timonel.kubelet.stats.cadvisor_metrics import render_cadvisor_metrics
from timonel.kubelet.stats.cgroup_usage import CgroupFiles
from timonel.kubelet.stats.exposition import Page, labels_text
from timonel.kubelet.stats.filesystems import Filesystems, count_files
from timonel.kubelet.stats.host_usage import HostFiles
from timonel.kubelet.stats.resource_metrics import render_resource_metrics
from timonel.kubelet.stats.sampler import Sampler
from timonel.kubelet.stats.samples import ContainerSource, PodSource, VolumeSource
from timonel.kubelet.stats.summary import render_summary
from timonel.kubelet.stats.volume_metrics import render_volume_metrics
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_runtime import FakeRuntime

from . import trees
from .trees import MIB, POD

NOW = 1767225600  # 2026-01-01, where the virtual clock starts
MACHINE = Machine(4, 16 << 30, 100 << 30, "amd64", "6.1", "Debian", "m", "s", "b", 1 << 30)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.runtime = FakeRuntime(clock=self.clock)
        self.cgroup = folder / "cgroup"
        trees.proc(folder / "proc")
        for path, cpu in (("timonel/n1/kubepods", 8_000_000_000), (POD, 5_000_000_000), (f"{POD}/c1", 4_000_000_000)):
            trees.version_2(self.cgroup, path, cpu=cpu)
        trees.version_2(self.cgroup, f"{POD}/s1")
        volume = VolumeSource("cache", str(folder / "volume"))
        trees.write(folder, {"volume/data": "x" * 5000, "logs/main/0.log": "y" * 100})
        container = ContainerSource("c1", "main", NOW - 60, "app:1", 512, 50_000, 64 * MIB)
        self.pod = PodSource(
            "default", "web", "u1", f"/{POD}", NOW - 61, False, "s1", (container,), (volume,), str(folder / "logs")
        )
        cgroups = CgroupFiles(mount=str(self.cgroup), unified=True)
        self.sampler = Sampler(
            node_name="n1",
            pods=lambda: [self.pod],
            cgroups=cgroups,
            host=HostFiles(cgroups=cgroups, proc=str(folder / "proc")),
            runtime=self.runtime,
            clock=self.clock,
            root="/timonel/n1",
        )
        self.files = Filesystems(root_dir=str(folder), runtime=self.runtime, clock=self.clock)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels, as Prometheus reads the page."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_resource_metrics(world: World) -> None:
    text = render_resource_metrics(await world.sampler.sample())
    of_pod = (("namespace", "default"), ("pod", "web"))
    of_container = (("container", "main"), *of_pod)
    assert values(text) == {
        ("node_cpu_usage_seconds_total", ()): 1.57,
        ("node_memory_working_set_bytes", ()): 11 << 30,
        ("node_swap_usage_bytes", ()): 512 * MIB,
        ("container_start_time_seconds", of_container): NOW - 60,
        ("container_cpu_usage_seconds_total", of_container): 4.0,
        ("container_memory_working_set_bytes", of_container): 20 * MIB,
        ("container_swap_usage_bytes", of_container): MIB,
        ("container_swap_limit_bytes", of_container): 32 * MIB,
        ("pod_cpu_usage_seconds_total", of_pod): 5.0,
        ("pod_memory_working_set_bytes", of_pod): 20 * MIB,
        ("pod_swap_usage_bytes", of_pod): MIB,
        ("resource_scrape_error", ()): 0,
        ("scrape_error", ()): 0,
    }
    assert f"node_cpu_usage_seconds_total 1.57 {NOW}000\n" in text
    assert "# TYPE container_cpu_usage_seconds_total counter\n" in text
    assert "# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes\n" in text


async def test_those_who_ask_within_a_second_share_a_look(world: World) -> None:
    first = await world.sampler.sample()
    await world.clock.advance(0.9)
    assert await world.sampler.sample() is first
    await world.clock.advance(0.2)
    assert (await world.sampler.sample()).time == NOW + 1.1


async def test_rates_are_made_over_ten_seconds(world: World) -> None:
    async def ask() -> tuple[float, float]:
        now, earlier = await world.sampler.sample_with_base()
        return now.time - NOW, earlier.time - NOW

    first = asyncio.create_task(ask())
    while not first.done():  # files are read in threads, which know no virtual time
        await world.clock.advance(0.1)
        await asyncio.sleep(0.001)
    taken, base = await first
    assert taken > base
    await world.clock.advance(20)
    later, before = await ask()
    assert before == pytest.approx(base)
    await world.clock.advance(2)
    assert (await ask())[1] == pytest.approx(base)
    await world.clock.advance(10)
    assert (await ask())[1] == pytest.approx(later)


async def test_summary(world: World) -> None:
    earlier = await world.sampler.sample()
    await world.clock.advance(10)
    trees.version_2(world.cgroup, f"{POD}/c1", cpu=9_000_000_000)
    now = await world.sampler.sample(details=True)
    summary = render_summary(now, earlier, await world.files.sample([world.pod]))
    node, pod = summary["node"], summary["pods"][0]
    at = "2026-01-01T00:00:10Z"
    assert node["nodeName"] == "n1"
    assert node["startTime"] == "2001-09-09T01:46:40Z"
    assert node["memory"] == {
        "time": at,
        "availableBytes": 5 << 30,
        "usageBytes": 12 << 30,
        "workingSetBytes": 11 << 30,
        "rssBytes": 1 << 30,
        "pageFaults": 77,
        "majorPageFaults": 5,
    }
    assert node["swap"] == {"time": at, "swapAvailableBytes": 512 * MIB, "swapUsageBytes": 512 * MIB}
    assert node["rlimit"] == {"time": at, "maxpid": 32768, "curproc": 345}
    assert node["network"]["name"] == "eth0"
    assert {each["name"] for each in node["systemContainers"]} == {"pods", "kubelet"}
    assert node["fs"]["capacityBytes"] > node["fs"]["availableBytes"] > 0
    assert pod["podRef"] == {"name": "web", "namespace": "default", "uid": "u1"}
    assert pod["startTime"] == "2025-12-31T23:58:59Z"
    container = pod["containers"][0]
    psi = container["cpu"].pop("psi")
    assert container["cpu"] == {"time": at, "usageNanoCores": 500_000_000, "usageCoreNanoSeconds": 9_000_000_000}
    assert psi["some"] == {"total": 4_000_000, "avg10": 1.5, "avg60": 0.7, "avg300": 0.1}
    assert container["io"]["psi"]["full"]["total"] == 500_000
    assert pod["process_stats"] == {"process_count": 5}
    assert container["memory"]["availableBytes"] == 44 * MIB
    assert container["startTime"] == "2025-12-31T23:59:00Z"
    assert pod["network"]["rxBytes"] == 5000
    assert pod["volume"][0]["name"] == "cache"
    assert pod["volume"][0]["usedBytes"] >= 5000
    assert pod["ephemeral-storage"]["usedBytes"] == pod["volume"][0]["usedBytes"] + container["logs"]["usedBytes"]


async def test_summary_of_cpu_and_memory_only(world: World) -> None:
    sample = await world.sampler.sample()
    summary = render_summary(sample, sample, None)
    assert "usageNanoCores" not in summary["pods"][0]["cpu"]
    assert not {"fs", "network", "runtime", "rlimit"} & summary["node"].keys()
    assert not {"volume", "network", "ephemeral-storage"} & summary["pods"][0].keys()


async def test_a_counter_that_started_anew_gives_no_rate(world: World) -> None:
    earlier = await world.sampler.sample()
    await world.clock.advance(10)
    trees.version_2(world.cgroup, f"{POD}/c1", cpu=1_000_000)
    summary = render_summary(await world.sampler.sample(), earlier, None)
    assert "usageNanoCores" not in summary["pods"][0]["containers"][0]["cpu"]


async def test_cadvisor_metrics(world: World) -> None:
    sample = await world.sampler.sample(details=True)
    text = render_cadvisor_metrics(sample, await world.files.sample([world.pod]), MACHINE, {"8:0": "/dev/sda"})
    found = values(text)

    def of(family: str, /, **labels: str) -> Any:
        known = {"container": "", "id": f"/{POD}", "image": "", "name": "", "namespace": "default", "pod": "web"}
        return found[family, tuple(sorted({**known, **labels}.items()))]

    main = {"container": "main", "id": f"/{POD}/c1", "image": "app:1", "name": "c1"}
    assert of("container_cpu_usage_seconds_total", cpu="total") == 5
    assert of("container_cpu_usage_seconds_total", cpu="total", **main) == 4
    assert of("container_cpu_cfs_throttled_periods_total", **main) == 2
    assert of("container_memory_working_set_bytes", **main) == 20 * MIB
    assert of("container_memory_rss", **main) == 18 * MIB
    assert of("container_memory_cache", **main) == 12 * MIB
    assert of("container_memory_failures_total", failure_type="pgmajfault", scope="hierarchy", **main) == 3
    assert of("container_fs_writes_bytes_total", device="/dev/sda", **main) == 8192
    assert of("container_pressure_memory_waiting_seconds_total", **main) == 2
    assert of("container_pressure_memory_stalled_seconds_total", **main) == 1
    assert of("container_spec_cpu_quota", **main) == 50_000
    assert of("container_spec_cpu_shares", **main) == 512
    assert of("container_spec_memory_limit_bytes", **main) == 64 * MIB
    sandbox = {"id": f"/{POD}/s1", "name": "s1", "interface": "eth0"}
    assert of("container_network_receive_bytes_total", **sandbox) == 5000
    assert of("container_network_transmit_packets_dropped_total", **sandbox) == 4
    same = (("boot_id", "b"), ("machine_id", "m"), ("system_uuid", "s"))
    assert found["machine_cpu_cores", same] == 4
    assert found["machine_memory_bytes", same] == 16 << 30


async def test_containers_without_a_cgroup_are_asked_of_the_runtime(world: World) -> None:
    """A runtime may put them elsewhere."""
    stats = cri.ContainerStats()
    stats.attributes.id = "elsewhere"
    stats.cpu.usage_core_nano_seconds.value = 2_000_000_000
    stats.memory.working_set_bytes.value = 3 * MIB
    container = replace(world.pod.containers[0], id="elsewhere")
    world.pod = replace(world.pod, containers=(container,), cgroup="/elsewhere")

    async def told() -> list[cri.ContainerStats]:
        return [stats]

    world.runtime.list_container_stats = told  # type: ignore[method-assign]
    found = values(render_resource_metrics(await world.sampler.sample()))
    labels = (("namespace", "default"), ("pod", "web"))
    assert found["container_cpu_usage_seconds_total", (("container", "main"), *labels)] == 2
    assert found["pod_cpu_usage_seconds_total", labels] == 2
    assert found["pod_memory_working_set_bytes", labels] == 3 * MIB
    assert found["resource_scrape_error", ()] == 0


async def test_a_runtime_that_is_away_is_told_of(world: World) -> None:
    world.pod = replace(world.pod, cgroup="/elsewhere")
    world.runtime.failures["list_container_stats"] = RuntimeFailure("Unavailable", "gone")
    found = values(render_resource_metrics(await world.sampler.sample()))
    assert found["resource_scrape_error", ()] == 1
    assert not any(name.startswith("container_cpu") for name, _ in found)


async def test_pods_in_the_nodes_network_have_no_figures_of_it(world: World) -> None:
    world.pod = replace(world.pod, host_network=True)
    assert (await world.sampler.sample()).pods[0].interfaces == ()


async def test_claims_in_use(world: World) -> None:
    """Of the file system that is mounted there, not of what one pod has put into it; and once, however many use it."""
    claimed = VolumeSource("data", str(world.folder), "data-0")
    one = replace(world.pod, volumes=(*world.pod.volumes, claimed))
    other = replace(one, name="other", uid="u2")
    found = values(render_volume_metrics([one, other], await world.files.sample([one, other], layers=False)))
    labels = (("namespace", "default"), ("persistentvolumeclaim", "data-0"))
    assert {key[1] for key in found} == {labels}
    capacity, available = (found[f"kubelet_volume_stats_{name}_bytes", labels] for name in ("capacity", "available"))
    assert capacity == (await world.files.sample([])).node.capacity
    assert 0 < available <= capacity - found["kubelet_volume_stats_used_bytes", labels]


async def test_files_are_counted_once_a_minute(world: World) -> None:
    before = (await world.files.sample([world.pod])).volumes["u1", "cache"].used
    trees.write(world.folder, {"volume/more": "z" * 100_000})
    assert (await world.files.sample([world.pod])).volumes["u1", "cache"].used == before
    await world.clock.advance(61)
    assert (await world.files.sample([world.pod])).volumes["u1", "cache"].used >= before + 100_000


def test_counting_files(tmp_path: Path) -> None:
    trees.write(tmp_path, {"a/b/c": "1", "d": "2"})
    (tmp_path / "loop").symlink_to(tmp_path)
    used, inodes = count_files(str(tmp_path))
    assert inodes == 5
    assert used >= 2
    assert count_files(str(tmp_path / "gone")) == (0, 0)


def test_label_values_are_escaped() -> None:
    """prometheus.io: backslash, double quote and line feed."""
    assert labels_text({"image": 'a"b\\c\nd'}) == '{image="a\\"b\\\\c\\nd"}'
    assert labels_text({}) == ""


def test_samples_of_one_family_stay_together() -> None:
    page = Page({"a": ("gauge", "A."), "b": ("gauge", "B.")})
    page.add("a", "", 1)
    page.add("b", "", 2)
    page.add("a", '{x="y"}', 3, 1.5)
    assert page.render() == '# HELP a A.\n# TYPE a gauge\na 1\na{x="y"} 3 1500\n# HELP b B.\n# TYPE b gauge\nb 2\n'
