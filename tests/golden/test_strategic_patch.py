"""Strategic merge patches: every *.input.yaml has a document and a patch, *.output.yaml what comes out.

TIMONEL_UPDATE_GOLDEN=1 writes the outputs anew; look at the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from timonel.api.patch.strategic import apply_strategic_patch

_CASES = sorted(Path(__file__).parent.joinpath("strategic_patch").glob("*.input.yaml"))


@pytest.mark.parametrize("case", _CASES, ids=lambda path: path.name.removesuffix(".input.yaml"))
def test_golden(case: Path) -> None:
    given = yaml.safe_load(case.read_text())
    patched = apply_strategic_patch(given["document"], given["patch"], given["definition"])
    output = case.with_name(case.name.replace(".input.", ".output."))
    if os.environ.get("TIMONEL_UPDATE_GOLDEN"):
        output.write_text(yaml.safe_dump(patched, sort_keys=False))
    assert patched == yaml.safe_load(output.read_text())


def test_there_are_cases() -> None:
    assert len(_CASES) >= 10
