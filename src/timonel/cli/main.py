"""`timonel`: arguments in, one call into `timonel.cluster`, a few lines out.

A failure a person can mend is one line on standard error and exit code 1; wrong arguments are exit code 2.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import timonel
from timonel.cluster.errors import UserError
from timonel.cluster.layout import Layout, NodeLayout, find_layout, user_layout

if TYPE_CHECKING:
    from timonel.cluster.up import UpOptions

app = typer.Typer(
    name="timonel",
    help="A complete Kubernetes in Python: real containers, one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
image_app = typer.Typer(help="Images on the nodes of this machine.", no_args_is_help=True)
app.add_typer(image_app, name="image")
node_app = typer.Typer(help="Nodes of the cluster.", no_args_is_help=True)
app.add_typer(node_app, name="node")

NAME = typer.Option("--name", help="A cluster of its own beside others, every node in a namespace.", show_default=False)
DATA_DIR = typer.Option("--data-dir", help="Instead of /var/lib/timonel.", show_default=False)
RUN_DIR = typer.Option("--run-dir", help="Instead of /run/timonel.", show_default=False)
Name = Annotated[str, NAME]
DataDir = Annotated[Path | None, DATA_DIR]
RunDir = Annotated[Path | None, RUN_DIR]


def fail(message: str) -> NoReturn:
    typer.echo(f"timonel: {message}", err=True)
    raise typer.Exit(1)


def not_built(what: str) -> NoReturn:
    fail(f"{what} is not built yet")


@app.command()
def up(
    nodes: Annotated[int | None, typer.Option(help="Nodes on this machine; the first is the machine itself.")] = None,
    config: Annotated[Path | None, typer.Option(help="Instead of /etc/timonel/config.yaml.")] = None,
    store: Annotated[
        str, typer.Option(help="sqlite, or etcd: its own, or the one that the configuration names.", show_default=False)
    ] = "",
    hollow: Annotated[
        int | None, typer.Option(help="Hollow nodes: API objects whose pods run in memory only.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Install missing system packages without asking.")] = False,
    merge_kubeconfig: Annotated[bool, typer.Option(help="Add the context to your own kubeconfig.")] = True,
    enable_admission_plugins: Annotated[
        str, typer.Option(help="Beside the default ones, separated by commas.", show_default=False)
    ] = "",
    disable_admission_plugins: Annotated[
        str, typer.Option(help="Default ones to do without, separated by commas.", show_default=False)
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the nodes.")] = 120.0,
    name: Name = "",
    data_dir: DataDir = None,
    run_dir: RunDir = None,
) -> None:
    """Starts the cluster and returns when every node is Ready. With --hollow alone it needs no root."""
    if store not in ("", "sqlite", "etcd"):
        fail(f"--store {store}: there are sqlite and etcd")
    from timonel.cluster import preflight
    from timonel.cluster import up as bring_up
    from timonel.cluster.hollow_up import is_hollow_only

    layout = find_layout(name, data_dir, run_dir)
    if hollow is not None and not nodes and os.geteuid() != 0 and data_dir is None and run_dir is None:
        layout = user_layout(name)
    only_hollow = is_hollow_only(layout, nodes=nodes, hollow=hollow)
    if not only_hollow:
        preflight.check_root()
    missing = [] if only_hollow else bring_up.missing_packages(layout, config, store)
    if missing and not yes and sys.stdin.isatty():
        names = ", ".join(f"{package.name} ({package.purpose})" for package in missing)
        yes = typer.confirm(f"Missing system packages: {names}. Install them now?")
    options = bring_up.UpOptions(
        nodes=nodes,
        config_file=config,
        merge_kubeconfig=merge_kubeconfig,
        install_packages=yes,
        timeout_seconds=timeout,
        enable_admission_plugins=tuple(filter(None, enable_admission_plugins.split(","))),
        disable_admission_plugins=tuple(filter(None, disable_admission_plugins.split(","))),
        store=store,
        hollow=hollow,
    )
    _bring_up(layout, options)


def _bring_up(layout: Layout, options: UpOptions) -> None:
    from timonel.cli.progress import Progress
    from timonel.cluster import up as bring_up

    with Progress() as progress:
        result = bring_up.up(layout, options, progress.step)
    if not result.changed:
        typer.echo("Already up; nothing changed.")
    typer.echo(_next_steps(layout, result))
    warning = bring_up.free_disk_warning(layout)
    if warning:
        typer.echo(f"Note: {warning}")


def _next_steps(layout: Layout, result: object) -> str:
    from timonel.cluster.up import UpResult

    assert isinstance(result, UpResult)
    kubectl = "kubectl" if result.merged_into else f"kubectl --kubeconfig {result.kubeconfig}"
    lines = [f"Kubeconfig: {result.kubeconfig}"]
    if result.merged_into:
        lines.append(f"            also context {layout.context!r} in {result.merged_into}")
    lines += [
        "Try:",
        f"  {kubectl} get nodes -o wide",
        f"  {kubectl} apply -f examples/web/",
        f"  {_own_command()} status{f' --name {layout.name}' if layout.name else ''}",
    ]
    return "\n".join(lines)


def _own_command() -> str:
    """What to type to get here again: "timonel" when the shell finds it, else its path, short from where we are."""
    if shutil.which("timonel"):
        return "timonel"
    program = Path(sys.argv[0])
    return os.path.relpath(program) if program.is_relative_to(Path.cwd()) else str(program)


@app.command()
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove all data too; nothing is left.")] = False,
    name: Name = "",
    data_dir: DataDir = None,
    run_dir: RunDir = None,
) -> None:
    """Stops the cluster and its containers."""
    from timonel.cluster.down import down as take_down

    if not take_down(find_layout(name, data_dir, run_dir), purge=purge, say=typer.echo):
        typer.echo("nothing was running")


@app.command()
def status(name: Name = "", data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Shows every part with its pid, health and memory. Exit code 1 when something is not well."""
    from timonel.cli.tables import render_status
    from timonel.cluster.status import status as look

    layout = find_layout(name, data_dir, run_dir)
    found = look(layout)
    if not found.running:
        fail(_not_running(layout))
    typer.echo(render_status(found))
    if not found.healthy:
        raise typer.Exit(1)


@app.command()
def kubeconfig(name: Name = "", data_dir: DataDir = None) -> None:
    """Prints the admin's kubeconfig."""
    path = find_layout(name, data_dir).admin_kubeconfig
    try:
        typer.echo(path.read_text(), nl=False)
    except FileNotFoundError:
        fail(f"{path} does not exist; start the cluster with: timonel up")
    except PermissionError:
        fail(f"{path} can be read by root only: try again with sudo")


@app.command()
def version() -> None:
    """Prints the versions of Timonel and of the Kubernetes API."""
    typer.echo(f"timonel {timonel.__version__} (Kubernetes API v{timonel.KUBERNETES_VERSION})")


def _part_command(part: str) -> None:
    def run(settings: Annotated[Path, typer.Option(help="Settings file, as `timonel up` writes it.")]) -> None:
        from timonel.cluster.part import run_part

        run_part(part, settings)

    run.__doc__ = f"Runs the {part} in the foreground."
    app.command(name=part)(run)


for _part in ("server", "agent"):
    _part_command(_part)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def manager(
    context: typer.Context,
    settings: Annotated[Path, typer.Option(help="Settings file, as `timonel up` writes it.")],
) -> None:
    """Runs the manager in the foreground. It also takes flags of kube-controller-manager (docs/configuration.md)."""
    from timonel.cluster.part import run_part

    run_part("manager", settings, context.args)


@image_app.command("import")
def image_import(file: Path, name: Name = "", data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Brings a `docker save` or OCI archive onto every node of this machine."""
    from timonel.cluster import images

    images.check_archive(file)
    for node in _nodes(find_layout(name, data_dir, run_dir)):
        for image in images.import_archive(node, file):
            typer.echo(f"{node.name}: {image}")


@image_app.command("ls")
def image_ls(name: Name = "", data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Lists the images of every node of this machine."""
    from timonel.cli.tables import render_images
    from timonel.cluster import images

    typer.echo(
        render_images(
            [image for node in _nodes(find_layout(name, data_dir, run_dir)) for image in images.list_images(node)]
        )
    )


@image_app.command("rm")
def image_rm(image: str, name: Name = "", data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Removes an image from every node of this machine."""
    from timonel.cluster import images

    nodes = _nodes(find_layout(name, data_dir, run_dir))
    removed = [node.name for node in nodes if images.remove_image(node, image)]
    if not removed:
        fail(f"no node has the image {image}")
    typer.echo(f"removed from {', '.join(removed)}")


def _nodes(layout: Layout) -> list[NodeLayout]:
    from timonel.cluster.plan import ClusterState, nodes_of
    from timonel.cluster.supervision import ask

    state = ClusterState.load(layout.state_file)
    if state is None or ask(layout, "status") is None:
        raise UserError(_not_running(layout))
    return nodes_of(layout, state)


def _not_running(layout: Layout) -> str:
    return f"not running; start it with: timonel up{f' --name {layout.name}' if layout.name else ''}"


def _later(command: str, group: typer.Typer = app, prefix: str = "") -> None:
    def run(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        not_built(f"timonel {prefix}{command}")

    run.__doc__ = "Not built yet."
    group.command(name=command, hidden=True, context_settings={"ignore_unknown_options": True})(run)


@node_app.command("add")
def node_add(
    hollow: Annotated[int, typer.Option(help="So many more hollow nodes.", show_default=False)] = 0,
    config: Annotated[Path | None, typer.Option(help="Instead of /etc/timonel/config.yaml.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the nodes.")] = 120.0,
    name: Name = "",
    data_dir: DataDir = None,
    run_dir: RunDir = None,
) -> None:
    """Adds nodes to a cluster that runs: hollow ones with --hollow; real ones are not built yet."""
    if hollow < 1:
        not_built("timonel node add without --hollow")
    from timonel.cluster.supervision import ask
    from timonel.cluster.up import UpOptions

    layout = find_layout(name, data_dir, run_dir)
    if ask(layout, "status") is None:
        fail(_not_running(layout))
    _bring_up(layout, UpOptions(config_file=config, timeout_seconds=timeout, more_hollow=hollow))


_later("rm", node_app, "node ")
for _name in ("join", "token", "backup", "restore", "certs", "doctor"):
    _later(_name)


def main() -> None:
    try:
        app()
    except UserError as error:
        typer.echo(f"timonel: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
