"""`cornerloop label-studio`: the server that a configuration names, run here with what it needs.

Label Studio by itself wants an account, a token, two variables for local files and one for the
ports of this machine; a first start here makes and sets them all.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifelong.config import Config, load_config
from lifelong.errors import ConfigError

if TYPE_CHECKING:
    from annotation.label_studio_server import LabelStudioServer

EXECUTABLE = Path(".venv-label-studio/bin/label-studio")
TEMPLATE = Path("runs/label-studio-template")  # the demo's
_CLONE = Path(__file__).parents[2]


def label_studio(
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
    ],
    token: Annotated[
        bool, typer.Option("--token", help="Only print the token of a server started before.")
    ] = False,
    executable: Annotated[
        Path, typer.Option(help="Label Studio's executable; `make setup` puts it there.")
    ] = EXECUTABLE,
    template: Annotated[
        Path, typer.Option(help="Migrated data that a first start copies; made when absent.")
    ] = TEMPLATE,
) -> None:
    """Run the configuration's Label Studio on this machine until Ctrl-C."""
    from cloud.job.job_cli import stop_event

    known = load_config(config)
    server = _server(known, config, executable, template)
    if token:
        typer.echo(server.kept_token())
        return
    typer.echo(f"starting Label Studio at {known.label_studio.url}{_first(config)} …", err=True)
    stop = stop_event()
    server.give_up_when(stop.is_set)
    with server:
        typer.echo(f"Label Studio: {server.url}  user {server.email}  password {server.password}")
        while not stop.wait(1.0):
            server.start()  # again, should it have ended


def _first(config: Path) -> str:
    from annotation.label_studio_server import DATABASE
    from cloud.own_label_studio import own_data_folder

    is_first = not (own_data_folder(config) / DATABASE).exists()
    return "; its first start makes a database, which takes a minute or more" if is_first else ""


def _server(
    settings: Config, config_path: Path, executable: Path, template: Path
) -> "LabelStudioServer":
    from annotation.label_studio_server import LabelStudioServer
    from cloud.own_label_studio import own_data_folder, own_port

    if settings.annotation_folder is not None:
        raise ConfigError("annotation_folder is set: this configuration wants no Label Studio")
    port = own_port(settings)
    if not port:
        raise ConfigError(
            f"label_studio.url is {settings.label_studio.url}: this command runs a server on this "
            "machine only; write http://127.0.0.1:PORT"
        )
    if executable == EXECUTABLE and not executable.is_file():
        executable, template = _CLONE / EXECUTABLE, _CLONE / TEMPLATE  # typed in another folder
    data = own_data_folder(config_path)
    return LabelStudioServer(
        executable,
        data,
        settings.label_studio.local_files_root or config_path.absolute().parent,
        data / "server.log",
        template=template,
        port=port,
    )
