"""How the tiny SAM learns: views of drawn scenes, clicks and boxes, the connected piece under
them as the answer; and how well it answers on scenes it has not seen."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from skimage.measure import label as connected_pieces
from torch import Tensor, nn

from cloud.preannotation.sam.tiny import EMBEDDING, IMAGE_PX, build_tiny_sam
from lifelong.records.label_map import CITYSCAPES
from tools.scene_pool import ScenePool

SMALLEST_PX = 40  # pieces below are no answer
_LOW_PX = IMAGE_PX // 4
_IMAGES, _PROMPTS = 8, 6
_RATE, _WARM_UP_STEPS = 5e-4, 200
_EMA = 0.995

Rng = np.random.Generator


def a_view(
    pool: ScenePool, index: int, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.uint8]]:
    """(256, 256, 3) RGB, (256, 256) numbers of connected pieces, 0 = padding, and (256, 256) class
    ids, 255 = padding."""
    image, instance = np.asarray(pool.images[index]), np.asarray(pool.instances[index])
    classes = np.zeros(int(instance.max()) + 1, dtype=np.uint8)  # each drawn thing has one class
    classes[instance] = pool.masks[index]
    if rng.random() < 0.7:
        side = int(rng.integers(90, 320))
        y, x = rng.integers(320 - side + 1), rng.integers(480 - side + 1)
        image, instance = image[y : y + side, x : x + side], instance[y : y + side, x : x + side]
    if rng.random() < 0.5:
        image, instance = image[:, ::-1], instance[:, ::-1]
    image, pieces, parts = fitted(image, instance)
    class_ids = np.where(pieces > 0, classes[parts], 255).astype(np.uint8)
    gain = rng.uniform(0.85, 1.15)
    return np.clip(image * gain, 0, 255).astype(np.uint8), pieces, class_ids


def fitted(
    image: NDArray[np.uint8], instance: NDArray[np.int16]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int16]]:
    """Longest side to 256, padded below and to the right, as segment-anything does it: picture,
    numbers of connected pieces, and the instances they are pieces of."""
    height, width = image.shape[:2]
    scale = IMAGE_PX / max(height, width)
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    parts = cv2.resize(np.ascontiguousarray(instance), size, interpolation=cv2.INTER_NEAREST)
    pieces = connected_pieces(parts.astype(np.int32) + 1, background=0, connectivity=1)
    # SamPredictor pads after normalising, with zeros: that is the mean colour.
    canvas = np.empty((IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8)
    canvas[:] = (124, 116, 104)
    numbers = np.zeros((IMAGE_PX, IMAGE_PX), dtype=np.int32)
    whole = np.zeros((IMAGE_PX, IMAGE_PX), dtype=np.int16)
    canvas[: size[1], : size[0]], numbers[: size[1], : size[0]] = small, pieces
    whole[: size[1], : size[0]] = parts
    return canvas, numbers, whole


def clicks(
    pieces: NDArray[np.int32], count: int, rng: Rng, *, by_area: float
) -> list[tuple[int, int]]:
    """(x, y) on pieces of at least 40 pixels; a share of them uniform over pixels, the rest
    uniform over pieces."""
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    big = np.flatnonzero(areas >= SMALLEST_PX)
    allowed = np.flatnonzero(np.isin(pieces.ravel(), big))
    chosen = []
    for _ in range(count):
        if rng.random() < by_area:
            place = int(allowed[rng.integers(len(allowed))])
        else:
            inside = np.flatnonzero(pieces.ravel() == big[rng.integers(len(big))])
            place = int(inside[rng.integers(len(inside))])
        chosen.append((place % IMAGE_PX, place // IMAGE_PX))
    return chosen


def prompt_points(
    target: NDArray[np.bool_], click: tuple[int, int], kind: str, rng: Rng
) -> tuple[list[tuple[float, float]], list[int]]:
    """Points and labels as PromptEncoder makes them of a prompt: 1 inside, 0 outside, 2 and 3 the
    corners of a box, and -1 ("none") once at the end where there is no box."""
    if kind == "box":
        ys, xs = np.nonzero(target)
        left, top, right, bottom = np.array([xs.min(), ys.min(), xs.max(), ys.max()]) + rng.normal(
            0.5, 1.5, size=4
        )
        return [(left, top), (right, bottom)], [2, 3]
    places, labels = [(click[0] + 0.5, click[1] + 0.5)], [1]
    near = cv2.dilate(target.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
    for _ in range({"click": 0, "two": 1, "three": 2}[kind]):
        inside = rng.random() < 0.35
        among = np.argwhere(target if inside else near & ~target)
        if not len(among):
            among, inside = np.argwhere(target), True
        y, x = among[rng.integers(len(among))]
        places.append((x + 0.5, y + 0.5))
        labels.append(int(inside))
    return [*places, (0.0, 0.0)], [*labels, -1]


def a_batch(pool: ScenePool, rng: Rng) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Images (8, 3, 256, 256), points (8, 6, K, 2), labels (8, 6, K), targets (8, 6, 256, 256),
    class ids (8, 64, 64).

    K is the same for a whole batch: mostly single clicks and boxes (K = 2), one batch in six with
    further points inside and outside.
    """
    images, points, labels, targets, classes = [], [], [], [], []
    usual = str(rng.choice(["click", "two", "three"], p=[5 / 6, 1 / 12, 1 / 12]))
    while len(images) < _IMAGES:
        image, pieces, class_ids = a_view(pool, int(rng.integers(len(pool))), rng)
        if not (np.bincount(pieces.ravel())[1:] >= SMALLEST_PX).any():
            continue
        here_points, here_labels, here_targets = [], [], []
        for number, click in enumerate(clicks(pieces, _PROMPTS, rng, by_area=0.4)):
            target = pieces == pieces[click[1], click[0]]
            kind = "box" if number == _PROMPTS - 1 and usual == "click" else usual
            places, marks = prompt_points(target, click, kind, rng)
            here_points.append(places)
            here_labels.append(marks)
            here_targets.append(target)
        images.append(image.transpose(2, 0, 1))
        classes.append(class_ids[2::4, 2::4].astype(np.int64))
        points.append(here_points)
        labels.append(here_labels)
        targets.append(np.stack(here_targets))
    return (
        torch.from_numpy(np.stack(images)).float(),
        torch.tensor(points, dtype=torch.float32),
        torch.tensor(labels),
        torch.from_numpy(np.stack(targets)).float(),
        torch.from_numpy(np.stack(classes)),
    )


def embedded_prompts(sam: Sam, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, K, 2) points and (N, K) labels to what the decoder takes: as PromptEncoder does it."""
    encoder = sam.prompt_encoder
    sparse = encoder.pe_layer.forward_with_coords(points, encoder.input_image_size)
    sparse = sparse * (labels >= 0)[..., None]
    kinds = [*encoder.point_embeddings]  # outside, inside, first corner, second corner
    table = torch.stack([encoder.not_a_point_embed.weight[0], *(k.weight[0] for k in kinds)])
    sparse = sparse + table[labels + 1]
    dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    side = encoder.image_embedding_size
    return sparse, dense.expand(len(points), -1, *side)


def predicted(
    sam: Sam, embeddings: Tensor, points: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """All four masks (N, 4, 64, 64) and scores (N, 4) for (B, P, K, 2) prompts.

    MaskDecoder.predict_masks takes one image; this is the same for a batch of images, which a
    CPU does in half the time.
    """
    decoder, prompts = sam.mask_decoder, points.shape[1]
    sparse, dense = embedded_prompts(sam, points.flatten(0, 1), labels.flatten(0, 1))
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
    source = embeddings.repeat_interleave(prompts, dim=0) + dense
    pe = sam.prompt_encoder.get_dense_pe().expand(len(source), -1, -1, -1)
    answers, source_out = decoder.transformer(source, pe, tokens)
    grid = source_out.transpose(1, 2).reshape(source.shape)
    upscaled = decoder.output_upscaling(grid)
    kernels = torch.stack(
        [mlp(answers[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
    return masks.float(), decoder.iou_prediction_head(answers[:, 0]).float()


class Agreement(nn.Module):
    """Embeddings of one region shall be alike: the one at the click against every cell's.

    Gives the encoder a signal from the first step, long before the decoder has one to pass on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.offset = nn.Parameter(torch.tensor(-3.0))

    def forward(self, embeddings: Tensor, points: Tensor, labels: Tensor, soft: Tensor) -> Tensor:
        """(B, C, 16, 16), (B, P, K, 2), (B, P, K) and targets (B, P, 64, 64) in [0, 1]."""
        unit = F.normalize(embeddings.float(), dim=1)
        place = points[:, :, :1] / IMAGE_PX * 2 - 1  # first point: inside, unless a box's corner
        at = F.grid_sample(unit, place, align_corners=False)[..., 0]  # (B, C, P)
        alike = torch.einsum("bcp,bchw->bphw", F.normalize(at, dim=1), unit)
        wanted = F.avg_pool2d(soft, 4)
        loss = F.binary_cross_entropy_with_logits(
            self.scale * alike + self.offset, wanted, reduction="none"
        ).mean(dim=(2, 3))
        inside = (labels[:, :, 0] == 1).float()
        return (loss * inside).sum() / inside.sum().clamp(min=1)


class ClassHead(nn.Module):
    """Reads a class for every fourth pixel off the embeddings; thrown away after training.

    What a thing is tells the encoder where it ends, and this signal is dense, while six clicks a
    picture are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Conv2d(EMBEDDING, 16 * len(CITYSCAPES), 1)

    def forward(self, embeddings: Tensor, class_ids: Tensor) -> Tensor:
        """(B, C, 16, 16) and (B, 64, 64) to a cross entropy."""
        logits = F.pixel_shuffle(self.read(embeddings.float()), 4)
        return F.cross_entropy(logits, class_ids, ignore_index=255)


def mask_losses(logits: Tensor, soft: Tensor) -> Tensor:
    """Focal plus Dice for each mask: (N, M, 64, 64) against (N, 1, 64, 64) in [0, 1] -> (N, M)."""
    soft = soft.expand_as(logits)
    shown = logits.sigmoid()
    plain = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    focal = ((shown - soft).abs() ** 2 * plain).mean(dim=(2, 3))
    overlap = 2 * (shown * soft).sum(dim=(2, 3)) + 1
    dice = 1 - overlap / (shown.sum(dim=(2, 3)) + soft.sum(dim=(2, 3)) + 1)
    return 20 * focal + dice


def step_loss(
    sam: Sam, agreement: Agreement, head: ClassHead, batch: tuple[Tensor, ...]
) -> tuple[Tensor, float]:
    """The loss of one batch, and the mean IoU of the best of three masks (at stride 4)."""
    images, points, labels, targets, class_ids = batch
    soft = F.avg_pool2d(targets, 4)
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        normal = (images - sam.pixel_mean) / sam.pixel_std
        embeddings = sam.image_encoder(normal.contiguous(memory_format=torch.channels_last))
        logits, scores = predicted(sam, embeddings, points, labels)
    flat = soft.flatten(0, 1)[:, None]
    losses = mask_losses(logits, flat)
    with torch.no_grad():
        on, wanted = logits > 0, flat > 0.5
        union = (on | wanted).sum(dim=(2, 3)).clamp(min=1)
        overlap = (on & wanted).sum(dim=(2, 3)) / union
    several = losses[:, 1:]
    # A little for the other two, lest one output never learns anything.
    loss = several.min(dim=1).values.mean() + 0.08 * several.mean() + 0.5 * losses[:, 0].mean()
    loss = loss + F.mse_loss(scores, overlap) + agreement(embeddings, points, labels, soft)
    loss = loss + head(embeddings, class_ids)
    return loss, float(overlap[:, 1:].max(dim=1).values.mean())


def train_sam(
    pool: ScenePool, *, minutes: float, seed: int, checkpoint: Path, device: str,
    log: Callable[[str], None], publish: Callable[[dict[str, Tensor], int, float], None],
    start: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Train until the time is up, resuming from `checkpoint`; returns averaged weights.

    The rate follows the share of the time that is gone, so a busy machine makes fewer steps but
    still anneals to the end.
    """
    torch.manual_seed(seed)
    sam, agreement = build_tiny_sam().train().to(device), Agreement().to(device)
    sam, head = sam.to(memory_format=torch.channels_last), ClassHead().to(device)
    parameters = [*sam.parameters(), *agreement.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=1e-2)
    if start is not None:
        sam.load_state_dict(start)
    averaged = {name: value.detach().clone() for name, value in sam.state_dict().items()}
    step, spent = 0, 0.0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        sam.load_state_dict(saved["sam"])
        agreement.load_state_dict(saved["agreement"])
        head.load_state_dict(saved["head"])
        optimiser.load_state_dict(saved["optimiser"])
        averaged, step, spent = saved["averaged"], saved["step"], saved["spent"]
        log(f"resumed at step {step}")
    started, seen, kept = time.monotonic() - spent, [], time.monotonic()
    while (spent := time.monotonic() - started) < minutes * 60:
        gone = spent / (minutes * 60)
        rate = _RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * gone))
        for group in optimiser.param_groups:
            group["lr"] = max(rate, 1e-6)
        batch = a_batch(pool, np.random.default_rng([seed, step]))
        loss, overlap = step_loss(sam, agreement, head, tuple(part.to(device) for part in batch))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        decay = min(_EMA, step / (step + 20))
        with torch.no_grad():
            for name, value in sam.state_dict().items():
                if value.is_floating_point():
                    averaged[name].lerp_(value, 1 - decay)
                else:
                    averaged[name].copy_(value)
        seen.append((float(loss.detach()), overlap))
        if step % 50 == 0:
            mean = np.mean(seen, axis=0)
            log(
                f"step {step} {spent:.0f} s loss {mean[0]:.3f} best of 3 {mean[1]:.3f} "
                f"rate {rate:.1e}"
            )
            seen = []
        if time.monotonic() - kept > 240:
            kept = time.monotonic()
            state = {"sam": sam.state_dict(), "agreement": agreement.state_dict(),
                     "head": head.state_dict(),
                     "optimiser": optimiser.state_dict(), "averaged": averaged, "step": step,
                     "spent": spent}  # fmt: skip
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
            publish(averaged, step, spent)
    publish(averaged, step, spent)
    return averaged


@torch.inference_mode()
def one_click_figures(sam: Sam, pool: ScenePool, *, count: int, seed: int) -> dict[str, float]:
    """Mean IoU at 256 pixels from one click, whole scenes: best of three masks, the one the model
    itself scores best, and the same with clicks uniform over pieces instead of pixels."""
    found: dict[str, list[float]] = {}
    for index in range(count):
        image, pieces, _ = fitted(np.asarray(pool.images[index]), np.asarray(pool.instances[index]))
        rng = np.random.default_rng([seed, index])
        normal = torch.from_numpy(image).permute(2, 0, 1)[None].float() - sam.pixel_mean
        embedding = sam.image_encoder(normal / sam.pixel_std)
        for by_area, name in ((1.0, "pixels"), (0.0, "pieces")):
            chosen = clicks(pieces, 10, rng, by_area=by_area)
            targets = torch.from_numpy(np.stack([pieces == pieces[y, x] for x, y in chosen]))
            none = (0.0, 0.0)
            points = torch.tensor([[(x + 0.5, y + 0.5), none] for x, y in chosen])
            labels = torch.tensor([[1, -1]] * len(chosen))
            logits, scores = predicted(sam, embedding, points[None], labels[None])
            masks = F.interpolate(logits[:, 1:], (IMAGE_PX, IMAGE_PX), mode="bilinear") > 0
            masks &= torch.from_numpy(pieces > 0)  # padding is cut off, as Sam does it
            wanted = targets[:, None]
            overlap = (masks & wanted).sum((2, 3)) / (masks | wanted).sum((2, 3)).clamp(min=1)
            own = overlap.gather(1, scores[:, 1:].argmax(1, keepdim=True))[:, 0]
            found.setdefault(f"best of 3, clicks uniform over {name}", []).extend(
                overlap.max(1).values.tolist()
            )
            found.setdefault(f"own choice, clicks uniform over {name}", []).extend(own.tolist())
    return {name: float(np.mean(values)) for name, values in found.items()}
