"""Entry point of the parts: `python -m timonel.cluster.part server|manager|agent|hollow SETTINGS_FILE`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from timonel.cluster.errors import UserError
from timonel.cluster.process import run_process
from timonel.cluster.settings import AgentSettings, HollowSettings, ManagerSettings, ServerSettings, read_settings


def run_part(part: str, settings_file: Path, flags: Sequence[str] = ()) -> None:
    """Runs until stopped; `flags` are the manager's, as kube-controller-manager has them.

    Each part imports only what it needs: memory and start-up time are budgets."""
    if part == "server":
        from timonel.cluster.server import run_server

        server = read_settings(ServerSettings, settings_file)
        run_process(lambda: run_server(server))
    elif part == "manager":
        from timonel.cluster.manager import run_manager
        from timonel.cluster.manager_options import changed, parse_flags

        manager = read_settings(ManagerSettings, settings_file)
        given = changed(parse_flags(flags))
        run_process(lambda: run_manager(manager, given))
    elif part == "agent":
        from timonel.cluster.agent import run_agent

        agent = read_settings(AgentSettings, settings_file)
        run_process(lambda: run_agent(agent))
    elif part == "hollow":
        from timonel.cluster.hollow import run_hollow

        hollow = read_settings(HollowSettings, settings_file)
        run_process(lambda: run_hollow(hollow))
    else:
        raise UserError(f"unknown part {part!r}: there are server, manager, agent and hollow")


if __name__ == "__main__":
    try:
        run_part(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
    except UserError as error:
        sys.exit(f"timonel: {error}")
