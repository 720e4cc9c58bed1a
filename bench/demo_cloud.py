"""A demo's cloud in a folder of its own, before its first round; several benches begin so."""

from pathlib import Path

from cloud.assembly import Cloud, open_cloud
from cloud.demo.beginning import first_from_shipped
from cloud.demo.plan import DemoPlan
from cloud.demo.run_config import write_config
from cloud.demo.signing import sign_models
from cloud.demo.worlds import ScenesWorld
from lifelong.config import load_config


def demo_cloud(folder: Path, seed: int) -> tuple[Cloud, ScenesWorld]:
    """A cloud with the shipped first model released, and the world of drawn streets it knows."""
    plan = DemoPlan(seed=seed)
    path = write_config(folder, plan)
    sign_models(path)
    cloud, world = open_cloud(load_config(path)), ScenesWorld(seed)
    first_from_shipped(cloud, world, plan)
    return cloud, world
