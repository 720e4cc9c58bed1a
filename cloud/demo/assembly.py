"""The demo's composition root: options to a run in a folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

from annotation.label_studio_server import LabelStudioServer
from cloud.access.entering import new_link
from cloud.access.permissions import Role
from cloud.assembly import Cloud, open_cloud
from cloud.demo.camera import Camera
from cloud.demo.children import Children
from cloud.demo.demo import Demo, truth_in
from cloud.demo.people import People
from cloud.demo.plan import FORGETFUL_TRAINING, DemoPlan
from cloud.demo.run_config import rewrite_config, write_config
from cloud.demo.signing import sign_models
from cloud.demo.told import Told
from cloud.demo.worlds import FramesWorld, ScenesWorld, World
from lifelong.config import load_config
from lifelong.errors import ConfigError


def make_demo(
    *,
    run_dir: Path,
    frames: Path | None,
    people: bool,
    show_refusal: bool,
    fresh: bool,
    label_studio: Path,
    plan: DemoPlan | None = None,
    told: Told | None = None,
) -> Demo:
    """Lay out a run's folder and wire everything up; nothing is started yet.

    Raises:
        ConfigError: Label Studio or the frames are not where they were said to be.
    """
    folder = run_dir.absolute()
    if not label_studio.is_file():
        raise ConfigError(
            f"{label_studio}: no Label Studio there; `make demo` installs it, or name another "
            "with --label-studio"
        )
    children = Children(folder, {})
    if fresh and folder.exists():
        children.end_leftovers()
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    world: World = FramesWorld(frames) if frames else ScenesWorld((plan or DemoPlan()).seed)
    plan = plan or (
        plan_for_frames(world, show_refusal) if frames else DemoPlan(show_refusal=show_refusal)
    )
    config_path = write_config(folder, plan)
    sign_models(config_path)
    _write_holdouts(world, folder / "holdouts", plan)
    cloud = open_cloud(load_config(config_path))
    studio = LabelStudioServer(
        label_studio,
        folder / "label-studio",
        folder,
        folder / "logs" / "label-studio.log",
        template=folder.parent / "label-studio-template",
    )
    told = told or Told()
    truth = truth_in(folder / "truth")
    return Demo(
        folder=folder,
        plan=plan,
        cloud=cloud,
        camera=Camera(world, folder),
        children=children,
        studio=studio,
        people=People(config_path, studio, cloud.label_map, None if people else truth, told),
        begin=_beginning(cloud, world, plan, config_path),
        forget=lambda: rewrite_config(config_path, {"training": FORGETFUL_TRAINING}),
        commands=_commands(folder, config_path),
        told=told,
        link=lambda: new_link(cloud.config, Role.OPERATOR, "demo"),
    )


def plan_for_frames(world: World, show_refusal: bool) -> DemoPlan:
    """All real frames: the first condition by name is known, each further one is a round."""
    start, *others = world.conditions
    return DemoPlan(
        start=start,
        conditions=tuple(others),
        measured=world.conditions,
        known_frames=0,
        frames_at_once=64,
        most_frames=100_000,
        examples=40,
        show_refusal=show_refusal,
        train_first=True,
        drafting_minutes=5.0,
        overrides={},  # a first model of a few minutes is not worth holding on to
    )


def _commands(folder: Path, config: Path) -> dict[str, tuple[str, ...]]:
    manifest = _manifest_folder()
    return {
        "job": (
            "cloud", "job", "run", str(manifest), "--config", str(config),
            "--root", str(folder / "host"), "--state", str(folder / "job"),
            "--tick-seconds", "0.3",
        ),
        "cloud": ("cloud", "serve", "--config", str(config)),
        "edge": ("edge", "run", "--config", str(config)),
    }  # fmt: skip


def _manifest_folder() -> Path:
    folder = Path(__file__).parents[2] / "manifests" / "one-node"
    if not folder.is_dir():
        raise ConfigError(f"{folder}: the demo runs from a clone, where the manifests lie")
    return folder


def _write_holdouts(world: World, folder: Path, plan: DemoPlan) -> None:
    for condition in plan.measured:
        done = folder / condition / "complete"
        if not done.exists():
            world.write_holdout(folder / condition / "eval", condition, plan.holdout_images)
            done.touch()


def _beginning(
    cloud: Cloud, world: World, plan: DemoPlan, config_path: Path
) -> Callable[[Told], None]:
    def begin(told: Told) -> None:
        # Here, not above: it brings torch, which nothing else in the demo's own process needs.
        from cloud.demo.beginning import first_from_shipped, first_from_training

        if cloud.releases.current() is not None:
            return
        kept = config_path.parent.parent / "first-models"
        if plan.drafting_minutes > 0:
            from cloud.demo.drafting import drafter_from_training

            weights = drafter_from_training(cloud, world, plan, kept, told)
            semantic = {"type": "tiny", "model": str(weights)}
            rewrite_config(config_path, {"preannotation": {"semantic": semantic}})
        if plan.train_first:
            told.say(f"training the first model on {plan.start} (kept for the next run)")
            first_from_training(cloud, world, plan, kept, told)
        else:
            told.say(f"releasing the first model, which knows {plan.start} only")
            first_from_shipped(cloud, world, plan)

    return begin
