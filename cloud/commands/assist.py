"""`cornerloop assist`: the model behind Label Studio's smart tool, alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lifelong.given_settings import Given, is_given
from lifelong.setting_flags import Setting, with_settings

ALONE = Path("cornerloop-assist")  # in the working folder
JOURNAL = ("journal_path",)


@with_settings(
    Setting(flag="--host", key="assist.host", note="Address to listen at"),
    Setting(flag="--port", key="assist.port", note="9090, or 0: a free one"),
    Setting(flag="--label-studio", key="label_studio.url", note="Address of Label Studio"),
    Setting(flag="--device", key="assist.device", note="auto, cpu, cuda, cuda:1 …"),
)
def assist(
    *,
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
    given: Sequence[Given],
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
    from lifelong.config import load_config

    if config is None and not is_given(JOURNAL, given):
        # What is kept (password, embeddings, words) then has a folder of its own.
        given = [*given, Given(flag="assist", key=JOURNAL, value=str(ALONE / "journal"))]
    served = assist_config(load_config(config, given), words or ())
    serve_assist(served, say=lambda line: typer.echo(line, err=True), connect=connect)
