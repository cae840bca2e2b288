"""Values of expressions without variables; recorded.yaml says where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from timonel.api.cel.environment import Environment
from timonel.api.cel.issues import EvaluationError
from timonel.api.cel.program import compile_expression

_RECORDED = yaml.safe_load((Path(__file__).parent / "recorded.yaml").read_text())
_EMPTY = Environment({})


@pytest.mark.parametrize(("expression", "text"), _RECORDED["values"].items())
def test_value(expression: str, text: str) -> None:
    value, _ = compile_expression(f"'%s'.format([dyn({expression})])", _EMPTY).evaluate({})
    assert value.strip() == text


@pytest.mark.parametrize("expression", _RECORDED["failures"])
def test_failure(expression: str) -> None:
    with pytest.raises(EvaluationError):
        compile_expression(f"[{expression}]", _EMPTY).evaluate({})
