"""Plugins in Python: the example of the docs, and what becomes of ones that raise, hang or answer nonsense."""

from __future__ import annotations

import asyncio
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.unit.scheduler.clusters import cluster_of
from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_loop import World
from timonel.api.objects import Object
from timonel.cluster.errors import UserError
from timonel.cluster.scheduler_config import checked_document, parse_document
from timonel.scheduler.config import SchedulerConfig
from timonel.scheduler.configuration.errors import InvalidConfiguration
from timonel.scheduler.configuration.reading import SchedulerConfiguration, parse_configuration
from timonel.scheduler.core.framework import Attempt, PluginFailed
from timonel.scheduler.core.profile import Profile
from timonel.scheduler.core.schedule import NoFit, Placement, schedule
from timonel.scheduler.plugin import Nodes, Plugin, PodToPlace
from timonel.scheduler.python_plugins import load_plugins
from timonel.scheduler.time_limit import AlarmLimit, TookTooLong

EXAMPLE = Path(__file__).parents[3] / "examples" / "scheduler-plugin"
PAGE = (Path(__file__).parents[3] / "docs" / "scheduling.md").read_text()

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a module where Python finds it, with entry points, as pip leaves an installed package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def put(module: str, source: str, **points: str) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        told = tmp_path / f"{module}-0.1.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0.1\n")
        lines = [f"{name} = {module}:{kind}" for name, kind in points.items()]
        (told / "entry_points.txt").write_text("[timonel.scheduler]\n" + "\n".join(lines) + "\n")
        made.append(module)

    yield put
    for module in made:
        sys.modules.pop(module, None)


HEAD = "import numpy as np\nimport time\nfrom timonel.scheduler.plugin import Plugin\n\n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def configured(monotonic: Callable[[], float] | None = None, *names: str) -> SchedulerConfiguration:
    enabled = [{"name": name} for name in names]
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [{"plugins": {"multiPoint": {"enabled": enabled}}}],
    }
    rows = load_plugins(names, limit=AlarmLimit(), monotonic=monotonic or Clock())
    return parse_configuration(document, rows)


def profile_with(*names: str, monotonic: Callable[[], float] | None = None) -> Profile:
    (profile,) = configured(monotonic, *names).profiles
    return profile


def decide(profile: Profile, nodes: list[Object], wanted: Object) -> Placement | NoFit:
    cluster = cluster_of(nodes)
    return schedule(cluster, Attempt(cluster.parse_pod(wanted), object=wanted), random.Random(1), profile)


# The example


@pytest.fixture
def example(install: Install) -> SchedulerConfiguration:
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["timonel.scheduler"]
    kinds = {name: value.removeprefix("cheap_nodes:") for name, value in points.items()}
    install("cheap_nodes", (EXAMPLE / "cheap_nodes.py").read_text(), **kinds)
    path = EXAMPLE / "scheduler.yaml"
    return parse_document(checked_document(str(path)), str(path))


def test_the_example_is_what_the_docs_show() -> None:
    shown = re.findall(r"```(?:python|yaml|toml)\n(.*?)```", PAGE, re.DOTALL)
    for name in ("cheap_nodes.py", "scheduler.yaml"):
        assert (EXAMPLE / name).read_text() in shown
    assert (EXAMPLE / "pyproject.toml").read_text() in shown


def test_the_example_filters_and_scores(example: SchedulerConfiguration) -> None:
    (profile,) = example.profiles
    assert [each.name for each in profile.filters][-1] == "Licences"
    assert [(plugin.name, weight) for plugin, weight in profile.scores][-1] == ("CheapNodes", 5)
    nodes = [
        node("dear", labels={"example.org/price": "2", "licence.example.org/cad": "yes"}),
        node("cheap", labels={"example.org/price": "0.1"}),
        node("usual"),
    ]
    plain = decide(profile, nodes, pod("plain"))
    assert isinstance(plain, Placement)
    assert (plain.node, plain.feasible) == ("cheap", 3)
    licensed = decide(profile, nodes, pod("licensed", labels={"example.org/licence": "cad"}))
    assert isinstance(licensed, Placement)
    assert (licensed.node, licensed.feasible) == ("dear", 1)
    refused = decide(profile, nodes, pod("refused", labels={"example.org/licence": "sim"}))
    assert isinstance(refused, NoFit)
    assert refused.reasons == {"node(s) had no licence for sim": 3}
    assert refused.plugins == {"Licences"}


# What plugins see


def test_arrays_and_single_nodes_tell_the_same() -> None:
    cluster = cluster_of([node("a", cpu="4", labels={"zone": "x"}), node("b", cpu="2")], [pod("one", "500m", on="a")])
    nodes = Nodes(cluster, np.flatnonzero(cluster.nodes.alive))
    assert nodes.names == [each.name for each in nodes] == ["a", "b"]
    assert nodes.allocatable("cpu").tolist() == [each.allocatable("cpu") for each in nodes] == [4000, 2000]
    assert nodes.requested("cpu").tolist() == [each.requested("cpu") for each in nodes] == [500, 0]
    assert nodes.free("cpu").tolist() == [each.free("cpu") for each in nodes] == [3500, 2000]
    assert nodes.allocatable("example.com/none").tolist() == [0, 0]
    assert nodes.label("zone") == [each.labels.get("zone") for each in nodes] == ["x", None]
    assert nodes.has_label("zone").tolist() == [True, False]
    assert nodes.has_label("zone", "x", "y").tolist() == [True, False]
    assert nodes[1].name == "b"
    wanted = pod("p", "1", labels={"a": "b"})
    seen = PodToPlace(Attempt(cluster.parse_pod(wanted), object=wanted))
    assert (seen.namespace, seen.name, seen.labels, seen.object) == ("default", "p", {"a": "b"}, wanted)
    assert (seen.requests["cpu"], seen.priority) == (1000, 0)


# What goes wrong

BAD = {
    "raises": ("def filter_nodes(self, pod, nodes): raise RuntimeError('out of luck')", "RuntimeError('out of luck')"),
    "hangs": ("def filter_nodes(self, pod, nodes):\n        while True: pass", "it took longer than 0.05s"),
    "sleeps": ("def filter_nodes(self, pod, nodes): time.sleep(60)", "it took longer than 0.05s"),
    "holds on": (
        "def filter_nodes(self, pod, nodes):\n        while True:\n            try:\n                time.sleep(1)\n"
        "            except Exception: pass",
        "it took longer than 0.05s",
    ),
    "wrong shape": ("def filter_nodes(self, pod, nodes): return np.ones(7, bool)", "not an array of shape (7,)"),
    "no mask": ("def filter_nodes(self, pod, nodes): return np.ones(len(nodes))", "and type float64"),
    "nothing": ("def filter_nodes(self, pod, nodes): return None", "the answer must be a mask of true and false"),
    "no reason": ("def filter_node(self, pod, node): return 3", "the answer must be a reason or None, not 3"),
    "NaN": ("def score_nodes(self, pod, nodes): return np.full(len(nodes), np.nan)", "from 0 to 100, not nan to nan"),
    "infinite": ("def score_node(self, pod, node): return float('inf')", "scores must be from 0 to 100"),
    "too high": ("def score_node(self, pod, node): return 101", "scores must be from 0 to 100, not 101 to 101"),
    "negative": ("def score_node(self, pod, node): return -1", "scores must be from 0 to 100"),
    "text": ("def score_node(self, pod, node): return 'good'", "the answer must be numbers"),
    "ragged": ("def score_nodes(self, pod, nodes): return [[1], [1, 2]]", "the answer is no array"),
    "exits": ("def filter_nodes(self, pod, nodes): raise ValueError", "ValueError()"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_plugin_fails_the_pod_with_a_reason(install: Install, case: str) -> None:
    method, why = BAD[case]
    install("bad_plugin", f"{HEAD}class Bad(Plugin):\n    time_limit_seconds = 0.05\n    {method}\n", Bad="Bad")
    with pytest.raises(PluginFailed) as caught:
        decide(profile_with("Bad"), [node("a"), node("b")], pod("x"))
    assert why in str(caught.value)
    point = (
        'running "Bad" filter plugin: ' if "filter" in method else 'running Score plugins: plugin "Bad" failed with: '
    )
    assert str(caught.value).startswith(point)


def test_one_that_keeps_taking_too_long_rests(install: Install) -> None:
    source = (
        f"{HEAD}class Slow(Plugin):\n    time_limit_seconds = 0.01\n"
        "    def filter_node(self, pod, node): time.sleep(9)\n"
    )
    install("slow_plugin", source, Slow="Slow")
    clock = Clock()
    profile = profile_with("Slow", monotonic=clock)

    def failure() -> str:
        with pytest.raises(PluginFailed) as caught:
            decide(profile, [node("a")], pod("x"))
        return str(caught.value)

    for _ in range(3):
        assert "it took longer than 0.01s" in failure()
    assert "it took too long 3 times, and is asked again in 10s" in failure()
    clock.now = 10
    assert "it took longer than 0.01s" in failure()
    assert "it took too long 4 times, and is asked again in 20s" in failure()


def test_an_alarm_that_rings_late_hurts_nobody() -> None:
    limit = AlarmLimit()
    assert limit.run(60, lambda: 1) == 1
    with pytest.raises(TookTooLong):
        limit.run(0.01, lambda: [None for _ in iter(int, 1)])
    assert limit.run(60, lambda: 2) == 2
    with pytest.raises(KeyError):
        limit.run(60, lambda: {}["x"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nothing_of_this_name",
            'plugin "Broken" cannot be loaded from broken_plugin:Broken: ModuleNotFoundError',
        ),
        ("Broken = 3", 'plugin "Broken": broken_plugin:Broken is no subclass of timonel.scheduler.plugin.Plugin'),
        (f"{HEAD}class Broken(Plugin): pass", 'plugin "Broken": broken_plugin:Broken neither filters nor scores'),
        (
            f"{HEAD}class Broken(Plugin):\n    def __init__(self, args): raise ValueError('no price')\n"
            "    def score_node(self, pod, node): return 1",
            'initializing plugin "Broken": no price',
        ),
    ],
)
def test_one_that_cannot_be_loaded_is_refused_by_name(install: Install, source: str, message: str) -> None:
    install("broken_plugin", source, Broken="Broken")
    with pytest.raises(InvalidConfiguration) as caught:
        configured(None, "Broken")
    assert message in str(caught.value)


def test_one_that_nobody_offers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.yaml"
    text = (EXAMPLE / "scheduler.yaml").read_text().replace("Licences", "Nobodys")
    path.write_text(text)
    assert yaml.safe_load(text)
    with pytest.raises(UserError, match='FilterPlugin "Nobodys" does not exist'):
        checked_document(str(path))


# Around the core


async def test_the_pod_concerned_waits_and_others_go_on(install: Install) -> None:
    source = (
        f"{HEAD}class Picky(Plugin):\n    def filter_node(self, pod, node):\n"
        "        if pod.name == 'odd': raise RuntimeError('odd one')\n"
    )
    install("picky_plugin", source, Picky="Picky")
    world = World(node("node-1"), config=SchedulerConfig(slice_seconds=-1, configuration=configured(None, "Picky")))
    tasks = [asyncio.create_task(part.run()) for part in (world.informers, world.recorder, world.scheduler)]
    await world.settle()
    try:
        for name in ("odd", "even"):
            await world.create(pod(name))
        assert (world.node_of("odd"), world.node_of("even")) == ("", "node-1")
        condition = world.condition("odd")
        assert (condition["reason"], condition["status"]) == ("SchedulerError", "False")
        assert condition["message"] == "running \"Picky\" filter plugin: RuntimeError('odd one')"
        assert ("Warning", "FailedScheduling", condition["message"]) in world.events()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_the_base_class_says_what_it_lacks() -> None:
    plugin: Any = Plugin({})
    for method in (plugin.filter_nodes, plugin.filter_node, plugin.score_nodes, plugin.score_node):
        with pytest.raises(NotImplementedError):
            method(None, None)
