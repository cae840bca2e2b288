"""Plain tables, aligned like kubectl's, so that they can be read, grepped and cut."""

from __future__ import annotations

from collections.abc import Sequence

from timonel.cluster.images import NodeImage
from timonel.cluster.status import ClusterStatus


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def render_bytes(count: int) -> str:
    """Mebibytes with one decimal, "-" for none."""
    return f"{count / 1024**2:.1f} MiB" if count else "-"


def render_status(status: ClusterStatus) -> str:
    rows = [
        (
            part.name,
            part.state,
            str(part.pid) if part.pid else "-",
            str(part.restarts),
            render_bytes(part.resident_bytes),
            part.note,
        )
        for part in status.parts
    ]
    ours = sum(part.resident_bytes for part in status.parts if not part.name.startswith("containerd@"))
    text = render_table(("PART", "STATE", "PID", "RESTARTS", "MEMORY", "NOTE"), rows)
    text += f"\n\nMemory of Timonel's own processes: {render_bytes(ours)}\n\n"
    text += render_table(("NODE", "STATUS"), list(status.nodes.items()))
    if status.problem:
        text += f"\n\n{status.problem}"
    return text


def render_images(images: Sequence[NodeImage]) -> str:
    rows = [(image.node, image.name, image.digest[:19], image.size) for image in images]
    return render_table(("NODE", "IMAGE", "DIGEST", "SIZE"), rows)
