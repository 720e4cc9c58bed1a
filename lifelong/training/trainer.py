"""One plain loop that turns pictures into weights: batches, loss and penalties, checkpoints.

All chance of a step comes from (seed, step), so a run that was stopped and goes on from its last
checkpoint ends with the same weights, bit by bit, as one that was never stopped.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lifelong.errors import DivergedError, TrainingError
from lifelong.training.augmentation import augmented, normalised
from lifelong.training.checkpoints import (
    Weights,
    load_weights,
    read_checkpoint,
    weights_of,
    write_checkpoint,
)
from lifelong.training.datasets import Pictures, draw, joined
from lifelong.training.devices import device_named, reproducible
from lifelong.training.distillation import distillation_loss
from lifelong.training.ewc import ewc_penalty, fisher_information
from lifelong.training.lesson import Lesson, learning_rate_at
from lifelong.training.losses import cross_entropy, enlarged_logits
from lifelong.training.networks import build_network
from lifelong.training.strategies import strategy_named

Progress = Callable[[int, int, float], None]  # steps done, steps in all, loss

# The loss looks at every second pixel: a quarter of the time, and the logits are coarser anyway.
_LOSS_STRIDE = 2
_FISHER_PICTURES = 64


def train(
    lesson: Lesson, *, checkpoint: Path | None = None, on_progress: Progress | None = None
) -> Weights:
    """Learn the lesson; go on from `checkpoint` when it is of this same lesson.

    Raises:
        TrainingError: no picture to learn from.
        DivergedError: the loss became NaN or infinite.
    """
    if len(lesson.new) + len(lesson.memory) == 0:
        raise TrainingError("no sample to learn from; annotate some first")
    device = device_named(lesson.section.device)
    with reproducible(lesson.section.threads, device):
        run = _Run(lesson, device)
        if checkpoint is not None:
            run.resume(checkpoint)
        return run.finish(checkpoint, on_progress)


class _Run:
    """A student on its way through a lesson."""

    def __init__(self, lesson: Lesson, device: torch.device) -> None:
        self.lesson, self.section, self.device = lesson, lesson.section, device
        self.strategy = strategy_named(lesson.section.strategy)
        self.student = self._network()
        self.step = 0
        self.teacher: nn.Module | None = None
        self.anchor: Weights = {}
        self.fisher: Weights = {}
        if lesson.incumbent is not None:
            load_weights(self.student, lesson.incumbent, "the incumbent")
            if self.strategy.distils:
                self.teacher = self._network()
                load_weights(self.teacher, lesson.incumbent, "the teacher")
                self.teacher.eval()
            if self.strategy.anchors and len(lesson.memory):
                self.anchor = {n: p.detach().clone() for n, p in self.student.named_parameters()}
                self.fisher = self._fisher()
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(),
            lr=self.lesson.learning_rate,
            weight_decay=self.section.weight_decay,
            fused=True,
        )

    def finish(self, checkpoint: Path | None, on_progress: Progress | None) -> Weights:
        """Take the remaining steps."""
        self._into_training()
        steps = self.lesson.steps
        while self.step < steps:
            loss = self._learn_from(*self._batch())
            self.step += 1
            due = self.step % self.section.checkpoint_every == 0 or self.step == steps
            if checkpoint is not None and due:
                self._save(checkpoint)
            if on_progress is not None:
                on_progress(self.step, steps, loss)
        return weights_of(self.student)

    def _into_training(self) -> None:
        self.student.train()
        if self.lesson.incumbent is None:
            return
        # Batch norm keeps the incumbent's statistics: those of a batch that is half new pictures
        # would shift every layer's input for the old ones, which is forgetting without learning.
        for module in self.student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def _network(self) -> nn.Module:
        network = build_network(self.section.network, self.lesson.classes, seed=self.section.seed)
        return network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _batch(self) -> tuple[Tensor, Tensor, int]:
        """Pictures, targets, and how many of them, at the end, are replayed."""
        rng = np.random.default_rng([self.section.seed, self.step])
        drawn, old = self._drawn(rng)
        how = self.lesson.preprocessing
        pictures, target = augmented(
            drawn.images.to(self.device), drawn.masks.to(self.device), how, rng
        )
        thin = target[:, ::_LOSS_STRIDE, ::_LOSS_STRIDE]
        return pictures.contiguous(memory_format=torch.channels_last), thin, old

    def _drawn(self, rng: np.random.Generator) -> tuple[Pictures, int]:
        new, memory, size = self.lesson.new, self.lesson.memory, self.section.batch_size
        if not len(new) or (self.strategy.pools and len(memory)):
            pool = joined(new, memory)
            return pool.take(draw(pool, size, rng).tolist()), 0
        old = round(size * self.section.replay_share) if self.strategy.replays else 0
        # A batch without anything new would teach nothing.
        old = min(old, size - 1) if len(memory) else 0
        fresh = new.take(draw(new, size - old, rng).tolist())
        if not old:
            return fresh, 0
        return joined(fresh, memory.take(draw(memory, old, rng).tolist())), old

    def _learn_from(self, pictures: Tensor, target: Tensor, old: int) -> float:
        logits = self.student(pictures)
        size = (int(target.shape[1]), int(target.shape[2]))
        loss = cross_entropy(enlarged_logits(logits, size), target)
        if self.teacher is not None and self.section.distillation_weight > 0:
            # Where something is replayed, the teacher is asked about that alone: there it is at
            # home, and on the new pictures its doubts would only slow the student down.
            asked = slice(len(pictures) - old if old else 0, None)
            with torch.no_grad():
                answers = self.teacher(pictures[asked])
            loss = loss + self.section.distillation_weight * distillation_loss(
                logits[asked],
                answers,
                target[asked],
                temperature=self.section.distillation_temperature,
            )
        if self.fisher:
            loss = loss + self.section.ewc_weight * ewc_penalty(
                self.student, self.anchor, self.fisher
            )
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

    def _fisher(self) -> Weights:
        memory = self.lesson.memory
        rng = np.random.default_rng([self.section.seed, 0xF15])
        chosen = memory.take(draw(memory, min(_FISHER_PICTURES, len(memory)), rng).tolist())
        pictures = normalised(chosen.images.to(self.device), self.lesson.preprocessing)
        masks = chosen.masks.to(self.device).long()[:, ::_LOSS_STRIDE, ::_LOSS_STRIDE]
        batches = [(pictures[i : i + 1], masks[i : i + 1]) for i in range(len(chosen))]

        def loss_of(network: nn.Module, picture: Tensor, mask: Tensor) -> Tensor:
            size = (int(mask.shape[1]), int(mask.shape[2]))
            return cross_entropy(enlarged_logits(network(picture), size), mask)

        return fisher_information(self.student, batches, loss_of)

    def _save(self, path: Path) -> None:
        tensors = {f"network.{name}": value for name, value in weights_of(self.student).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{index}.{name}"] = value.detach().cpu()
        write_checkpoint(path, tensors, {"lesson": self.lesson.digest(), "step": self.step})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of this same lesson; any other one is passed over."""
        found = read_checkpoint(path)
        if found is None or found[1].get("lesson") != self.lesson.digest():
            return
        tensors, about = found
        own = {n.removeprefix("network."): t for n, t in tensors.items() if n[:8] == "network."}
        load_weights(self.student, own, str(path))
        state: dict[int, dict[str, Tensor]] = {}
        parameters = list(self.student.parameters())
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                # The fused optimizer walks through memory: moments must lie as their weights do.
                like = parameters[int(index)] if value.ndim else value
                state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step = int(str(about["step"]))
