"""Adapters: a normalisation and a head of its own for every condition, on one frozen network.

Nothing of what an earlier condition uses is ever changed, so nothing of it can be forgotten. The
network looks at the light of a picture (colours and contrast of four bands), says by a linear
discriminant which condition that is, and computes with that condition's adapter; all of it lies in
the exported graph, so an edge runs it as any other model. A condition costs kilobytes.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lifelong.errors import ModelLoadError, TrainingError
from lifelong.training.augmentation import normalised
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.datasets import Pictures, joined
from lifelong.training.lesson import Lesson
from lifelong.training.network import Network
from lifelong.training.networks import build_network

_NORMS = (nn.BatchNorm2d, nn.LayerNorm)
_BANDS = 4
LIGHT = 3 + 3 + _BANDS * 3 + _BANDS  # numbers that describe the light of a picture
EVERYTHING_BEFORE = ""  # the condition of whatever was learned before there were adapters
_NAMES, _BASE = "conditions", "base.network."
# Of the scatter's diagonal, added to it: a few pictures leave directions in which none varies.
_SHRINKAGE = 0.1

Learn = Callable[[Lesson, Path | None], Weights]


def adapted_names(network: Network) -> frozenset[str]:
    """The parameters and statistics that each condition has for itself."""
    owners = [name for name, module in network.named_modules() if isinstance(module, _NORMS)]
    wanted = {*owners, *network.classifiers()}
    return frozenset(
        name
        for name, value in network.state_dict().items()
        if name.rpartition(".")[0] in wanted and value.is_floating_point()
    )


def light_of(pictures: Tensor) -> Tensor:
    """(N, 3, h, w) float32 normalised to (N, LIGHT): means, deviations, bands, contrast of bands.

    The last are means of absolute differences between neighbours: fog has few, rain has many.
    """
    grey = pictures.mean(1, keepdim=True)
    steps = (grey[..., 1:] - grey[..., :-1]).abs()
    bands = F.adaptive_avg_pool2d(pictures, (_BANDS, 1)).flatten(1)
    contrast = F.adaptive_avg_pool2d(steps, (_BANDS, 1)).flatten(1)
    mean = pictures.mean((2, 3))
    spread = ((pictures - mean[..., None, None]) ** 2).mean((2, 3)).sqrt()
    return torch.cat([mean, spread, bands, contrast], dim=1)


class Adapted(Network):
    """A network with several adapters; it chooses one for each picture by its light."""

    def __init__(self, network: Network, conditions: Sequence[str]) -> None:
        """Every condition begins with what `network` has."""
        super().__init__()
        self.base = _Seeing(network)
        self.names = tuple(sorted(adapted_names(network)))
        own = network.state_dict()
        for place, name in enumerate(self.names):
            copies = [len(conditions), *[1] * own[name].ndim]
            self.register_buffer(
                f"adapter_{place}", own[name].detach().clone()[None].repeat(copies)
            )
        self.register_buffer("light_means", torch.zeros(len(conditions), LIGHT))
        self.register_buffer("light_scatter", torch.zeros(LIGHT, LIGHT))  # sum over pictures
        self.register_buffer("light_precision", torch.eye(LIGHT))  # inverse of the mean scatter
        self.register_buffer("light_pictures", torch.zeros(()))
        self.register_buffer(_NAMES, _bytes_of(conditions))

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As the network itself with the adapter of each picture's condition."""
        if len(pictures) == 1:
            return self._seen_with(self.allocated(pictures)[0], pictures)
        parts = [self.seen(pictures[n : n + 1]) for n in range(len(pictures))]
        maps = [torch.cat(level) for level in zip(*(part[1] for part in parts), strict=True)]
        return torch.cat([part[0] for part in parts]), tuple(maps)

    def classifiers(self) -> tuple[str, ...]:
        """None that a network with other classes could take over."""
        return ()

    def allocated(self, pictures: Tensor) -> Tensor:
        """(N,) int64: which adapter each picture is given; `light_means` has their order.

        argmax_k of x'S⁻¹m_k - ½ m_k'S⁻¹m_k, the linear discriminant (Fisher 1936) with S the
        scatter within conditions and every condition equally likely.
        """
        means = self.get_buffer("light_means")
        directions = self.get_buffer("light_precision") @ means.T
        likely: Tensor = light_of(pictures) @ directions - 0.5 * (means.T * directions).sum(0)
        return likely.argmax(1)

    def _seen_with(self, index: Tensor, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        chosen = {
            f"network.{name}": self.get_buffer(f"adapter_{place}").index_select(0, index[None])[0]
            for place, name in enumerate(self.names)
        }
        answer: tuple[Tensor, tuple[Tensor, ...]] = torch.func.functional_call(
            self.base, chosen, (pictures,)
        )
        return answer


class _Seeing(nn.Module):
    """A network whose call answers logits and maps."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.network.seen(pictures)


def network_of(name: str, classes: int, weights: Weights, *, seed: int = 0) -> Network:
    """A network that these weights fit, with as many adapters as they have; not loaded yet.

    Raises:
        ConfigError: no network of that name.
        ModelLoadError: the names of the conditions cannot be read.
    """
    network = build_network(name, classes, seed=seed)
    return Adapted(network, conditions_of(weights)) if is_adapted(weights) else network


def is_adapted(weights: Weights) -> bool:
    """Do these weights bring adapters?"""
    return _NAMES in weights


def conditions_of(weights: Weights) -> tuple[str, ...]:
    """The conditions that have an adapter, in order; the first is `EVERYTHING_BEFORE`.

    Raises:
        ModelLoadError: not what `Adapted` writes.
    """
    try:
        names = json.loads(bytes(weights[_NAMES].tolist()))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("not a list of names")
    except (KeyError, ValueError, TypeError) as error:
        raise ModelLoadError(f"weights with adapters: no names of conditions ({error})") from error
    return tuple(names)


def learned_separately(lesson: Lesson, checkpoint: Path | None, *, learn: Learn) -> Weights:
    """The incumbent with an adapter more for each new learning task, or a known one trained on.

    Args:
        lesson: `new` is what is learned; of `memory` only the light is looked at, and pictures
            of the tasks that are learned again.
        learn: trains a lesson of one condition on a network without adapters, of which only
            what `adapted_names` names may change.

    Raises:
        TrainingError: no incumbent, or no picture of what it knows to tell the new from.
    """
    incumbent = lesson.incumbent
    if incumbent is None:
        raise TrainingError("adapters need a first model; train one with another strategy")
    known = conditions_of(incumbent) if is_adapted(incumbent) else (EVERYTHING_BEFORE,)
    tasks = tuple(dict.fromkeys(lesson.new.learning_tasks))
    before = frozenset(lesson.memory.learning_tasks) - frozenset(known)
    names = (*known, *(task for task in tasks if task not in known and task not in before))
    result = _grown(lesson, incumbent, known, names)
    for number, name in enumerate(dict.fromkeys(_condition(task, names) for task in tasks)):
        part = _of_condition(lesson, name, names)
        place = names.index(name)
        own = checkpoint and checkpoint.with_name(f"{checkpoint.name}.{number}")
        weights = learn(replace(part, incumbent=_worn(result, place), first=False), own)
        for index, tensor in enumerate(result.names):
            result.get_buffer(f"adapter_{index}")[place] = weights[tensor]
    _describe_light(result, lesson, known if is_adapted(incumbent) else (), names)
    return {key: value.detach().cpu().clone() for key, value in result.state_dict().items()}


def _condition(task: str, names: Sequence[str]) -> str:
    return task if task in names else EVERYTHING_BEFORE


def _of_condition(lesson: Lesson, name: str, names: Sequence[str]) -> Lesson:
    """What is to be learned of one condition: its new pictures, and its old ones beside them."""

    def own(pictures: Pictures) -> Pictures:
        tasks = enumerate(pictures.learning_tasks)
        return pictures.take([place for place, task in tasks if _condition(task, names) == name])

    return replace(
        lesson, new=joined(own(lesson.new), own(lesson.memory)), memory=lesson.memory.take([])
    )


def _grown(
    lesson: Lesson, incumbent: Weights, known: Sequence[str], names: Sequence[str]
) -> Adapted:
    """The incumbent with room for more; a new condition begins as the first one does."""
    network = build_network(lesson.section.network, lesson.classes, seed=lesson.section.seed)
    if not is_adapted(incumbent):
        _load(network, incumbent)
        return Adapted(network, names)
    old = Adapted(network, known)
    _load(old, incumbent)
    result = Adapted(network, names)
    for name, value in old.named_buffers():
        if name.startswith("adapter_") or name == "light_means":
            buffer = result.get_buffer(name)
            buffer[:] = value[:1]
            buffer[: len(known)] = value
        elif name.startswith("light_"):
            result.get_buffer(name).copy_(value)
    return result


def _load(network: nn.Module, weights: Weights) -> None:
    load_weights(network, weights, "the incumbent")


def _worn(adapted: Adapted, place: int) -> Weights:
    """The network as it is with one adapter, without any other."""
    weights = {
        name.removeprefix(_BASE): value.detach().cpu().clone()
        for name, value in adapted.state_dict().items()
        if name.startswith(_BASE)
    }
    for index, name in enumerate(adapted.names):
        weights[name] = adapted.get_buffer(f"adapter_{index}")[place].clone()
    return weights


def _describe_light(
    adapted: Adapted, lesson: Lesson, measured: Sequence[str], names: Sequence[str]
) -> None:
    """Means of new conditions, and the scatter with their pictures in it."""
    pictures = joined(lesson.new, lesson.memory)
    for place, name in enumerate(names):
        if name in measured:
            continue
        tasks = enumerate(pictures.learning_tasks)
        own = pictures.take([at for at, task in tasks if _condition(task, names) == name])
        if not len(own):
            raise TrainingError(
                "adapters need pictures of what was learned before, to tell the new from it; "
                "keep some in the replay memory (training.replay_mib)"
            )
        light = light_of(normalised(own.images, lesson.preprocessing)).double()
        mean = light.mean(0)
        adapted.get_buffer("light_means")[place] = mean.float()
        adapted.get_buffer("light_scatter").add_(((light - mean).T @ (light - mean)).float())
        adapted.get_buffer("light_pictures").add_(len(own))
    scatter = adapted.get_buffer("light_scatter").double()
    scatter = scatter / max(1.0, float(adapted.get_buffer("light_pictures")))
    ridge = _SHRINKAGE * torch.diag(scatter.diagonal()) + 1e-6 * torch.eye(LIGHT).double()
    adapted.get_buffer("light_precision").copy_(torch.linalg.inv(scatter + ridge).float())


def _bytes_of(names: Sequence[str]) -> Tensor:
    return torch.tensor(list(json.dumps(list(names)).encode()), dtype=torch.uint8)
