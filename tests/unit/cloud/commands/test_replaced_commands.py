"""UX-02: every command of the five seeds works as printed, or its replacement is told."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from cloud.cli import app
from cloud.commands.replaced import replacement
from lifelong.errors import ConfigError

SSA = "--ckpt_path ./ckp/sam_vit_h_4b8939.pth --save_img --world_size 2 --dataset cityscapes"

COMMANDS = [
    # 000
    ("conda create -n sam_labeling python=3.9 -y", "make setup"),
    ("pip install torch==1.13.0+cpu torchvision==0.14.0+cpu", "make setup"),
    ("pip install opencv-python pycocotools matplotlib onnxruntime onnx", "make setup"),
    ("pip install git+https://github.com/facebookresearch/segment-anything.git", "make setup"),
    (
        "wget https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        "cornerloop models pull sam_vit_h",
    ),
    ("pip install label-studio==1.7.3", "label-studio start"),
    ("start-label.sh", "label-studio start"),
    ("start-ml.sh", "cornerloop assist"),
    # 001
    ("python onnxconverter.py", "nothing to convert"),
    ("pip install -r requirements.txt", "make setup"),
    ("python _wsgi.py", "cornerloop assist"),
    ("label-studio start", ".venv-label-studio/bin/label-studio start"),
    # 002
    (
        "label-studio-ml start sam --port 8003 --with model_name=mobile_sam sam_config=vit_t "
        "sam_checkpoint_file=./mobile_sam.pt out_mask=True out_bbox=True device=cpu",
        "cornerloop assist --port 8003 --with model_name=mobile_sam sam_config=vit_t "
        "sam_checkpoint_file=./mobile_sam.pt out_mask=True out_bbox=True device=cpu",
    ),
    (
        "label-studio-ml start sam --port 8003 --with sam_config=vit_b "
        "sam_checkpoint_file=./sam_hq_vit_l.pth device=cuda:0",
        "cornerloop assist --port 8003 --with sam_config=vit_b "
        "sam_checkpoint_file=./sam_hq_vit_l.pth device=cuda:0",
    ),
    ("export ML_TIMEOUT_SETUP=40", "not needed"),
    (
        "python tools/convert_to_rle_mask_coco.py --json_file_path a.json --out_dir out",
        "cornerloop convert ls-to-coco --json_file_path a.json --out_dir out",
    ),
    ("mim install mmengine", "make setup"),
    ("python tools/analysis_tools/browse_dataset.py c.py --output-dir o", "--format coco"),
    ("python tools/train.py data/my_set/mask-rcnn_r50_fpn.py", "works as printed"),
    ("python tools/test.py data/my_set/mask-rcnn_r50_fpn.py ckpt --show", "cornerloop evaluate"),
    # 003
    (
        f"python scripts/main_ssa.py {SSA} --data_dir in --out_dir out",
        "cornerloop preannotate in --out out --masks sam:vit_h --mask-weights "
        "./ckp/sam_vit_h_4b8939.pth --semantic transformers:segformer_b5_cityscapes --workers 2",
    ),
    (
        "python scripts/main_ssa_engine.py --data_dir=data/x --out_dir=output --world_size=1 "
        "--save_img --sam --ckpt_path=ckp/sam_vit_h_4b8939.pth",
        "cornerloop preannotate data/x --out output --masks sam:vit_h --mask-weights "
        "ckp/sam_vit_h_4b8939.pth --open-vocabulary",
    ),
    (
        "python convert_ssa_to_ls.py --dataset_dir /d --config_path /c.json",
        "cornerloop convert ssa-to-ls --dataset_dir /d --config_path /c.json",
    ),
    (
        "python convert_ls_to_trainid.py --dataset_dir /d --ls_json_name e.json --config_path c",
        "cornerloop convert ls-to-train-ids --dataset_dir /d --ls_json_name e.json --config_path c",
    ),
    # 004
    ("docker compose build", "--text"),
    ("docker compose up", "--text"),
    ("docker image pull heartexlabs/label-studio:latest", "label-studio start"),
    ("docker run -it --rm -p 8080:8080 heartexlabs/label-studio:latest", "label-studio start"),
]


@pytest.mark.parametrize(("command", "told"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_ux_02_a_seeds_command_is_answered(command: str, told: str) -> None:
    assert told in replacement(shlex.split(command))


@pytest.mark.parametrize(
    "command", [told for _, told in COMMANDS if told.startswith("cornerloop ")]
)
def test_ux_02_what_is_told_is_a_command_that_exists(command: str) -> None:
    """The words are parsed by the real command line, which refuses what it does not know."""
    words = shlex.split(command)[1:]
    if "evaluate" in words:
        words += ["BUNDLE", "--data", "D"]
    found = typer.main.get_command(app)
    while subcommands := getattr(found, "commands", {}):
        found, words = subcommands[words[0]], words[1:]
    found.make_context(found.name, words)


def test_ux_02_the_answer_is_printed_and_a_foreign_command_is_refused() -> None:
    done = CliRunner().invoke(app, ["instead", "python", "main_ssa.py", "--data_dir", "in"])
    assert done.exit_code == 0
    assert done.output.startswith("cornerloop preannotate in --out DATASET")
    with pytest.raises(ConfigError, match="rm -rf"):
        replacement(["rm", "-rf", "/"])


def test_ux_02_lines_that_go_on_and_comments_are_no_words() -> None:
    words = [
        "label-studio-ml",
        "start",
        "sam",
        "\\",
        "\n",
        "model_name=sam",
        "# device=cuda:0",
        "a=b",
    ]
    assert replacement(words) == "cornerloop assist --with model_name=sam"


SEEDS = Path(__file__).parents[5] / "shared" / "seeds"
_PROGRAMS = r"python3?|label-studio(?:-ml)?|docker|pip3?|conda|mim|wget|curl|start-\w+\.sh"
_TYPED = re.compile(rf"(?m)^[ \t$>]*((?:{_PROGRAMS}) .+)")


def seed_commands() -> list[str]:
    """Every command line of the seeds, with the lines that go on joined."""
    found = []
    for path in sorted(SEEDS.glob("*.txt")):
        text = re.sub(r"\\\s*\n", " ", path.read_text(encoding="utf-8", errors="replace"))
        found += _TYPED.findall(text)
    return sorted(set(found))


def test_ux_02_every_command_line_of_the_seeds_is_answered() -> None:
    """UX-02: none is forgotten in the table above; what is no command at all is named here."""
    if not SEEDS.is_dir():
        pytest.skip(f"no seeds in {SEEDS}; they are not part of the repository")
    commands, unknown = seed_commands(), []
    assert len(commands) >= 20
    for line in commands:
        try:
            assert replacement(line.split())
        except ConfigError:
            unknown.append(line)
    assert not unknown, "\n".join(unknown)
