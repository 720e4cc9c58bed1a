"""The flags of commands that train: what changes often from one model to the next."""

from lifelong.setting_flags import Setting

TRAINING = (
    Setting(flag="--strategy", key="training.strategy", note="How the old is kept"),
    Setting(flag="--steps", key="training.steps", note="Steps of a round"),
    Setting(flag="--network", key="training.network"),
    Setting(flag="--init", key="training.init", note="scratch, weights, or a model's name"),
    Setting(flag="--seed", key="training.seed"),
    Setting(flag="--device", key="training.device", note="auto, cpu, cuda, cuda:1 …"),
    Setting(flag="--precision", key="training.precision", note="What the bundle computes with"),
)
