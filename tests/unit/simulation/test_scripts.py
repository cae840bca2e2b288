"""What can be told from a command without running it."""

import math

import pytest

from timonel.simulation.script import Run, parse_command


@pytest.mark.parametrize(
    ("command", "run"),
    [
        (["sleep", "5"], Run(5.0)),
        (["/bin/sleep", "1m", "30"], Run(90.0)),
        (["sleep", "infinity"], Run(math.inf)),
        (["sh", "-c", "sleep 2; exit 3"], Run(2.0, 3)),
        (["/bin/sh", "-c", "echo hello && sleep 0.5"], Run(0.5)),
        (["sh", "-c", "exit 42"], Run(0.0, 42)),
        (["bash", "-ec", "sleep 1\nsleep 2\nfalse"], Run(3.0, 1)),
        (["sh", "-c", "false && sleep 10"], Run(0.0, 1)),
        (["sh", "-c", "false; exit"], Run(0.0, 1)),
        (["sh", "-c", "exec sleep 7"], Run(7.0)),
        (["sh", "-c", "sleep 1 # and no more"], Run(1.0)),
        (["true"], Run(0.0)),
        (["false"], Run(0.0, 1)),
        (["nginx", "-g", "daemon off;"], None),
        (["sh", "-c", "./start.sh; exit 0"], None),
        (["sh", "-c", "while true; do sleep 1; done"], None),
        (["sh", "-c", 'echo "no end'], None),
        (["sleep", "soon"], None),
        ([], None),
    ],
)
def test_commands(command: list[str], run: Run | None) -> None:
    assert parse_command(command) == run
