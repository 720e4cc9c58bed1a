"""Avalanche's replay on the same pictures, network, first model and number of steps as ours.

Avalanche does not live beside Cornerloop (it pins and pulls in too much), so this runs in an
environment of its own, which nothing of the product needs:

    python3 -m venv AVALANCHE && AVALANCHE/bin/pip install torch torchvision avalanche-lib \\
        pydantic pyyaml safetensors
    python -m bench.lifelong --scenes clear,dusk,fog,rain,night --json --out FOLDER \\
        --avalanche AVALANCHE/bin/python

`bench.lifelong` writes the pictures and the first model, starts this, and examines the weights
that come back with the same code as every other strategy's.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class _Seen(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Pictures as the trainer sees them: augmented anew at every look."""

    def __init__(self, images: Tensor, masks: Tensor, how: Any, seed: int) -> None:
        self.images, self.masks, self.how = images, masks, how
        self.targets = [0] * len(images)  # Avalanche asks; nothing of ours reads it
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from lifelong.training.augmentation import augmented

        picture, mask = augmented(self.images[[index]], self.masks[[index]], self.how, self._rng)
        return picture[0], mask[0]


class _Loss(nn.Module):
    """Cross entropy and Dice as in our trainer, so that only what is replayed differs."""

    def __init__(self, dice_weight: float) -> None:
        super().__init__()
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        from lifelong.training.losses import LOSS_STRIDE, cross_entropy, dice, enlarged_logits

        thin = target[:, ::LOSS_STRIDE, ::LOSS_STRIDE]
        grown = enlarged_logits(logits.float(), (int(thin.shape[1]), int(thin.shape[2])))
        return cross_entropy(grown, thin) + self.dice_weight * dice(grown, thin)


class _Student(nn.Module):
    """Computed in bf16 where ours is, its batch norm kept as ours keeps it."""

    def __init__(self, network: nn.Module, in_bf16: bool) -> None:
        super().__init__()
        self.network, self.in_bf16 = network, in_bf16

    def train(self, mode: bool = True) -> "_Student":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.in_bf16):
            answer: Tensor = self.network(pictures)
        return answer


def main() -> None:
    """Learn every domain after the first, and write the weights after each."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import AvalancheDataset
    from avalanche.evaluation.metrics import loss_metrics
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
    from avalanche.training.storage_policy import (
        ExperienceBalancedBuffer,
        ReservoirSamplingBuffer,
    )
    from avalanche.training.templates import SupervisedTemplate
    from safetensors.torch import load_file, save_file

    from lifelong.preprocessing import Preprocessing
    from lifelong.training.devices import computes_in_bf16
    from lifelong.training.networks import build_network

    folder = Path(sys.argv[1])
    plan = json.loads((folder / "plan.json").read_text())
    torch.manual_seed(plan["seed"])
    torch.set_num_threads(1)
    data = load_file(folder / "data.safetensors")
    how = Preprocessing(height=plan["height"], width=plan["width"])
    network = build_network(plan["network"], plan["classes"], seed=plan["seed"])
    network.load_state_dict(load_file(folder / "first.safetensors"))
    student = _Student(network, computes_in_bf16(plan["compute"], torch.device("cpu")))
    half = plan["batch_size"] // 2  # Avalanche draws as many old ones as new ones
    sets = [
        AvalancheDataset(
            [_Seen(data[f"{n}.images"], data[f"{n}.masks"], how, 1000 * plan["seed"] + n)]
        )
        for n in range(len(plan["domains"]))
    ]
    memory = sum(len(one) for one in sets)  # as ours by default: everything is kept
    policy = ExperienceBalancedBuffer(memory, adaptive_size=True)
    # What the first model learned is remembered as if Avalanche had taught it.
    policy.buffer_groups[0] = ReservoirSamplingBuffer(memory)
    policy.buffer_groups[0].update_from_dataset(sets[0])
    policy._num_exps = 1
    replay = ReplayPlugin(
        mem_size=memory, batch_size=half, batch_size_mem=half, storage_policy=policy
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=plan["learning_rate"], weight_decay=plan["weight_decay"]
    )
    strategy = SupervisedTemplate(
        model=student,
        optimizer=optimizer,
        criterion=_Loss(plan["dice_weight"]),
        train_mb_size=half,
        plugins=[replay],
        evaluator=EvaluationPlugin(loss_metrics(epoch=True), strict_checks=False),
        device="cpu",
    )
    for number, experience in enumerate(
        benchmark_from_datasets(train=sets[1:]).train_stream, start=1
    ):
        # An epoch ends with the longer of the two: the new pictures or the memory.
        per_epoch = -(-max(len(sets[number]), len(policy.buffer)) // half)
        strategy.train_epochs = max(1, round(plan["steps"] / per_epoch))
        strategy.train(experience)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(state, folder / f"after-{number}.safetensors")


if __name__ == "__main__":
    main()
