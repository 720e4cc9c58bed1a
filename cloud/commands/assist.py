"""`cornerloop assist`: the model behind Label Studio's smart tool, alone."""

from pathlib import Path
from typing import Annotated

import typer

ALONE = Path("cornerloop-assist")  # in the working folder


def assist(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="model_name=sam sam_config=vit_b sam_checkpoint_file=FILE device=cuda:0 "
            "out_mask=true out_poly=false out_bbox=false; before what the configuration says.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; else `assist.host`.")] = "",
    port: Annotated[int, typer.Option(help="Port; else `assist.port`, 9090.")] = -1,
    label_studio: Annotated[
        str, typer.Option(help="Address of Label Studio; else `label_studio.url`.")
    ] = "",
    connect: Annotated[
        str,
        typer.Option(metavar="PROJECT", help="Connect this project, by id or title, once it runs."),
    ] = "",
    with_: Annotated[
        bool, typer.Option("--with", help="May stand before KEY=VALUE; changes nothing.")
    ] = False,
) -> None:
    """Answer clicks, boxes and words of Label Studio's smart tool.

    The password is in the variable that `assist.password_env` names; without it one is made at
    the first start, kept beside the journal, and told.
    """
    from cloud.assist_service.serving import assist_config, serve_assist
    from lifelong.config import Config, load_config

    # Without a configuration, what is kept (password, embeddings, words) has a folder of its own.
    known = load_config(config) if config is not None else Config(journal_path=ALONE / "journal")
    served = assist_config(known, words or (), host=host, port=port, label_studio=label_studio)
    serve_assist(served, say=lambda line: typer.echo(line, err=True), connect=connect)
