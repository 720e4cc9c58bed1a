"""What stands for a command of the documents that Cornerloop replaces: `cornerloop instead …`.

The five documents are seed 000 (label_anything, the fork that keeps one model), 001 (two SAM
backends), 002 (label_anything), 003 (Semantic Segment Anything with Label Studio) and 004
(Grounding SAM). A command either still works as it was printed, or has one that does its work
here, or has nothing here; each answer says which.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from lifelong.errors import ConfigError

_LABEL_STUDIO = (
    "`make setup` installs Label Studio in .venv-label-studio; start it with `cornerloop "
    "label-studio --config config.yaml`, which makes user and token, or bare with "
    ".venv-label-studio/bin/label-studio start"
)


@dataclass(frozen=True, slots=True)
class _Replacement:
    pattern: str  # searched in the command as one line
    answer: Callable[[Sequence[str]], str]  # of the words of the command


def replacement(words: Sequence[str]) -> str:
    """What to type, or to know, instead of a command.

    Args:
        words: the command as the shell would hand it over; line ends and comments are dropped.

    Raises:
        ConfigError: nobody knows this command; says what is known.
    """
    told = [word for word in _without_comments(words) if word.strip("\\` \n")]
    line = " ".join(told)
    for one in _KNOWN:
        if re.search(one.pattern, line):
            return one.answer(told)
    raise ConfigError(
        f"{line!r} is none of the commands that are known here: main_ssa.py, main_ssa_engine.py, "
        "convert_ssa_to_ls.py, convert_ls_to_trainid.py, convert_to_rle_mask_coco.py, "
        "label-studio, label-studio-ml, start-ml.sh, _wsgi.py, onnxconverter.py, docker, pip, "
        "conda, wget; `cornerloop --help` lists what there is"
    )


def _ssa(words: Sequence[str]) -> str:
    flags = _flags(words, "ckpt_path", "data_dir", "out_dir", "world_size")
    masks = _sam_of(flags.ckpt_path or "sam_vit_h")
    command = ["cornerloop", "preannotate", flags.data_dir or "PICTURES"]
    command += ["--out", flags.out_dir or "DATASET", "--masks", masks]
    if flags.ckpt_path:
        command += ["--mask-weights", flags.ckpt_path]
    if any("engine" in word for word in words):
        command += ["--open-vocabulary"]
    elif "foggy" not in " ".join(words) and "ade20k" not in " ".join(words):
        command += ["--semantic", "transformers:segformer_b5_cityscapes"]
    if flags.world_size and flags.world_size != "1":
        command += ["--workers", flags.world_size]
    return shlex.join(command)


def _converter(command: str) -> Callable[[Sequence[str]], str]:
    """The same flags under a new name; the old file name works too."""

    def answer(words: Sequence[str]) -> str:
        at = next(index for index, word in enumerate(words) if word.endswith(".py"))
        return shlex.join(["cornerloop", "convert", command, *words[at + 1 :]])

    return answer


def _backend(words: Sequence[str]) -> str:
    """The same words behind `--with`, for the model that Label Studio asks."""
    values = [word for word in words if re.fullmatch(r"\w+=.*", word)]
    command = ["cornerloop", "assist"]
    if "--port" in words[:-1]:
        command += ["--port", words[words.index("--port") + 1]]
    return shlex.join([*command, *(["--with", *values] if values else [])])


def _download(words: Sequence[str]) -> str:
    kind, _, model = _sam_of(" ".join(words)).partition(":")
    names = {"sam": f"sam_{model}", "sam_hq": f"sam_hq_{model}", "mobile_sam": "mobile_sam"}
    return f"cornerloop models pull {names[kind]}"


def _says(text: str) -> Callable[[Sequence[str]], str]:
    return lambda words: text


def _training(words: Sequence[str]) -> str:
    line = " ".join(words)
    if "browse_dataset" in line:
        return "works as printed on `cornerloop export OUT --format coco`; its configs lie in OUT"
    if "test.py" in line:
        return "works as printed; a model of ours: cornerloop evaluate BUNDLE --data DIR"
    return (
        "works as printed on `cornerloop export OUT --format coco`; a model of ours: cornerloop "
        "begin --config config.yaml --data OUT"
    )


_KNOWN: tuple[_Replacement, ...] = (
    _Replacement(r"main_ssa(_engine)?\.py", _ssa),
    _Replacement(r"convert_ssa_to_ls\.py", _converter("ssa-to-ls")),
    _Replacement(r"convert_ls_to_trainid\.py", _converter("ls-to-train-ids")),
    _Replacement(r"convert_to_rle_mask_coco\.py", _converter("ls-to-coco")),
    _Replacement(r"label-studio-ml start|start-ml\.sh|_wsgi\.py", _backend),
    _Replacement(
        r"onnxconverter\.py|onnx_converter\.py",
        _says("nothing to convert: no model here is tied to one size of pictures"),
    ),
    _Replacement(r"ML_TIMEOUT_SETUP", _says("not needed: no model is loaded while you wait")),
    _Replacement(r"\b(wget|curl)\b.*(sam|mobile)", _download),
    _Replacement(r"docker compose|grounding_dino", _says(
        'cornerloop assist --connect PROJECT answers what is typed in Label Studio; for drafts of '
        'a folder: cornerloop preannotate PICTURES --out DATASET --text "bok choi=Bok Choi" '
        "--label-map classes.json"
    )),
    _Replacement(
        r"docker (run|image|pull).*label-studio|label-studio start|start-label\.sh|"
        r"pip install .*label-studio==",
        _says(_LABEL_STUDIO),
    ),
    _Replacement(
        r"spacy download",
        _says("nothing to download: noun phrases are read without a language model"),
    ),
    _Replacement(
        r"\b(wget|curl)\b.*\.(zip|tar|tgz)",
        _says(
            "works as printed; labelled data of others comes in by `cornerloop convert SOURCE OUT "
            "--to train-ids`"
        ),
    ),
    _Replacement(r"tools/(train|test)\.py|browse_dataset\.py", _training),
    _Replacement(
        r"^(pip3?|conda|mim) |git clone|^cd |pip install",
        _says("make setup"),
    ),
)  # fmt: skip


def _sam_of(text: str) -> str:
    """The mask branch that a checkpoint's name, or a backend's settings, speak of."""
    low = text.lower()
    size = next((size for size in ("vit_b", "vit_l", "vit_h") if size in low), "vit_h")
    if "mobile" in low or "vit_t" in low:
        return "mobile_sam"
    return f"sam_hq:{size}" if "sam_hq" in low else f"sam:{size}"


def _flags(words: Sequence[str], *names: str) -> argparse.Namespace:
    parser = _Quiet(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name}")
    return parser.parse_known_args(list(words))[0]


class _Quiet(argparse.ArgumentParser):
    """Flags without their values are an error of ours, not the end of the program."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"this command cannot be read: {message}")


def _without_comments(words: Sequence[str]) -> list[str]:
    kept = []
    for word in words:
        if word.startswith("#"):
            break
        kept.append(word)
    return kept
