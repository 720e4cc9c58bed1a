"""How well pictures are given to learning tasks by data, and unseen ones to conditions.

python -m bench.conditions --json

* `scenes_learned_*`: pictures of the five drawn conditions, by a network that learned them (trained
  once, kept in `runs/novelty`): given to the right task, to another one, to none.
* `scenes_told_*`: the same by the shipped network, which learned clear weather only and is told the
  others by pictures when it is packed.
* `camvid_*`: day and dusk, for a network that learned day and is told both by their training
  pictures. Skipped without CamVid beside the repository.
* `clusters_*`: a stream of known clear pictures with two unseen conditions, every pair of the four;
  and each unseen one alone. Adjusted Rand index (Hubert & Arabie 1985) over all unseen pictures,
  those left over counting as one group; purity and share of what was grouped; groups found.
* `alike_*`: halves of one condition and two conditions side by side: energy coefficient, p-value,
  share of the pictures that lie nearer to their own.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench import novelty
from bench.measuring import report
from cloud.conditions.clusters import groups_of, likeness
from cloud.demo.beginning import EDGE_WEIGHTS
from cloud.demo.scenes import draw_scene
from cloud.learning.familiarity import FamiliarPicture
from cloud.learning.packing import packed
from lifelong.allocation import Allocator
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.conditions import ConditionsSection
from lifelong.segmenter import EMBEDDING, OnnxSegmenter
from lifelong.training.checkpoints import weights_from_bytes

Image = NDArray[np.uint8]
Rows = NDArray[np.float64]

NEW = novelty.NEW_WEATHER
CONDITIONS = ("clear", *NEW)
_FITTED, _HELD_BACK = 36, 12  # pictures of each condition that a bundle is packed with
_FEWEST = ConditionsSection().min_pictures
_LIMIT = ConditionsSection().unseen_from


def main() -> None:
    """Answer all questions and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=60, help="of each condition")
    parser.add_argument("--steps", type=int, default=600, help="of the network that is trained")
    parser.add_argument("--only", nargs="+", choices=sorted(QUESTIONS), help="these questions")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures: dict[str, object] = {}
    for question in given.only or QUESTIONS:
        figures |= QUESTIONS[question](given.pictures, given.steps)
    report(figures, as_json=given.json)


def learned(count: int, steps: int) -> dict[str, object]:
    """The five conditions, by a network that learned all of them."""
    pairs = (
        (scene.image, scene.mask)
        for place, name in enumerate(CONDITIONS)
        for scene in (draw_scene(410_000 + 1000 * place + seed, name) for seed in range(48))
    )
    return five("scenes_learned", novelty.trained("five_conditions", pairs, steps), count)


def told(count: int, _steps: int) -> dict[str, object]:
    """The five conditions, by a network that learned clear weather only."""
    return five("scenes_told", EDGE_WEIGHTS.read_bytes(), count)


def five(name: str, weights: bytes, count: int) -> dict[str, object]:
    """Weights packed with pictures of all five conditions, on others of them."""
    bundle = bundle_knowing(
        weights,
        {c: scenes(c, 420_000, _FITTED) for c in CONDITIONS},
        [image for c in CONDITIONS for image in scenes(c, 430_000, _HELD_BACK)],
    )
    return placed(
        name, bundle, {c: embeddings(bundle, scenes(c, 440_000, count)) for c in CONDITIONS}
    )


def camvid(_count: int, steps: int) -> dict[str, object]:
    """Day and dusk, told by their training pictures; every fifth of those is held back."""
    if not (novelty.CAMVID / "day" / "train").is_dir():
        return {"camvid": "skipped, no CamVid beside the repository"}
    pictures = {
        (name, part): [image for image, _ in novelty.camvid_pairs(name, part)]
        for name in ("day", "dusk")
        for part in ("train", "eval")
    }
    weights = novelty.trained("camvid_day", novelty.camvid_pairs("day", "train"), steps)
    bundle = bundle_knowing(
        weights,
        {
            name: [one for place, one in enumerate(pictures[name, "train"]) if place % 5]
            for name in ("day", "dusk")
        },
        [one for name in ("day", "dusk") for one in pictures[name, "train"][::5]],
    )
    rows = {name: embeddings(bundle, pictures[name, "eval"]) for name in ("day", "dusk")}
    figures = placed("camvid", bundle, rows)
    # The same dusk for a model that knows day only: is it one condition?
    only_day = novelty.bundle_of(weights, novelty.split(list(novelty.camvid_pairs("day", "train"))))
    dusk = [one for part in ("train", "eval") for one in pictures["dusk", part]]
    mixed = {"day": pictures["day", "eval"], "dusk": dusk}
    return figures | grouped(
        "camvid", only_day, {n: embeddings(only_day, p) for n, p in mixed.items()}
    )


def clusters(count: int, _steps: int) -> dict[str, object]:
    """Unseen conditions in a stream of clear pictures, for the shipped network."""
    bundle = novelty.scenes_bundle()
    rows = {
        name: embeddings(bundle, scenes(name, 450_000 + 1000 * place, count))
        for place, name in enumerate(CONDITIONS)
    }
    figures: dict[str, object] = {}
    for size in (12, count):
        streams: list[tuple[str, ...]] = [
            ("clear", *pair) for pair in itertools.combinations(NEW, 2)
        ]
        streams += [("clear", one) for one in NEW] + [CONDITIONS]
        for names in streams:
            mixed = {name: rows[name][: size if name != "clear" else count] for name in names}
            figures |= grouped(f"clusters_{'+'.join(names[1:])}_{size}", bundle, mixed)
        figures |= of_pairs(figures, size)
    return figures


def of_pairs(figures: Mapping[str, object], size: int) -> dict[str, object]:
    """Two unseen conditions at once, over all pairs: how many were told apart, and how well."""
    names = [f"clusters_{'+'.join(p)}_{size}" for p in itertools.combinations(NEW, 2)]
    return {
        f"pairs_{size}": len(names),
        f"pairs_{size}_told_apart": sum(figures[f"{name}_groups"] == 2 for name in names),
        f"pairs_{size}_least_ari": min(float(str(figures[f"{name}_ari"])) for name in names),
    }


def likenesses(count: int, _steps: int) -> dict[str, object]:
    """Two halves of one condition must look alike, two conditions must not; 24 pictures each."""
    bundle = novelty.scenes_bundle()
    rows = {name: embeddings(bundle, scenes(name, 460_000, count)) for name in CONDITIONS}
    figures: dict[str, object] = {}
    for first, second in itertools.combinations_with_replacement(CONDITIONS, 2):
        one, other = rows[first][:24], rows[second][-24:]
        found = likeness(one, other, np.random.default_rng(0))
        figures[f"alike_{first}_{second}"] = [found.energy, found.p_value, found.right]
    return figures


def placed(name: str, bundle: ModelBundle, rows: Mapping[str, Rows]) -> dict[str, object]:
    """Shares of pictures given to their own task, to another one, and to none."""
    allocator = Allocator(bundle.manifest.familiarity, unseen_from=_LIMIT)
    figures: dict[str, object] = {}
    right = 0
    for task, embedded in rows.items():
        said = [allocator.allocate(row) for row in embedded]
        own = sum(one is not None and one.task == task for one in said)
        none = sum(one is None or one.task is None for one in said)
        right += own
        figures[f"{name}_{task}"] = [own, len(said) - own - none, none]
    total = sum(len(embedded) for embedded in rows.values())
    return {f"{name}_right": round(right / total, 4)} | figures


def grouped(name: str, bundle: ModelBundle, rows: Mapping[str, Rows]) -> dict[str, object]:
    """What the service would propose of a stream, beside the truth of its unseen pictures."""
    allocator = Allocator(bundle.manifest.familiarity, unseen_from=_LIMIT)
    stream = [(condition, row) for condition, part in rows.items() for row in part]
    unseen = [
        (c, row) for c, row in stream if (one := allocator.allocate(row)) and one.task is None
    ]
    truth = np.array([condition for condition, _ in unseen])
    groups = groups_of(np.array([row for _, row in unseen]), _FEWEST)
    labels = np.full(len(unseen), -1)
    for number, group in enumerate(groups):
        labels[group] = number
    inside = [max(np.unique(truth[group], return_counts=True)[1]) for group in groups]
    taken = int((labels >= 0).sum())
    return {
        f"{name}_ari": round(adjusted_rand(truth, labels), 4),
        f"{name}_purity": round(sum(inside) / taken, 4) if taken else None,
        f"{name}_grouped": round(taken / max(len(unseen), 1), 4),
        f"{name}_groups": len(groups),
        f"{name}_known_taken_for_unseen": int((truth == next(iter(rows))).sum()),
    }


def adjusted_rand(truth: Sequence[object] | NDArray, labels: Sequence[object] | NDArray) -> float:
    """Agreement of two partitions beyond chance: 1 the same, 0 what chance gives.

    >>> adjusted_rand(["a", "a", "b", "b"], [1, 1, 0, 0])
    1.0
    >>> adjusted_rand(["a", "a", "b", "b"], [0, 1, 0, 1])
    -0.5
    """
    _, first = np.unique(np.asarray(truth), return_inverse=True)
    _, second = np.unique(np.asarray(labels), return_inverse=True)
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)

    def pairs(counts: NDArray[np.float64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    chance = rows * columns / pairs(np.array([len(first)], dtype=np.float64))
    most = (rows + columns) / 2
    return (both - chance) / (most - chance) if most != chance else 1.0


def bundle_knowing(
    weights: bytes, familiar: Mapping[str, Sequence[Image]], held_back: Sequence[Image]
) -> ModelBundle:
    """Weights of the small CNN, packed with pictures of several learning tasks."""
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=novelty.HOW,
        network="fast_cnn",
        weights_sha256=sha256_hex(weights),
    )
    pictures = [FamiliarPicture(task, one) for task, images in familiar.items() for one in images]
    return packed(
        weights_from_bytes(weights, "weights of the bench"), manifest, held_back, familiar=pictures
    )


def scenes(condition: str, first: int, count: int) -> list[Image]:
    """Drawn streets, other ones for each condition."""
    start = first + 200 * CONDITIONS.index(condition)
    return [draw_scene(seed, condition).image for seed in range(start, start + count)]


def embeddings(bundle: ModelBundle, images: Iterable[Image]) -> Rows:
    """(N, K + 1) float64."""
    segmenter = OnnxSegmenter(bundle, threads=1)
    rows = [segmenter.outputs(image, (EMBEDDING,))[0][0] for image in images]
    return np.array(rows, dtype=np.float64)


# Pictures of each condition and steps to figures.
QUESTIONS: dict[str, Callable[[int, int], dict[str, object]]] = {
    "told": told,
    "camvid": camvid,
    "clusters": clusters,
    "alike": likenesses,
    "learned": learned,
}


if __name__ == "__main__":
    main()
