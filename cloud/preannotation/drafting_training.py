"""How the small semantic model that drafts masks is trained: a SegFormer on pairs of pictures and
class ids, on drawn scenes for the one we ship, or on a folder of somebody's own."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from lifelong.errors import DivergedError, TrainingError
from lifelong.records.label_map import CITYSCAPES, IGNORE_INDEX, LabelMap

_RATE, _WARM_UP_STEPS, _EMA = 7e-4, 100, 0.995
_KEEP_EVERY_S = 240.0
# ImageNet's, as SegFormer's own image processor has them; RGB in 0 .. 255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (H, W, 3) RGB and (H, W) class ids
State = dict[str, Tensor]


class Pairs(Protocol):
    """Pictures with their class ids, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...


class FolderPairs:
    """DIRECTORY/images/*.jpg (or .png) beside DIRECTORY/train_ids/*.png with 255 = ignore.

    Raises:
        TrainingError: no pictures, or a picture without labels.
    """

    def __init__(self, directory: Path) -> None:
        images = sorted(p for p in (directory / "images").glob("*") if p.suffix in (".jpg", ".png"))
        if not images:
            raise TrainingError(f"{directory}/images: no .jpg or .png to train on")
        self._files = [(p, directory / "train_ids" / f"{p.stem}.png") for p in images]
        for image, labels in self._files:
            if not labels.is_file():
                raise TrainingError(f"{image}: no labels; expected {labels}")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Pair:
        image, labels = self._files[index]
        return np.asarray(Image.open(image).convert("RGB")), np.asarray(Image.open(labels))


def segformer_config(label_map: LabelMap = CITYSCAPES) -> SegformerConfig:
    """Half the width of the smallest published SegFormer (Xie et al. 2021); 1.3 million
    parameters, 2.6 MB in half precision."""
    return SegformerConfig(
        num_labels=len(label_map),
        depths=[2, 2, 2, 2],
        hidden_sizes=[24, 48, 96, 160],
        num_attention_heads=[1, 2, 3, 5],
        mlp_ratios=[3, 3, 3, 3],
        decoder_hidden_size=128,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        id2label=dict(enumerate(label_map.names)),
        label2id={name: index for index, name in enumerate(label_map.names)},
    )


def train_segformer(
    pairs: Pairs, *, seed: int, size: tuple[int, int], log: Callable[[str], None],
    steps: int | None = None, minutes: float | None = None, batch: int = 8,
    label_map: LabelMap = CITYSCAPES, start: State | None = None,
    checkpoint: Path | None = None, device: str = "cpu",
    publish: Callable[[State, int, float], None] | None = None,
) -> State:  # fmt: skip
    """Train for `steps`, or for `minutes`, on random crops of `size` (height, width).

    Args:
        start: weights to start from instead of random ones; a head for another number of classes
            begins anew.
        checkpoint: written every few minutes, and resumed from if it exists.
        publish: is told the averaged weights, steps and seconds at each checkpoint and at the end.

    Returns:
        Weights averaged over the last steps; load them into `segformer_config`'s network.

    Raises:
        TrainingError: neither steps nor minutes.
        DivergedError: the loss became NaN.
    """
    if (steps is None) == (minutes is None):
        raise TrainingError("train_segformer: say either `steps` or `minutes`")
    torch.manual_seed(seed)
    network = SegformerForSemanticSegmentation(segformer_config(label_map)).train().to(device)
    if start is not None:
        load_body(network, start)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.01)
    run = _Run(network, optimiser, checkpoint, log)
    weights = class_weights(pairs, len(label_map), seed=seed).to(device)
    while (gone := run.share_gone(steps, minutes)) < 1.0:
        for group in optimiser.param_groups:
            warm = min(1.0, (run.step + 1) / _WARM_UP_STEPS)
            group["lr"] = max(_RATE * warm * 0.5 * (1 + math.cos(math.pi * gone)), 1e-6)
        rng = np.random.default_rng([seed, run.step])
        images, masks = random_batch(pairs, batch, size, rng)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = network(pixel_values=images.to(device)).logits
        loss = sparse_loss(logits.float(), masks.to(device), weights, rng)
        if not torch.isfinite(loss):
            raise DivergedError(f"the loss became {float(loss)} at step {run.step}; lower the rate")
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        run.after_step(float(loss.detach()), publish)
    run.keep(publish)
    return run.averaged


def load_body(network: nn.Module, weights: State) -> None:
    """Take over all weights, except a head for another number of classes.

    Raises:
        TrainingError: weights of another network.
    """
    own = network.state_dict()
    if own.keys() != weights.keys():
        raise TrainingError("the weights to start from are of another network")
    fitting = {name: value for name, value in weights.items() if value.shape == own[name].shape}
    if any(not name.startswith("decode_head.classifier.") for name in own.keys() - fitting.keys()):
        raise TrainingError("the weights to start from are of another network")
    network.load_state_dict(own | fitting)


def sparse_loss(logits: Tensor, masks: Tensor, weights: Tensor, rng: np.random.Generator) -> Tensor:
    """Cross entropy on every second row and column, which costs a CPU a quarter of all of them.

    Which of the two is drawn anew each time, so that no half pixel of offset is learnt.
    """
    down, right = (int(offset) for offset in rng.integers(2, size=2))
    wanted = masks[:, down::2, right::2]
    half = F.interpolate(logits, wanted.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(half, wanted, weight=weights, ignore_index=IGNORE_INDEX)


class _Run:
    """Where a training stands: step, time, averaged weights, and how it is kept on disk."""

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, checkpoint: Path | None,
        log: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.network, self.optimiser, self.log = network, optimiser, log
        self.checkpoint = checkpoint
        self.step, before = 0, 0.0
        self.averaged = {name: v.detach().clone() for name, v in network.state_dict().items()}
        if checkpoint is not None and checkpoint.is_file():
            saved = torch.load(checkpoint, weights_only=True)
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
            self.averaged, self.step, before = saved["averaged"], saved["step"], saved["spent"]
            log(f"resumed at step {self.step}")
        self._started = time.monotonic() - before
        self._kept = time.monotonic()
        self._losses: list[float] = []

    def spent(self) -> float:
        """Seconds of training so far, over all resumptions."""
        return time.monotonic() - self._started

    def share_gone(self, steps: int | None, minutes: float | None) -> float:
        return self.step / steps if steps else self.spent() / (60 * (minutes or 1.0))

    def after_step(self, loss: float, publish: Callable[[State, int, float], None] | None) -> None:
        self.step += 1
        keep = min(_EMA, self.step / (self.step + 20))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.averaged[name].lerp_(value, 1 - keep)
                else:
                    self.averaged[name].copy_(value)
        self._losses.append(loss)
        if self.step % 50 == 0:
            self.log(f"step {self.step} {self.spent():.0f} s loss {np.mean(self._losses):.3f}")
            self._losses = []
        if time.monotonic() - self._kept > _KEEP_EVERY_S:
            self.keep(publish)

    def keep(self, publish: Callable[[State, int, float], None] | None) -> None:
        """Write the checkpoint whole, and tell `publish`."""
        self._kept = time.monotonic()
        if self.checkpoint is not None:
            state = {
                "network": self.network.state_dict(), "averaged": self.averaged,
                "optimiser": self.optimiser.state_dict(), "step": self.step,
                "spent": self.spent(),
            }  # fmt: skip
            part = self.checkpoint.with_suffix(".part")
            torch.save(state, part)
            part.replace(self.checkpoint)
        if publish is not None:
            publish(self.averaged, self.step, self.spent())


def class_weights(pairs: Pairs, classes: int, *, seed: int, look_at: int = 100) -> Tensor:
    """(classes,) float32: rare classes count more, by the fourth root of how rare they are."""
    counts = np.zeros(256, dtype=np.float64)
    for index in np.random.default_rng(seed).integers(len(pairs), size=min(look_at, len(pairs))):
        counts += np.bincount(pairs[int(index)][1].ravel(), minlength=256)
    share = counts[:classes] / max(counts[:classes].sum(), 1.0)
    weights = np.clip(share, 1e-4, None) ** -0.25
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def random_batch(
    pairs: Pairs, count: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(B, 3, h, w) normalised floats and (B, h, w) int64 class ids."""
    chosen = [random_crop(pairs[int(i)], size, rng) for i in rng.integers(len(pairs), size=count)]
    return normalised([image for image, _ in chosen]), torch.from_numpy(
        np.stack([mask for _, mask in chosen]).astype(np.int64)
    )


def random_crop(pair: Pair, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """A scaled, cropped, perhaps mirrored piece with a little more or less light."""
    (image, mask), (height, width) = pair, size
    fit = max(height / mask.shape[0], width / mask.shape[1])
    scale = max(fit, float(rng.uniform(0.7, 1.4)))
    shape = (max(width, round(mask.shape[1] * scale)), max(height, round(mask.shape[0] * scale)))
    y, x = rng.integers(shape[1] - height + 1), rng.integers(shape[0] - width + 1)
    window = (slice(y, y + height), slice(x, x + width))
    image = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_LINEAR), np.uint8)[window]
    mask = np.asarray(cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST), np.uint8)[window]
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    light = image * rng.uniform(0.85, 1.15) + rng.uniform(-8, 8)
    return np.clip(light, 0, 255).astype(np.uint8), mask


def normalised(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(H, W, 3) RGB pictures to one (B, 3, H, W) float32 tensor as the network wants it."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (PIXEL_MEAN, PIXEL_STD))
    return ((stacked - mean) / std).contiguous()
