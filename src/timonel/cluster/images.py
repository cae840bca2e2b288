"""Images on a node: the pause image made on the spot, and `timonel image import | ls | rm`.

The pause image holds one static binary from Debian, so that sandboxes start without any registry.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timonel.cluster.containerd import PAUSE_IMAGE, ctr
from timonel.cluster.errors import UserError
from timonel.cluster.layout import NodeLayout

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
"""Go's names, which images use, by the kernel's."""


def architecture() -> str:
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def pause_command() -> tuple[Path, list[str]]:
    """A static binary that keeps a sandbox alive and reaps its orphans, and its command line inside the image."""
    catatonit = shutil.which("catatonit")
    if catatonit:
        return Path(catatonit), ["/pause", "-P"]
    busybox = Path("/bin/busybox")
    if busybox.exists():
        # busybox chooses the applet by its own name, so it must keep it.
        return busybox, ["/busybox", "sh", "-c", "trap exit TERM INT; while :; do sleep 2147483647 & wait; done"]
    raise UserError("no binary for the pause image: install catatonit (or busybox-static)")


def build_image(
    files: dict[str, bytes], command: Sequence[str], name: str, *, environment: Sequence[str] = ()
) -> bytes:
    """An OCI image archive with one layer of executables, reproducible to the byte.

    Source: OCI image specification 1.0, "Image Layout" and "Image Configuration".
    """
    layer = _tar({path.lstrip("/"): (content, 0o755) for path, content in files.items()})
    config = _json(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created_by": "timonel"}],
        }
    )
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        }
    )
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = _json({"schemaVersion": 2, "manifests": [entry]})
    blobs = {f"blobs/sha256/{_digest(blob)[7:]}": (blob, 0o644) for blob in (config, packed, manifest)}
    return _tar({"oci-layout": (_json({"imageLayoutVersion": "1.0.0"}), 0o644), "index.json": (index, 0o644), **blobs})


def ensure_pause_image(node: NodeLayout) -> bool:
    """Imports the pause image if the node's containerd lacks it; returns whether it did."""
    if PAUSE_IMAGE in ctr(node, "images", "ls", "-q").stdout.split():
        return False
    binary, command = pause_command()
    archive = node.data / "pause.tar"
    archive.write_bytes(build_image({command[0]: binary.read_bytes()}, command, PAUSE_IMAGE))
    try:
        ctr(node, "images", "import", str(archive))
        # The label is how CRI knows not to collect it.
        ctr(node, "images", "label", PAUSE_IMAGE, "io.cri-containerd.pinned=pinned")
    finally:
        archive.unlink(missing_ok=True)
    return True


def check_archive(path: Path) -> None:
    """Raises UserError unless the file is a tar of `docker save` or of the OCI layout."""
    try:
        with tarfile.open(path) as archive:
            names = {member.name.removeprefix("./") for member in archive}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{path} is not an image archive: {error}") from error
    if "manifest.json" not in names and "index.json" not in names:
        raise UserError(f"{path} is neither a `docker save` nor an OCI archive: no manifest.json or index.json in it")


def import_archive(node: NodeLayout, path: Path) -> list[str]:
    """Names of the images that came in. Raises UserError for an archive of other machines' images or a damaged one."""
    output = ctr(node, "images", "import", str(path))
    return [line.split()[1] for line in output.stdout.splitlines() if line.startswith("unpacking ")]


@dataclass(frozen=True, slots=True)
class NodeImage:
    node: str
    name: str
    digest: str
    size: str
    """As containerd prints it: "68.4 MiB"."""


def list_images(node: NodeLayout) -> list[NodeImage]:
    """Named images; containerd's own references by digest are left out."""
    images = []
    for line in ctr(node, "images", "ls").stdout.splitlines()[1:]:
        name, _, digest, size, unit, *_ = line.split()
        if not name.startswith("sha256:") and "@" not in name:
            images.append(NodeImage(node.name, name, digest, f"{size} {unit}"))
    return images


def remove_image(node: NodeLayout, image: str) -> bool:
    """Removes the name, and the names by digest of the same image. Returns whether it was there."""
    lines = [line.split() for line in ctr(node, "images", "ls").stdout.splitlines()[1:]]
    digest = next((fields[2] for fields in lines if fields[0] == image), "")
    if not digest:
        return False
    others = {
        fields[0] for fields in lines if fields[2] == digest and (fields[0].startswith("sha256:") or "@" in fields[0])
    }
    named_otherwise = any(fields[2] == digest and fields[0] not in others | {image} for fields in lines)
    ctr(node, "images", "rm", image, *(() if named_otherwise else sorted(others)))
    return True


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
