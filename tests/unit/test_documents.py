"""What the documents point at exists, the two READMEs say the same, and the map's absences are true of the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "timonel"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def links(text: str) -> list[str]:
    """Targets of [text](target), those of other sites left out."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def anchors(text: str) -> set[str]:
    """What headings are called in links: lower case, hyphens for blanks, signs dropped."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_local_links_lead_somewhere(document: Path) -> None:
    for target in links(document.read_text()):
        file, _, anchor = target.partition("#")
        found = document.parent / file if file else document
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_paths_in_the_text_exist(name: str) -> None:
    """`tests/unit/…`, `api/refs.py`, `storage/sqlite`: below the root or below the package; <names> are to be made."""
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.DOTALL)
    paths = [path for path in re.findall(r"`([\w./-]+)`", text) if re.search(r"^\w[\w.-]*/|\.(py|md|toml|txt)$", path)]
    first_level = {entry.name for entry in (*ROOT.iterdir(), *SOURCE.iterdir())}
    checked = [path for path in paths if path.partition("/")[0] in first_level]
    assert len(checked) > 5
    for path in checked:
        assert (ROOT / path).exists() or (SOURCE / path).exists(), path


def test_both_readmes_have_the_same_shape() -> None:
    """Equal commands and figures, as many headings and tables; only the words differ."""
    english, korean = (strip((ROOT / name).read_text()) for name in ("README.md", "README.ko.md"))
    assert english == korean


def strip(text: str) -> list[str]:
    """Headings by their level, rows by their number of cells and measured figures, code blocks without comments."""
    shape: list[str] = []
    code = False
    for line in text.splitlines():
        if line.startswith("```"):
            code = not code
        elif code:
            shape.append(line.partition(" #")[0].rstrip())
        elif line.startswith("#"):
            shape.append(line.split()[0])
        elif line.startswith("|"):
            cells = line.strip("|").split("|")
            figures = re.findall(r"[\d.]+", cells[-1]) if len(cells) == 3 else []
            shape.append(f"row of {len(cells)}: {' '.join(figures)}")
    return shape


def imports_of(folder: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((SOURCE / folder).rglob("*.py")):
        if not path.name.endswith("_pb2.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((path, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield path, node.module or ""


def test_the_scheduler_core_opens_no_socket_and_reads_no_clock() -> None:
    forbidden = {"socket", "asyncio", "threading", "time", "os", "subprocess", "aiohttp", "timonel.client"}
    assert [(path.name, name) for path, name in imports_of("scheduler/core") if name in forbidden] == []


def test_the_api_opens_no_socket() -> None:
    forbidden = {"socket", "ssl", "subprocess", "threading", "aiohttp", "apsw"}
    assert [(path.name, name) for path, name in imports_of("api") if name in forbidden] == []


def test_only_storage_knows_sqlite() -> None:
    users = {path.relative_to(SOURCE).parts[0] for path, name in imports_of("") if name.split(".")[0] == "apsw"}
    assert users == {"storage"}


def test_only_the_kubelet_speaks_spdy() -> None:
    users = {path.relative_to(SOURCE).parts[0] for path, name in imports_of("") if "streaming.spdy" in name}
    assert users == {"kubelet"}
