"""Which images go, and when.

Source: kubernetes.io/docs/concepts/architecture/garbage-collection, "Container image lifecycle"
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kubelet.node import Node
from tests.unit.kubelet.pods import container, pod
from timonel.api.refs import PODS
from timonel.kubelet.cri import runtime_pb2 as cri
from timonel.kubelet.cri.runtime import RuntimeFailure
from timonel.kubelet.images.garbage import ImageGarbage, ImagePolicy, ImageRecord, bytes_to_free, in_order_of_removal
from timonel.kubelet.images.reference import full_name
from timonel.kubelet.pods.worker import Stage
from timonel.testing.clock import VirtualClock
from timonel.testing.fake_runtime import FakeRuntime


@pytest.mark.parametrize(
    ("available", "policy", "wanted"),
    [
        (16, ImagePolicy(), 0),
        (15, ImagePolicy(), 5),  # 85 % used: down to 80 %
        (0, ImagePolicy(), 20),
        (0, ImagePolicy(high_percent=100), 0),
        (40, ImagePolicy(50, 40), 20),
    ],
)
def test_how_much_has_to_go(available: int, policy: ImagePolicy, wanted: int) -> None:
    assert bytes_to_free(available, 100, policy) == wanted


def test_the_longest_unused_go_first_and_young_ones_stay() -> None:
    records = [
        ImageRecord("used", 1, 0, 500, is_used=True),
        ImageRecord("young", 1, 450, 450),
        ImageRecord("lately", 1, 0, 300),
        ImageRecord("never", 1, 10, 10),
        ImageRecord("never-and-older", 1, 0, 10),
    ]
    assert [each.id for each in in_order_of_removal(records, 500, 120)] == ["never-and-older", "never", "lately"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("registry:5000/app@sha256:" + "a" * 64, "registry:5000/app@sha256:" + "a" * 64),
        ("registry.k8s.io/pause:3.9@sha256:" + "a" * 64, "registry.k8s.io/pause@sha256:" + "a" * 64),
        ("sha256:" + "b" * 64, "sha256:" + "b" * 64),
        ("NO NAME", "NO NAME"),
    ],
)
def test_names_as_runtimes_list_them(image: str, name: str) -> None:
    assert full_name(image) == name


class Collector:
    def __init__(self, policy: ImagePolicy, *images: str) -> None:
        self.clock = VirtualClock()
        self.runtime = FakeRuntime(clock=self.clock, images=images)
        self.used: set[str] = set()
        self.free = (50, 100)
        self.told: list[tuple[str, str, str]] = []
        self.garbage = ImageGarbage(
            runtime=self.runtime,
            clock=self.clock,
            policy=policy,
            in_use=lambda: self.used,
            disk=self.disk,
            tell_node=lambda *event: self.told.append(event),
        )

    async def disk(self) -> tuple[int, int]:
        return self.free


async def test_over_the_high_threshold_images_go_until_the_low_one() -> None:
    of = Collector(ImagePolicy(), "a:1", "b:1", "c:1")
    of.used = {"b:1"}
    await of.garbage.collect()
    await of.clock.advance(200)
    of.free = (10_000, 100_000)  # 10 000 more are wanted; an image of the fake has 1000
    await of.garbage.collect()
    assert set(of.runtime.images) == {"b:1"}
    assert [reason for _, reason, _ in of.told] == ["FreeDiskSpaceFailed"]
    assert "(90% of 97.7 KiB used)" in of.told[0][2]
    assert "(freed 2000 bytes)" in of.told[0][2]


async def test_only_as_many_as_are_needed() -> None:
    of = Collector(ImagePolicy(), "a:1", "b:1", "c:1")
    await of.garbage.collect()
    await of.clock.advance(200)
    of.free = (1_500, 10_000)  # 500 more are wanted
    await of.garbage.collect()
    assert len(of.runtime.images) == 2
    assert of.told == []


async def test_images_unused_for_too_long_go_in_any_case() -> None:
    of = Collector(ImagePolicy(maximum_age_seconds=3600), "a:1", "b:1")
    await of.garbage.collect()
    await of.clock.advance(2000)
    of.used = {"b:1"}
    await of.garbage.collect()
    await of.clock.advance(2000)
    of.used = set()
    await of.garbage.collect()
    assert set(of.runtime.images) == {"b:1"}  # used 2000 seconds ago


async def test_pinned_images_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Collector(ImagePolicy(), "pause:1")

    async def list_images() -> list[cri.Image]:
        return [cri.Image(id="p", repo_tags=["pause:1"], size=5, pinned=True)]

    monkeypatch.setattr(of.runtime, "list_images", list_images)
    await of.garbage.collect()
    await of.clock.advance(1000)
    await of.garbage.remove_unused()
    assert "pause:1" in of.runtime.images


async def test_one_that_cannot_be_removed_does_not_save_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Collector(ImagePolicy(), "a:1", "b:1")
    removed: list[str] = []

    async def remove_image(image: str) -> None:
        removed.append(image)
        if len(removed) == 1:
            raise RuntimeFailure("Unknown", "busy")

    monkeypatch.setattr(of.runtime, "remove_image", remove_image)
    await of.garbage.collect()
    await of.clock.advance(1000)
    with pytest.raises(RuntimeFailure, match="busy"):
        await of.garbage.remove_unused()
    assert len(removed) == 2


async def test_what_pods_name_and_the_node_keeps_is_in_use(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.runtime.images = {"docker.io/library/busybox:1": "sha256:1", "docker.io/library/old:1": "sha256:2"}
    node.runtime.pullable = {"busybox:1"}
    async with node.running() as kubelet:
        await node.client.create(PODS, pod(container("c", image="busybox:1")))
        await node.until(lambda: node.get("web") is not None)
        await node.until(lambda: kubelet.workers.find("default", "web") is not None)
        assert kubelet._images_in_use() == {"docker.io/library/busybox:1"}


async def test_dead_pods_give_their_containers_back_when_the_node_is_short(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.running() as kubelet:
        await node.client.create(PODS, pod(container("c"), restartPolicy="Never"))
        await node.until(lambda: node.runtime.running())
        node.runtime.exit_container("c", 3)
        await node.until(lambda: node.status("web").get("phase") == "Failed")
        worker = kubelet.workers.find("default", "web")
        await node.until(lambda: worker is not None and worker.stage is Stage.ENDED)
        before = node.status("web")
        await kubelet.workers.remove_ended()
        assert not node.runtime.containers
        assert not node.runtime.sandboxes
    async with node.running() as kubelet:
        await kubelet.wait_ready()
        await node.clock.advance(5)
    assert node.status("web")["containerStatuses"] == before["containerStatuses"]
