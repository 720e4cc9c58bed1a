"""Pictures and words to boxes: Grounding DINO and OWLv2 from transformers, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.naming.loading import loaded
from cloud.weights.store import located_hub
from cloud.weights.text_detector_weights import USUAL
from lifelong.errors import ConfigError, ModelOutputError
from lifelong.sections.drafting import TextPromptsSection

GROUNDING_DINO = USUAL["grounding_dino"]
OWLV2 = USUAL["owlv2"]
_QUERIES_AT_ONCE = 256  # of OWLv2, whose queries do not share one text


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBoxes:
    """What a detector found in one picture, in no order."""

    boxes: Tensor  # (N, 4) float32 on the CPU: x0, y0, x1, y1 in pixels, may be fractions
    scores: Tensor  # (N,) float32, 0 .. 1
    phrases: tuple[str, ...]  # the words that were found there
    # The prompt each is an answer to; None where words of several prompts ran together.
    prompts: tuple[str | None, ...]


class TextDetector(Protocol):
    """Who finds in a picture what words say."""

    name: str

    def find(
        self, image: NDArray[np.uint8], prompts: Sequence[str], *,
        box_threshold: float | None = None, text_threshold: float | None = None,
    ) -> FoundBoxes:  # fmt: skip
        """Boxes in an (H, W, 3) uint8 RGB picture for any of the prompts, in normal form.

        Args:
            box_threshold: how sure it must be of a box; None: as it was set up.
            text_threshold: how sure of a word, where it is asked for words one by one.
        """

    def check(self, prompts: Sequence[str]) -> None:
        """Refuse what cannot be asked.

        Raises:
            ConfigError: a prompt is longer than the model reads.
        """


class GroundingDino:
    """Grounding DINO (Liu et al. 2023): all prompts in one sentence, as many as its text holds.

    Each box lights up tokens of the sentence. Where they all belong to one prompt, the box is an
    answer to it, though it may have lit "light" only of "traffic light". Where they belong to
    several, nobody knows which is meant.
    """

    def __init__(
        self, network: Any, processor: Any, *,
        box_threshold: float = 0.35, text_threshold: float = 0.25, device: str = "cpu",
        name: str = "grounding_dino",
    ) -> None:  # fmt: skip
        self.name = name
        self._network, self._processor = network.eval().to(device), processor
        self._device = device
        self._box_threshold, self._text_threshold = box_threshold, text_threshold

    @torch.inference_mode()
    def find(
        self, image: NDArray[np.uint8], prompts: Sequence[str], *,
        box_threshold: float | None = None, text_threshold: float | None = None,
    ) -> FoundBoxes:  # fmt: skip
        """See `TextDetector`.

        Raises:
            ConfigError: a prompt is longer than the model reads.
            ModelOutputError: it answered NaN.
        """
        self.check(prompts)
        lengths = self._token_counts(prompts)
        pixels = self._processor.image_processor(
            images=Image.fromarray(image), return_tensors="pt"
        ).to(self._device)
        sure = (
            self._box_threshold if box_threshold is None else box_threshold,
            self._text_threshold if text_threshold is None else text_threshold,
        )
        found = [
            self._asked(pixels, image, [prompts[place] for place in some], sure)
            for some in sentences(lengths, self._window())
        ]
        return joined(found)

    def check(self, prompts: Sequence[str]) -> None:
        """See `TextDetector`."""
        for prompt, length in zip(prompts, self._token_counts(prompts), strict=True):
            refuse_long(prompt, length + 3, self._window())

    def _asked(
        self, pixels: Any, image: NDArray[np.uint8], prompts: list[str], sure: tuple[float, float]
    ) -> FoundBoxes:
        tokenizer = self._processor.tokenizer
        sentence = " ".join(f"{prompt}." for prompt in prompts)
        text = tokenizer(sentence, return_tensors="pt", return_token_type_ids=True).to(self._device)
        outputs = self._network(**pixels, **text)
        tokens = text["input_ids"][0].cpu()
        owners = token_owners(self._token_counts(prompts))
        if len(owners) != len(tokens):
            raise ModelOutputError(
                f"{self.name}: {sentence!r} has {len(tokens)} tokens, its prompts have "
                f"{len(owners)}; the tokenizer joins words across prompts"
            )
        return grounded_boxes(
            outputs.logits[0].float().cpu().sigmoid(),
            outputs.pred_boxes[0].float().cpu(),
            prompts=prompts,
            owners=owners,
            words=lambda lit: str(tokenizer.decode(tokens[lit])),
            size=(image.shape[0], image.shape[1]),
            box_threshold=sure[0],
            text_threshold=sure[1],
        )

    def _token_counts(self, prompts: Sequence[str]) -> list[int]:
        encode = self._processor.tokenizer
        return [len(encode(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts]

    def _window(self) -> int:
        return int(getattr(self._network.config, "max_text_len", 256))


class Owlv2:
    """OWLv2 (Minderer et al. 2023): every prompt is a query of its own."""

    def __init__(
        self, network: Any, processor: Any, *,
        box_threshold: float = 0.35, device: str = "cpu", name: str = "owlv2",
    ) -> None:  # fmt: skip
        self.name = name
        self._network, self._processor = network.eval().to(device), processor
        self._device, self._box_threshold = device, box_threshold

    @torch.inference_mode()
    def find(
        self, image: NDArray[np.uint8], prompts: Sequence[str], *,
        box_threshold: float | None = None, text_threshold: float | None = None,
    ) -> FoundBoxes:  # fmt: skip
        """See `TextDetector`.

        Raises:
            ConfigError: a prompt is longer than the model reads.
            ModelOutputError: it answered NaN.
        """
        self.check(prompts)
        pixels = self._processor.image_processor(
            images=Image.fromarray(image), return_tensors="pt"
        ).to(self._device)
        found = []
        for begin in range(0, len(prompts), _QUERIES_AT_ONCE):
            some = list(prompts[begin : begin + _QUERIES_AT_ONCE])
            text = self._processor.tokenizer(
                some, padding="max_length", max_length=self._window(), return_tensors="pt"
            ).to(self._device)
            outputs = self._network(
                input_ids=text["input_ids"], attention_mask=text["attention_mask"], **pixels
            )
            found.append(
                queried_boxes(
                    outputs.logits[0].float().cpu().sigmoid(),
                    outputs.pred_boxes[0].float().cpu(),
                    prompts=some,
                    size=(image.shape[0], image.shape[1]),
                    box_threshold=(self._box_threshold if box_threshold is None else box_threshold),
                )
            )
        return joined(found)

    def check(self, prompts: Sequence[str]) -> None:
        """See `TextDetector`."""
        for prompt in prompts:
            tokens = self._processor.tokenizer(prompt)["input_ids"]
            refuse_long(prompt, len(tokens), self._window())

    def _window(self) -> int:
        return int(self._network.config.text_config.max_position_embeddings)


def load_grounding_dino(
    model: str = GROUNDING_DINO, *,
    box_threshold: float = 0.35, text_threshold: float = 0.25, device: str = "auto",
) -> GroundingDino:  # fmt: skip
    """Grounding DINO from a folder or hub id.

    Raises:
        ModelLoadError: no such model is there.
    """
    network, processor = _loaded(model, "a Grounding DINO")
    return GroundingDino(
        network, processor, box_threshold=box_threshold, text_threshold=text_threshold,
        device=chosen_device(device), name=Path(model).name,
    )  # fmt: skip


def load_owlv2(model: str = OWLV2, *, box_threshold: float = 0.35, device: str = "auto") -> Owlv2:
    """OWLv2 from a folder or hub id.

    Raises:
        ModelLoadError: no such model is there.
    """
    network, processor = _loaded(model, "an OWLv2")
    return Owlv2(
        network, processor, box_threshold=box_threshold,
        device=chosen_device(device), name=Path(model).name,
    )  # fmt: skip


DETECTORS: dict[str, Callable[[TextPromptsSection, str, Path | None], TextDetector]] = {
    "grounding_dino": lambda section, device, weights: load_grounding_dino(
        str(located_hub(section.model or GROUNDING_DINO, weights)),
        box_threshold=section.box_threshold, text_threshold=section.text_threshold, device=device,
    ),
    "owlv2": lambda section, device, weights: load_owlv2(
        str(located_hub(section.model or OWLV2, weights)),
        box_threshold=section.box_threshold, device=device,
    ),
}  # fmt: skip


def sentences(lengths: Sequence[int], window: int) -> list[list[int]]:
    """Prompts by number, as many together as a text of `window` tokens holds.

    A text has one token before, one behind, and a full stop after each prompt.
    """
    together: list[list[int]] = []
    used = window
    for number, length in enumerate(lengths):
        if used + length + 1 > window or not together:
            together.append([])
            used = 2
        together[-1].append(number)
        used += length + 1
    return together


def token_owners(lengths: Sequence[int]) -> list[int | None]:
    """For each token of "one. two." with its two special ones, the number of its prompt."""
    owners: list[int | None] = [None]
    for number, length in enumerate(lengths):
        owners += [*([number] * length), None]
    return [*owners, None]


def grounded_boxes(
    probabilities: Tensor, boxes: Tensor, *, prompts: Sequence[str],
    owners: Sequence[int | None], words: Callable[[Tensor], str], size: tuple[int, int],
    box_threshold: float, text_threshold: float,
) -> FoundBoxes:  # fmt: skip
    """Read Grounding DINO's answer.

    Args:
        probabilities: (Q, T) of every token for every box; T is at least the tokens there are.
        boxes: (Q, 4) centre x, centre y, width, height as shares of the picture.
        owners: the prompt of each token, None for full stops and special tokens.
        words: the text of the tokens at some places of the sentence.
        size: height and width of the picture, pixels.

    Raises:
        ModelOutputError: NaN, or fewer columns than tokens.
    """
    _refuse_nonsense(probabilities, boxes, columns=len(owners))
    scores = probabilities.max(dim=1).values
    found = torch.nonzero(scores > box_threshold).flatten()
    asked = torch.tensor([owner is not None for owner in owners])
    phrases: list[str] = []
    meant: list[str | None] = []
    for row in probabilities[found][:, : len(owners)]:
        lit = torch.nonzero((row > text_threshold) & asked).flatten()
        of_prompts = {owners[int(place)] for place in lit}
        phrases.append(words(lit).strip() if len(lit) else "")
        only = next(iter(of_prompts)) if len(of_prompts) == 1 else None
        meant.append(None if only is None else prompts[only])
    return FoundBoxes(
        boxes=_in_pixels(boxes[found], height=size[0], width=size[1], size=size),
        scores=scores[found],
        phrases=tuple(phrases),
        prompts=tuple(meant),
    )


def queried_boxes(
    probabilities: Tensor, boxes: Tensor, *, prompts: Sequence[str], size: tuple[int, int],
    box_threshold: float,
) -> FoundBoxes:  # fmt: skip
    """Read OWLv2's answer: each box belongs to its best query.

    Args:
        probabilities: (Q, P) of every prompt for every box.
        boxes: (Q, 4) centre x, centre y, width, height as shares of the picture padded to a
            square, at the right or at the bottom.
        size: height and width of the picture, pixels.

    Raises:
        ModelOutputError: NaN, or fewer columns than prompts.
    """
    _refuse_nonsense(probabilities, boxes, columns=len(prompts))
    scores, best = probabilities[:, : len(prompts)].max(dim=1)
    found = torch.nonzero(scores > box_threshold).flatten()
    phrases = tuple(prompts[int(number)] for number in best[found])
    side = max(size)
    return FoundBoxes(
        boxes=_in_pixels(boxes[found], height=side, width=side, size=size),
        scores=scores[found],
        phrases=phrases,
        prompts=phrases,
    )


def joined(found: Sequence[FoundBoxes]) -> FoundBoxes:
    """Answers to several calls about one picture as one."""
    return FoundBoxes(
        boxes=torch.cat([torch.zeros(0, 4), *(one.boxes for one in found)]),
        scores=torch.cat([torch.zeros(0), *(one.scores for one in found)]),
        phrases=tuple(phrase for one in found for phrase in one.phrases),
        prompts=tuple(prompt for one in found for prompt in one.prompts),
    )


def refuse_long(prompt: str, tokens: int, window: int) -> None:
    """Refuse a prompt whose end the model would not read.

    Raises:
        ConfigError: it has more tokens than the model reads.
    """
    if tokens > window:
        raise ConfigError(
            f"preannotation.text_prompts.prompts: {prompt[:60]!r} has {tokens} tokens, the model "
            f"reads {window}; say it in fewer words"
        )


def _loaded(model: str, what: str) -> tuple[Any, Any]:
    return loaded(
        model,
        what,
        lambda: (
            AutoModelForZeroShotObjectDetection.from_pretrained(model),
            AutoProcessor.from_pretrained(model),
        ),
    )


def _in_pixels(boxes: Tensor, *, height: int, width: int, size: tuple[int, int]) -> Tensor:
    """(N, 4) centres and sides in shares of height and width to corners inside the picture."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = torch.cat([centre - half, centre + half], dim=1)
    pixels = corners * torch.tensor([width, height, width, height], dtype=torch.float32)
    edges = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float32)
    return torch.minimum(pixels.clamp(min=0), edges)


def _refuse_nonsense(probabilities: Tensor, boxes: Tensor, *, columns: int) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] < columns:
        raise ModelOutputError(
            f"a text detector answered {tuple(probabilities.shape)}, expected {columns} columns"
        )
    if not bool(torch.isfinite(probabilities).all() and torch.isfinite(boxes).all()):
        raise ModelOutputError("a text detector answered NaN or infinite values")
