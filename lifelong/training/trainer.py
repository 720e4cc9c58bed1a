"""One plain loop that turns pictures into weights: batches, loss and penalties, checkpoints.

All chance of a step comes from (seed, step), so a run that was stopped and goes on from its last
checkpoint ends with the same weights, bit by bit, as one that was never stopped.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lifelong.errors import DivergedError, TrainingError
from lifelong.training.adapters import is_adapted, learned_separately
from lifelong.training.augmentation import augmented, normalised
from lifelong.training.batches import Drawn
from lifelong.training.checkpoints import (
    Weights,
    load_weights,
    read_checkpoint,
    weights_of,
    write_checkpoint,
)
from lifelong.training.datasets import joined
from lifelong.training.devices import computes_in_bf16, device_named, reproducible
from lifelong.training.label_shift import cross_entropy_of, only_sure
from lifelong.training.lesson import Lesson, learning_rate_at
from lifelong.training.losses import (
    LOSS_STRIDE,
    balanced_class_weights,
    dice,
    enlarged_logits,
)
from lifelong.training.networks import Network, build_network
from lifelong.training.penalties import Answers, Penalty, Step
from lifelong.training.strategies import strategy_named

Progress = Callable[[int, int, float], None]  # steps done, steps in all, loss


def train(
    lesson: Lesson, *, checkpoint: Path | None = None, on_progress: Progress | None = None
) -> Weights:
    """Learn the lesson; go on from `checkpoint` when it is of this same lesson.

    Raises:
        TrainingError: no picture to learn from, or nothing that the strategy could train on.
        DivergedError: the loss became NaN or infinite.
    """
    if len(lesson.new) + len(lesson.memory) == 0:
        raise TrainingError("no sample to learn from; annotate some first")
    device = device_named(lesson.section.device)
    adapts = strategy_named(lesson.section.strategy).separately and not lesson.is_first
    if lesson.incumbent is not None and is_adapted(lesson.incumbent) and not adapts:
        raise TrainingError(
            "the incumbent has adapters, which only training.strategy adapters can train on; "
            "keep that strategy, or begin with a new first model"
        )

    def learned(part: Lesson, own: Path | None) -> Weights:
        run = _Run(part, device)
        if own is not None:
            run.resume(own)
        return run.finish(own, on_progress)

    with reproducible(lesson.section.threads, device):
        learn = partial(learned_separately, learn=learned) if adapts else learned
        return learn(lesson, checkpoint)


class _Run:
    """A student on its way through a lesson."""

    def __init__(self, lesson: Lesson, device: torch.device) -> None:
        self.lesson, self.section, self.device = lesson, lesson.section, device
        self.in_bf16 = computes_in_bf16(lesson.section.compute, device)
        strategy = strategy_named(lesson.section.strategy)
        self.student = self._network(lesson.classes)
        self.step = 0
        self.best = _Best()
        if lesson.incumbent is not None:
            load_weights(self.student, lesson.incumbent, "the incumbent")
        self.own_normalisation = strategy.own_normalisation
        if strategy.trains is not None and not lesson.is_first:
            _freeze(self.student, strategy.trains(self.student))
        self.draw: Callable[[np.random.Generator], Drawn] = strategy.batches(lesson)
        made = [make(lesson, self.student, self._frozen) for make in strategy.penalties]
        self.penalties: list[Penalty] = [penalty for penalty in made if penalty is not None]
        self.class_weights = self._class_weights()
        self.cross_entropy = cross_entropy_of(lesson.codes, device)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.student.parameters() if p.requires_grad],
            lr=self.lesson.learning_rate,
            weight_decay=self.section.weight_decay,
            fused=True,
        )

    def finish(self, checkpoint: Path | None, on_progress: Progress | None) -> Weights:
        """Take the remaining steps, or as many as still help."""
        self._into_training()
        steps = self.lesson.steps
        while self.step < steps and not self._is_enough():
            loss = self._learn_from(*self._batch())
            self.step += 1
            due = self.step % self.section.checkpoint_every == 0 or self.step == steps
            if due and self._watches:
                self.best.look(self._validation_loss(), self.student)
            if checkpoint is not None and due:
                self._save(checkpoint)
            if on_progress is not None:
                on_progress(self.step, steps, loss)
        return self.best.weights or weights_of(self.student)

    @property
    def _watches(self) -> bool:
        validation = self.lesson.validation
        return self.section.patience > 0 and validation is not None and len(validation) > 0

    def _is_enough(self) -> bool:
        return self._watches and self.best.looks_since >= self.section.patience

    def _into_training(self) -> None:
        self.student.train()
        if self.lesson.is_first or self.own_normalisation:
            return
        # Batch norm keeps the incumbent's statistics: those of a batch that is half new pictures
        # would shift every layer's input for the old ones, which is forgetting without learning.
        for module in self.student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def _network(self, classes: int) -> Network:
        network = build_network(self.section.network, classes, seed=self.section.seed)
        return network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _frozen(self, weights: Weights) -> Answers:
        """A network that only answers, computed as the student is."""
        before = self.lesson.classes_before
        is_before = before is not None and weights is before.weights
        network = self._network(before.classes if before and is_before else self.lesson.classes)
        load_weights(network, weights, "the teacher")
        network.eval()

        def answers(pictures: Tensor) -> Tensor:
            with torch.no_grad():
                return self._computed(network, pictures)

        return answers

    def _class_weights(self) -> Tensor | None:
        if self.section.class_weights == "none":
            return None
        masks = joined(self.lesson.new, self.lesson.memory).masks
        if self.lesson.codes is not None:
            masks = torch.from_numpy(self.lesson.codes.sure)[masks.long()]
        return balanced_class_weights(masks, self.lesson.classes).to(self.device)

    def _batch(self) -> tuple[Tensor, Tensor, Drawn]:
        """Pictures, targets, and what was drawn for them."""
        rng = np.random.default_rng([self.section.seed, self.step])
        drawn = self.draw(rng)
        images, masks = drawn.pictures.images, drawn.pictures.masks
        pictures, target = augmented(
            images.to(self.device), masks.to(self.device), self.lesson.preprocessing, rng
        )
        thin = target[:, ::LOSS_STRIDE, ::LOSS_STRIDE]
        return pictures.contiguous(memory_format=torch.channels_last), thin, drawn

    def _learn_from(self, pictures: Tensor, target: Tensor, drawn: Drawn) -> float:
        logits = self._computed(self.student, pictures)
        loss = self._loss(logits, target, drawn.pictures.weights)
        step = Step(pictures, target, logits, drawn.old)
        for penalty in self.penalties:
            loss = loss + penalty(step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} at step {self.step + 1} of {self.lesson.steps}; "
                "lower training.learning_rate"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.step, self.lesson.steps, self.lesson.learning_rate)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        return value

    def _computed(self, network: nn.Module, pictures: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.in_bf16):
            logits: Tensor = network(pictures)
        return logits.float()

    def _loss(self, logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        grown = enlarged_logits(logits, (int(target.shape[1]), int(target.shape[2])))
        loss = self.cross_entropy(
            grown,
            target,
            class_weights=self.class_weights,
            picture_weights=None if weights is None else weights.to(self.device),
        )
        if self.section.dice_weight > 0:
            target = only_sure(target, self.lesson.codes)
            loss = loss + self.section.dice_weight * dice(grown, target)
        return loss

    def _validation_loss(self) -> float:
        """The loss on pictures held back, one at a time, in the mode that answers on the edge."""
        validation = self.lesson.validation
        assert validation is not None
        modes = {module: module.training for module in self.student.modules()}
        self.student.eval()
        losses = []
        with torch.no_grad():
            for index in range(len(validation)):
                one = validation.take([index])
                pictures = normalised(one.images.to(self.device), self.lesson.preprocessing)
                target = one.masks.to(self.device).long()[:, ::LOSS_STRIDE, ::LOSS_STRIDE]
                logits = self._computed(self.student, pictures)
                losses.append(float(self._loss(logits, target)))
        for module, was_training in modes.items():
            module.training = was_training
        return sum(losses) / len(losses)

    def _save(self, path: Path) -> None:
        tensors = {f"network.{name}": value for name, value in weights_of(self.student).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.weights.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu()
        about = {
            "lesson": self.lesson.digest(),
            "step": self.step,
            "best_loss": self.best.loss if self.best.weights else None,
            "looks_since": self.best.looks_since,
        }
        write_checkpoint(path, tensors, about)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of this same lesson; any other one is passed over."""
        found = read_checkpoint(path)
        if found is None or found[1].get("lesson") != self.lesson.digest():
            return
        tensors, about = found
        load_weights(self.student, _part(tensors, "network."), str(path))
        if about["best_loss"] is not None:
            self.best.weights = _part(tensors, "best.")
            self.best.loss = float(str(about["best_loss"]))
            self.best.looks_since = int(str(about["looks_since"]))
        state: dict[int, dict[str, Tensor]] = {}
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        for key, value in _part(tensors, "optimizer.").items():
            index, name = key.split(".")
            # The fused optimizer walks through memory: moments must lie as their weights do.
            like = parameters[int(index)] if value.ndim else value
            state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step = int(str(about["step"]))


class _Best:
    """The weights with the least loss on held-back pictures so far."""

    def __init__(self) -> None:
        self.loss = math.inf
        self.weights: Weights = {}
        self.looks_since = 0

    def look(self, loss: float, student: nn.Module) -> None:
        """Keep the student when it is better than every one before."""
        self.looks_since += 1
        if loss < self.loss:
            self.loss, self.weights, self.looks_since = loss, weights_of(student), 0


def _part(tensors: Weights, prefix: str) -> Weights:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _freeze(student: nn.Module, trained: frozenset[str]) -> None:
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(name in trained)
