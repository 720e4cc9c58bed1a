"""Are our SAMs equal to their authors' code? One JSON object with the largest differences.

    python -m tools.compare_sam_originals --repo PATH --which sam_hq --model vit_b

PATH is a checkout of facebookresearch/segment-anything, SysCV/sam-hq, ChaoningZhang/MobileSAM or
facebookresearch/sam2, whose own requirements (timm, hydra-core, iopath) must be importable. Both
sides hold the same seeded weights, so nothing is downloaded.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from cloud.preannotation.sam.by_name import MODELS, promptable_from
from cloud.preannotation.sam.promptable import PromptableModel, Prompts
from lifelong.sections.drafting import MasksSection
from tools.sam_original_answers import PACKAGES
from tools.seeded_sams import Case, cases, picture

Answers = dict[str, NDArray[np.float32]]


def main(
    repo: Annotated[Path, typer.Option(help="Checkout of the authors' repository.")],
    which: Annotated[str, typer.Option(help="sam, sam_hq, mobile_sam or sam2.")],
    model: Annotated[str, typer.Option(help="vit_b …, tiny …; empty: the smallest.")] = "",
    record: Annotated[
        Path | None,
        typer.Option(help="Only write some of the original's numbers here, for tests."),
    ] = None,
) -> None:
    """Print the differences, or in words why there is nothing to compare."""
    if which not in PACKAGES:
        raise typer.BadParameter(f"{which!r}; expected one of {', '.join(PACKAGES)}")
    if not (repo / PACKAGES[which]).is_dir():
        print(f"skipped: {repo} has no folder {PACKAGES[which]}; give a checkout of the original")
        return
    torch.set_num_threads(1)
    model = model or MODELS[which][-1]
    with tempfile.TemporaryDirectory() as folder:
        theirs = original_answers(repo.resolve(), which, model, Path(folder))
        weights = Path(folder) / "weights.pth"
        if record is not None:
            record.write_text(json.dumps(golden(theirs, weights), separators=(",", ":")) + "\n")
            return
        started = time.monotonic()
        masks = MasksSection(type=which, model=model, checkpoint=weights)  # type: ignore[arg-type]
        sam = promptable_from(masks, device="cpu")
        loading = round(time.monotonic() - started, 2)
        print(
            json.dumps(
                {
                    "which": which,
                    "model": model,
                    "loading_s": loading,
                    **differences(our_answers(sam, mask_side(theirs)), theirs),
                }
            )
        )


def original_answers(repo: Path, which: str, model: str, folder: Path) -> Answers:
    """The authors' answers; leaves weights.pth in `folder`.

    Raises:
        subprocess.CalledProcessError: the authors' code failed, as it says on the error stream.
    """
    command = [sys.executable, "-m", "tools.sam_original_answers", "--repo", str(repo)]
    command += ["--which", which, "--model", model, "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with np.load(folder / "answers.npz") as answers:
        return dict(answers)


def mask_side(answers: Answers) -> int:
    """The side of the low-resolution masks, which the prompts' masks must have too."""
    return answers["points_several.low_res"].shape[-1]


def our_answers(sam: PromptableModel, side: int) -> Answers:
    """Our answers to the same cases, under the same names."""
    embedding = sam.embed([picture()])[0]
    features = embedding.features
    # HQ-SAM's and SAM 2's features have several parts.
    image = next(
        getattr(features, part) for part in ("image", "at_16", "real") if hasattr(features, part)
    )
    ours = {"image_embedding": image.numpy()}
    for name, case in cases(side).items():
        answers = sam.ask(embedding, prompts_of(case), several=case.several)
        quality = answers.predicted_iou
        low_res = answers.low_res(torch.ones_like(quality, dtype=torch.bool))
        logits = sam.enlarge(low_res, embedding)
        ours[f"{name}.quality"] = quality.numpy()
        for what, value in (("low_res", low_res), ("logits", logits)):
            ours[f"{name}.{what}"] = value.reshape(*quality.shape, *value.shape[1:]).numpy()
    return ours


def prompts_of(case: Case) -> Prompts:
    """The case as our port takes it."""
    parts = (case.points, case.labels, case.boxes, case.masks)
    points, labels, boxes, masks = (
        None if part is None else torch.from_numpy(part) for part in parts
    )
    return Prompts(points=points, point_labels=labels, boxes=boxes, low_res_masks=masks)


def differences(ours: Answers, theirs: Answers) -> dict[str, object]:
    """The largest absolute difference of each answer, and how large the answers are.

    Raises:
        ValueError: an answer of another shape.
    """
    largest: dict[str, object] = {}
    for name, expected in theirs.items():
        if ours[name].shape != expected.shape:
            raise ValueError(f"{name}: {ours[name].shape}, the original's are {expected.shape}")
        largest[name] = float(np.abs(ours[name] - expected).max())
    low_res = [value for name, value in theirs.items() if name.endswith("low_res")]
    largest["largest_logit"] = max(float(np.abs(value).max()) for value in low_res)
    return largest


def golden(theirs: Answers, weights: Path) -> dict[str, object]:
    """Some numbers of every answer, and the names and shapes of the weights."""
    state = torch.load(weights, weights_only=True)
    state = state.get("model", state)
    return {
        "weights": {name: list(value.shape) for name, value in state.items()},
        "answers": {name: sampled(value) for name, value in theirs.items()},
    }


def sampled(values: NDArray[np.float32]) -> dict[str, list[int] | list[float]]:
    """The shape, and up to seven numbers spread evenly over the array."""
    flat = values.reshape(-1)
    places = np.linspace(0, flat.size - 1, min(7, flat.size)).astype(int)
    return {"shape": list(values.shape), "numbers": [round(float(x), 6) for x in flat[places]]}


if __name__ == "__main__":
    typer.run(main)
