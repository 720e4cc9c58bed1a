"""The open-vocabulary engine: SSA's way, mask by mask, and ours, all masks of a picture at once.

python -m bench.engine --json

The peer is a plain reading of SSA's engine, steps a to f. Both sides have the same networks of
transformers with small random weights, the same answers of the closed-set labelers, and the same
reading of captions, so the names must be equal; what is compared is how often a network runs, and
the seconds. One random network is many times smaller than a real one: the seconds show the cost of
calling, which is what one call for all masks saves, and not the speed on a GPU.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    BlipForConditionalGeneration,
    BlipProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
)

from bench.engine_models import save_tiny_models
from bench.measuring import processor_seconds_of, report
from cloud.preannotation.naming.batches import CROPS_AT_ONCE
from cloud.preannotation.naming.captions import BlipCaptioner
from cloud.preannotation.naming.clip_ranking import ClipRanker
from cloud.preannotation.naming.clipseg_vote import ClipSegVoter
from cloud.preannotation.naming.noun_phrases import noun_phrases
from cloud.preannotation.open_vocabulary import NamedMask, OpenVocabularyNamer
from cloud.preannotation.region_masks import (
    MaskProposals,
    mask_from_rle,
    proposals_from_rles,
    rle_from_mask,
)

COCO_NAMES = ("person", "car", "tree", "sky", "road", "dog", "house", "pavement")
ADE_NAMES = ("wall", "building", "sky", "tree", "road", "bed", "sidewalk", "earth", "pole")


class Networks:
    """A captioner, a CLIP and a CLIPSeg from folders, with their processors."""

    def __init__(self, folders: tuple[Path, Path, Path]) -> None:
        blip, clip, clipseg = folders
        self.blip = BlipForConditionalGeneration.from_pretrained(blip).eval()
        self.blip_processor = BlipProcessor.from_pretrained(blip)
        self.clip = CLIPModel.from_pretrained(clip).eval()
        self.clip_processor = CLIPProcessor.from_pretrained(clip)
        self.clipseg = CLIPSegForImageSegmentation.from_pretrained(clipseg).eval()
        self.clipseg_processor = CLIPSegProcessor.from_pretrained(clipseg)
        # As SSA sets it: the crops keep their size in the processor.
        self.clipseg_processor.image_processor.do_resize = False

    def parts(self) -> dict[str, torch.nn.Module]:
        """What a network is made of; each model is called as often as its busiest part runs."""
        return {
            "blip.vision": self.blip.vision_model,
            "clip.text": self.clip.text_model,
            "clip.vision": self.clip.vision_model,
            "clipseg.text": self.clipseg.clip.text_model,
            "clipseg.vision": self.clipseg.clip.vision_model,
            "clipseg.decoder": self.clipseg.decoder,
        }

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """How often each part runs inside the block."""
        runs: Counter[str] = Counter()
        hooks = []
        for name, part in self.parts().items():
            hook = part.register_forward_hook(lambda *_, name=name: runs.update([name]))
            hooks.append(hook)
        try:
            yield runs
        finally:
            for hook in hooks:
                hook.remove()


class FixedLabeler:
    """A closed-set labeler that always answers the same map."""

    def __init__(self, names: tuple[str, ...], ids: NDArray[np.int64]) -> None:
        self.names, self._ids = names, ids

    def ids(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(H, W) positions in `names`."""
        return self._ids


def main() -> None:
    """Run both sides and print the figures; the top ones are those of most masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, nargs="+", default=[5, 50, 200])
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        networks = Networks(save_tiny_models(Path(folder), seed=given.seed))
        by_masks = [
            compared(networks, *picture(given.height, given.width, count, given.seed))
            for count in given.masks
        ]
    most = max(by_masks, key=lambda figures: int(figures["masks"]))
    together = {"equal": all(bool(figures["equal"]) for figures in by_masks)}
    report(
        {**most, **together, "peer": "SSA's engine, a plain reading", "threads": 1,
         "height": given.height, "width": given.width, "by_masks": by_masks},
        as_json=given.json,
    )  # fmt: skip


def picture(
    height: int, width: int, count: int, seed: int
) -> tuple[NDArray[np.uint8], MaskProposals, list[FixedLabeler]]:
    """Coloured blocks with noise, masks that overlap, and the answers of two labelers."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 200, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
    image = np.kron(blocks, np.ones((32, 32, 1), np.uint8))[:height, :width]
    image = image + rng.integers(0, 56, image.shape, dtype=np.uint8)
    masks = []
    while len(masks) < count:
        mask = np.zeros((height, width), dtype=bool)
        y, x = int(rng.integers(height)), int(rng.integers(width))
        tall, wide = (int(side) for side in rng.integers(2, height // 4, 2))
        mask[y : y + tall, x : x + wide] = True
        masks.append(mask & (rng.random((height, width)) < 0.9))
        if not masks[-1].any():
            masks.pop()
    labelers = [
        FixedLabeler(names, np.kron(
            rng.integers(0, len(names), (height // 16 + 1, width // 16 + 1)),
            np.ones((16, 16), np.int64),
        )[:height, :width])
        for names in (ADE_NAMES, COCO_NAMES)
    ]  # fmt: skip
    rles = [rle_from_mask(mask) for mask in masks]
    return image, proposals_from_rles(rles, height=height, width=width), labelers


def compared(
    networks: Networks,
    image: NDArray[np.uint8],
    proposals: MaskProposals,
    labelers: Sequence[FixedLabeler],
) -> dict[str, Any]:
    """Both sides on one picture: runs of networks, seconds of the processor, equal names."""
    with networks.counted() as peer_runs:
        expected, peer_seconds = processor_seconds_of(
            lambda: plain_names(networks, image, proposals, labelers)
        )
    namer = our_namer(networks, labelers)
    with networks.counted() as our_runs:
        named, our_seconds = processor_seconds_of(lambda: namer.name_masks(image, proposals))
    with networks.counted() as warm_runs:
        again, warm_seconds = processor_seconds_of(lambda: namer.name_masks(image, proposals))
    return {
        "masks": len(proposals),
        "peer_seconds": peer_seconds, "our_seconds": our_seconds,
        "ratio": peer_seconds / our_seconds, "our_seconds_texts_known": warm_seconds,
        "equal": same_names(named, expected) and again == named,
        "peer_calls": calls(peer_runs), "our_calls": calls(our_runs),
        "peer_runs_together": sum(peer_runs.values()),
        "our_runs_together": sum(our_runs.values()),
        "our_runs_texts_known_together": sum(warm_runs.values()),
        "peer_runs": dict(peer_runs), "our_runs": dict(our_runs),
        "our_runs_texts_known": dict(warm_runs),
        "different_names": len({name for name, _ in expected}),
    }  # fmt: skip


def calls(runs: Counter[str]) -> int:
    """Calls of all models: of each, as many as its busiest part has runs."""
    busiest: Counter[str] = Counter()
    for part, count in runs.items():
        model = part.split(".")[0]
        busiest[model] = max(busiest[model], count)
    return busiest.total()


def our_namer(
    networks: Networks, labelers: Sequence[FixedLabeler], *, at_once: int = CROPS_AT_ONCE
) -> OpenVocabularyNamer:
    """Ours, on the same networks and the same reading of captions."""
    return OpenVocabularyNamer(
        labelers,
        BlipCaptioner(networks.blip, networks.blip_processor, at_once=at_once),
        ClipRanker(networks.clip, networks.clip_processor, at_once=at_once),
        ClipSegVoter(networks.clipseg, networks.clipseg_processor, at_once=at_once),
        phrases=noun_phrases,
    )


def same_names(named: Sequence[NamedMask], expected: Sequence[tuple[str, tuple[str, ...]]]) -> bool:
    """Whether every mask has the same name and the same set of proposals."""
    return [(one.class_name, set(one.class_proposals)) for one in named] == [
        (name, set(kept)) for name, kept in expected
    ]


@torch.inference_mode()
def plain_names(
    networks: Networks,
    image: NDArray[np.uint8],
    proposals: MaskProposals,
    labelers: Sequence[FixedLabeler],
) -> list[tuple[str, tuple[str, ...]]]:
    """Name and proposals of each mask, every model asked for every mask by itself.

    Where SSA leaves a choice open, this takes ours: candidates in a fixed order instead of a
    set's, the better ranked of two proposals with as many pixels, and one proposal is a list too.
    """
    maps = [(labeler.names, labeler.ids(image)) for labeler in labelers]
    answers = []
    for number, rle in enumerate(proposals.rles):
        mask = mask_from_rle(rle)
        box = proposals.boxes[number]
        names = [labels[int(np.bincount(ids[mask]).argmax())] for labels, ids in maps]
        caption = _plain_caption(networks, _plain_crop(image, box, 1.6))
        names = list(dict.fromkeys([*names, *noun_phrases(caption)]))
        kept = _plain_ranking(networks, _plain_crop(image, box, 1.2), names)
        inside = torch.from_numpy(_plain_crop(mask, box, 1.6).copy())
        best = _plain_segments(networks, _plain_crop(image, box, 1.6), kept)
        votes = torch.bincount(best[inside].flatten(), minlength=len(kept))
        answers.append((kept[int(votes.argmax())], tuple(kept)))
    return answers


def _plain_crop(picture: NDArray, box: NDArray[np.int64], factor: float) -> NDArray:
    size = box[2:] - box[:2] + 1
    grow = (size * (factor - 1)) * 0.5
    grown = (box + np.concatenate([-grow, grow])).astype(np.int32)
    last = np.array([picture.shape[1] - 1, picture.shape[0] - 1] * 2)
    x0, y0, x1, y1 = np.maximum(np.minimum(grown, last), 0)
    return picture[y0 : y1 + 1, x0 : x1 + 1]


def _plain_caption(networks: Networks, crop: NDArray[np.uint8]) -> str:
    inputs = networks.blip_processor(images=Image.fromarray(crop), return_tensors="pt")
    tokens = networks.blip.generate(**inputs, max_new_tokens=20)
    return str(networks.blip_processor.decode(tokens[0], skip_special_tokens=True))


def _plain_ranking(networks: Networks, crop: NDArray[np.uint8], names: list[str]) -> list[str]:
    inputs = networks.clip_processor(
        text=names, images=Image.fromarray(crop), return_tensors="pt", padding=True
    )
    probabilities = networks.clip(**inputs).logits_per_image.softmax(dim=1)
    best = probabilities.topk(min(3, len(names)), dim=1).indices[0]
    return [names[int(place)] for place in best]


def _plain_segments(networks: Networks, crop: NDArray[np.uint8], names: list[str]) -> torch.Tensor:
    """(h, w) places in `names`."""
    inputs = networks.clipseg_processor(
        text=names, images=[Image.fromarray(crop)] * len(names), padding=True, return_tensors="pt"
    )
    height, width = inputs["pixel_values"].shape[-2:]
    inputs["pixel_values"] = F.interpolate(
        inputs["pixel_values"], size=(512, 512), mode="bilinear", align_corners=False
    )
    logits = networks.clipseg(**inputs).logits.reshape(len(names), 1, 512, 512)
    full = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    return full[:, 0].argmax(0)


if __name__ == "__main__":
    main()
