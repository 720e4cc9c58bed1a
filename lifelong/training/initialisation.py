"""From a checkpoint to the weights a network begins with, and what was taken over.

A part of a network (its trunk, its head) is taken whole or not at all: half a trunk is the trunk
of another network. Of the layers that name classes, the rows of classes that both know are
taken, by their names. Everything else begins as it does from scratch.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from lifelong.errors import ModelLoadError
from lifelong.records.label_map import LabelMap
from lifelong.training.checkpoints import Weights, weights_of
from lifelong.training.foreign_weights import Foreign, Normalisation, read_foreign
from lifelong.training.network import Network
from lifelong.training.networks import build_network
from lifelong.training.segformer import HEADS, MIXER, PATCHES, SIZES, STRIDES, THINNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a network took from a checkpoint."""

    source: str
    parts: tuple[str, ...]  # taken whole
    fresh: tuple[str, ...]  # parts that begin as from scratch
    classes: tuple[str, ...]  # whose rows were taken
    fresh_classes: tuple[str, ...]
    by_position: bool  # the checkpoint names no classes, but has as many
    left: tuple[str, ...]  # of the checkpoint, what the network has no place for
    share: float  # of all numbers of the network, 0 .. 1

    def told(self) -> dict[str, JsonValue]:
        """For `--json` and the journal."""
        return {
            "source": self.source,
            "parts": list(self.parts),
            "fresh": list(self.fresh),
            "classes": list(self.classes),
            "fresh_classes": list(self.fresh_classes),
            "by_position": self.by_position,
            "left": list(self.left),
            "share": round(self.share, 4),
        }

    def __str__(self) -> str:
        said = [f"{100 * self.share:.1f} % of the weights from {self.source}"]
        said.append(f"taken: {', '.join(self.parts)}")
        if self.fresh:
            said.append(f"fresh: {', '.join(self.fresh)}")
        if self.by_position:
            said.append("it names no classes, so they were taken by position")
        elif self.classes:
            said.append(f"classes taken by name: {', '.join(self.classes)}")
        if self.fresh_classes:
            said.append(f"classes that begin fresh: {', '.join(self.fresh_classes)}")
        return "; ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a first model begins with instead of random numbers."""

    weights: Weights  # of every layer
    normalisation: Normalisation | None  # what the checkpoint wants to see; None: it does not say
    taken: Taken


def initial_weights(
    network: str, label_map: LabelMap, place: Path | None, *, seed: int
) -> Beginning | None:
    """The weights of a network that begins from a checkpoint; None from scratch.

    Args:
        network: a name of `networks.NETWORKS`.
        place: a file or folder that `read_foreign` reads; None: from scratch.
        seed: of whatever begins fresh.

    Raises:
        ConfigError: no network of that name.
        ModelLoadError: no checkpoint, or one of another network; says what fits.
    """
    if place is None:
        return None
    built = build_network(network, len(label_map), seed=seed)
    return begun_from(built, network, label_map, read_foreign(place))


def begun_from(built: Network, name: str, label_map: LabelMap, foreign: Foreign) -> Beginning:
    """Take over what fits.

    Args:
        built: a fresh network of that name with as many classes as the label map.
    """
    _check_size(name, foreign)
    given = dict(_our_names(foreign.weights, name))
    weights = weights_of(built)
    heads = _heads(built)
    parts, fresh, counted = [], [], 0
    for part, names in _parts(weights, heads).items():
        if _is_given(part, names, given, weights, foreign.where, heads):
            weights |= {name: given[name] for name in names if name in given}
            parts.append(part)
            counted += sum(weights[name].numel() for name in names)
        else:
            fresh.append(part)
    if not parts:
        raise ModelLoadError(
            f"{foreign.where}: nothing of it fits {name}; it begins with "
            f"{next(iter(foreign.weights))!r}, {name} with {next(iter(weights))!r}"
        )
    rows = _rows(label_map, foreign, _count(given, heads))
    taken_rows = _take_rows(weights, given, heads, rows)
    counted += taken_rows
    chosen = rows if taken_rows else {}
    return Beginning(
        weights=weights,
        normalisation=foreign.normalisation,
        taken=Taken(
            source=foreign.where,
            parts=tuple(parts),
            fresh=tuple(fresh),
            classes=tuple(label_map.names[row] for row in chosen),
            fresh_classes=tuple(n for i, n in enumerate(label_map.names) if i not in chosen),
            by_position=bool(chosen) and foreign.classes is None,
            left=tuple(sorted(set(given) - set(weights))),
            share=counted / sum(value.numel() for value in weights.values()),
        ),
    )


def _heads(built: Network) -> frozenset[str]:
    """Names of the tensors with a row for every class."""
    return frozenset(
        f"{layer}.{name}"
        for layer in built.classifiers()
        for name, _ in built.get_submodule(layer).named_parameters()
    )


def _parts(weights: Weights, heads: frozenset[str]) -> dict[str, list[str]]:
    """Names of tensors by their part, without those with rows for classes."""
    found: dict[str, list[str]] = {}
    for name in weights:
        if name not in heads:
            found.setdefault(name.partition(".")[0], []).append(name)
    return found


def _is_given(
    part: str,
    names: Sequence[str],
    given: Weights,
    wanted: Weights,
    where: str,
    heads: frozenset[str],
) -> bool:
    """Is a part in the checkpoint?

    Raises:
        ModelLoadError: half of it is, or more than it, or in another size.
    """
    theirs = {n for n in given if n.partition(".")[0] == part} - heads
    if not theirs:
        return False
    # Counters of batches are bookkeeping that older checkpoints lack.
    lacking = [n for n in names if n not in given and not n.endswith("num_batches_tracked")]
    spare = sorted(theirs - set(names))
    other = [n for n in names if n in given and given[n].shape != wanted[n].shape]
    if lacking or spare or other:
        why = (
            f"{other[0]} is {tuple(given[other[0]].shape)}, {tuple(wanted[other[0]].shape)} wanted"
            if other
            else f"it lacks {lacking[0]}"
            if lacking
            else f"it has {spare[0]} besides"
        )
        raise ModelLoadError(
            f"{where}: {part!r} is that of another network ({why}); change training.network or "
            "training.init"
        )
    return True


def _our_names(weights: Weights, network: str) -> Iterator[tuple[str, Any]]:
    """Tensors under the names that our network of that family has."""
    encoder_alone = any(name.startswith("encoder.patch_embeddings.") for name in weights)
    classifier = any(name.startswith("features.") for name in weights)
    for name, value in weights.items():
        if network in SIZES and encoder_alone:
            yield f"segformer.{name}", value
        elif network == "lraspp_mobilenet_v3" and classifier:
            # torchvision's MobileNetV3 that tells 1,000 classes of pictures apart.
            kind, _, rest = name.partition(".")
            yield f"{'backbone' if kind == 'features' else f'of_pictures_{kind}'}.{rest}", value
        else:
            yield name, value


def _count(given: Weights, heads: frozenset[str]) -> int:
    """How many classes the checkpoint tells apart; 0 where it has no head."""
    counts = {int(given[name].shape[0]) for name in heads if name in given and given[name].ndim}
    return counts.pop() if len(counts) == 1 and all(name in given for name in heads) else 0


def _rows(label_map: LabelMap, foreign: Foreign, count: int) -> dict[int, int]:
    """The checkpoint's row of each class id that it knows."""
    if foreign.classes is None:
        return {i: i for i in range(count)} if count == len(label_map) else {}
    numbers: dict[str, int] = {}
    for number, name in enumerate(foreign.classes[:count]):
        numbers.setdefault(_plain(name), number)
    for number, name in enumerate(foreign.classes[:count]):
        for word in name.split(","):  # ADE20K's classes are lists of words for one thing
            numbers.setdefault(_plain(word), number)
    names = enumerate(_plain(name) for name in label_map.names)
    return {class_id: numbers[name] for class_id, name in names if name in numbers}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _take_rows(
    weights: Weights, given: Weights, heads: frozenset[str], rows: Mapping[int, int]
) -> int:
    """Put known rows into the heads; how many numbers that were."""
    fits = all(name in given and given[name].shape[1:] == weights[name].shape[1:] for name in heads)
    if not fits or not rows:
        return 0
    counted = 0
    for name in heads:
        ours, theirs = list(rows), [rows[class_id] for class_id in rows]
        weights[name][ours] = given[name][theirs]
        counted += weights[name][ours].numel()
    return counted


def _check_size(name: str, foreign: Foreign) -> None:
    """A SegFormer whose numbers fit but that computes otherwise would be wrong in silence.

    Raises:
        ModelLoadError: names the size that the checkpoint has, if it is a published one.
    """
    config = foreign.config
    if config is None:
        return
    if config.get("model_type") != "segformer" or name not in SIZES:
        raise ModelLoadError(
            f"{foreign.where}: a {config.get('model_type')!r} of transformers; folders begin "
            f"{', '.join(SIZES)} only, and training.network is {name!r}"
        )
    size, smallest = SIZES[name], SIZES["segformer_b0"]
    # What transformers assumes where a configuration is silent.
    says = {"hidden_sizes": list(smallest.widths), "depths": list(smallest.depths), **config}
    wanted: dict[str, object] = {
        "hidden_sizes": list(size.widths),
        "depths": list(size.depths),
        "num_attention_heads": list(HEADS),
        "sr_ratios": list(THINNING),
        "patch_sizes": list(PATCHES),
        "strides": list(STRIDES),
        "mlp_ratios": [MIXER] * 4,
        "hidden_act": "gelu",
        "num_channels": 3,
        "reshape_last_stage": True,
    }
    for key, value in wanted.items():
        if says.get(key, value) != value:
            fits = [
                other
                for other, one in SIZES.items()
                if [list(one.widths), list(one.depths)] == [says["hidden_sizes"], says["depths"]]
            ]
            hint = f"; training.network: {fits[0]} would fit" if fits and fits[0] != name else ""
            raise ModelLoadError(f"{foreign.where}: {key} is {says[key]}, {name} has {value}{hint}")
