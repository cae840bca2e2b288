"""Images on a node: the pause image made on the spot, and `timonel image import | ls | rm`.

The pause image holds one static binary from Debian, so that sandboxes start without any registry.
"""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from timonel.cluster.containerd import PAUSE_IMAGE, ctr
from timonel.cluster.errors import UserError
from timonel.cluster.layout import NodeLayout
from timonel.cluster.oci import Image, Layer, build_tar, oci_archive


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


def ensure_pause_image(node: NodeLayout) -> bool:
    """Imports the pause image if the node's containerd lacks it; returns whether it did."""
    if PAUSE_IMAGE in ctr(node, "images", "ls", "-q").stdout.split():
        return False
    binary, command = pause_command()
    archive = node.data / "pause.tar"
    layer = Layer.of(build_tar({command[0].lstrip("/"): (binary.read_bytes(), 0o755)}))
    archive.write_bytes(oci_archive(Image([layer], {"Entrypoint": command}), PAUSE_IMAGE))
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
        # tarfile tells every compression it tried, a line each.
        reason = str(error).partition(":\n")[0]
        raise UserError(f"{path} is not an image archive: {reason}") from error
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
