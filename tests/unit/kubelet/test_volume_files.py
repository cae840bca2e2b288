"""Files of configMap, secret, downwardAPI and projected volumes, and how they are swapped. Source: concepts/storage."""

from __future__ import annotations

import base64
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.kubelet.pods import container, pod
from timonel.api.objects import Object
from timonel.kubelet.volumes.atomic import File, write_files
from timonel.kubelet.volumes.payload import PayloadError, PayloadSource, render_volume

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTS: dict[tuple[str, str], Object] = {
    ("configmap", "cm"): {"data": {"a": "1"}, "binaryData": {"b": base64.b64encode(b"\x00").decode()}},
    ("secret", "s"): {"data": {"pw": base64.b64encode(b"secret").decode()}},
}
SOURCE = PayloadSource(
    lookup=lambda kind, name: OBJECTS.get((kind, name)), token=lambda projection: "token", allocatable={"cpu": "4"}
)
C = container("c", resources={"limits": {"cpu": "1500m"}})


def render(volume: Object, **spec: Object) -> dict[str, File]:
    of = pod(C, **spec)
    of["metadata"]["labels"] = {"b": "2", "a": 'x"y'}
    return render_volume(of, {"name": "v", **volume}, SOURCE)


def test_config_maps() -> None:
    assert render({"configMap": {"name": "cm"}}) == {"a": File(b"1", 0o644), "b": File(b"\0", 0o644)}
    items = [{"key": "a", "path": "x/y", "mode": 0o600}]
    assert render({"configMap": {"name": "cm", "items": items, "defaultMode": 0o400}}) == {"x/y": File(b"1", 0o600)}
    with pytest.raises(PayloadError, match="configmap references non-existent config key: z"):
        render({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}})
    with pytest.raises(PayloadError, match='configmap "no" not found'):
        render({"configMap": {"name": "no"}})
    assert render({"configMap": {"name": "no", "optional": True}}) == {}


def test_downward_api() -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
    ]
    made = render({"downwardAPI": {"items": items}})
    assert made["labels"].content == b'a="x\\"y"\nb="2"'
    assert made["cpu"].content == b"2"


def test_projections() -> None:
    sources = [
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "s"}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    volume = {"projected": {"sources": sources, "defaultMode": 0o444}}
    assert render(volume) == {"a": File(b"1", 0o444), "pw": File(b"secret", 0o444), "token": File(b"token", 0o444)}
    owned = render(volume, securityContext={"runAsUser": 5})
    assert owned["token"] == File(b"token", 0o600, 5)
    with pytest.raises(PayloadError, match="clusterTrustBundle is not built"):
        render({"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}})


def test_files_are_swapped_together(tmp_path: Path) -> None:
    assert write_files(str(tmp_path), {"a": File(b"1", 0o644), "d/b": File(b"2", 0o600)}, now=NOW)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "d/b").read_bytes() == b"2"
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert stat.S_IMODE(os.stat(tmp_path / "d/b").st_mode) == 0o600
    before = os.readlink(tmp_path / "..data")
    assert not write_files(str(tmp_path), {"a": File(b"1", 0o644), "d/b": File(b"2", 0o600)}, now=NOW)
    assert os.readlink(tmp_path / "..data") == before
    assert write_files(str(tmp_path), {"a": File(b"3", 0o644), "c": File(b"4", 0o644)}, now=NOW)
    assert (tmp_path / "a").read_bytes() == b"3"
    assert set(os.listdir(tmp_path)) == {os.readlink(tmp_path / "..data"), "..data", "a", "c"}
    assert not (tmp_path / "d").exists()


def test_a_half_done_swap_is_finished(tmp_path: Path) -> None:
    """The agent was killed after it had made the new files and the temporary link."""
    write_files(str(tmp_path), {"a": File(b"1", 0o644)}, now=NOW)
    (tmp_path / "..2020_leftover").mkdir()
    os.symlink("..2020_leftover", tmp_path / "..data_tmp")
    assert write_files(str(tmp_path), {"a": File(b"2", 0o644)}, now=NOW)
    assert (tmp_path / "a").read_bytes() == b"2"
    assert not (tmp_path / "..2020_leftover").exists()


def test_files_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_files(str(tmp_path), {"a": File(b"1", 0o644), "a/b": File(b"2", 0o644)}, now=NOW)
    assert list(tmp_path.iterdir()) == []
