"""The real application over a folder: storage with a past, real actions, people in a folder.

Nothing in it is faked but who corrects: `annotation_folder` stands for Label Studio.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from cloud.access.doors import Doors
from cloud.assembly import make_watch, open_cloud
from cloud.correcting.assembly import make_desk
from cloud.operator_assembly import make_actions
from lifelong.config import Config
from lifelong.links.storage import open_storage
from tests.builders import SMALL_MAP
from tests.gated_house import House, a_house
from tests.large_loop import live_long

# Lies beside storage, not in it. Made anew in each process: hypothesis tries the strings that it
# finds in the code, and a page repeats what it was asked for.
CANARY = f"canary-{uuid4().hex}"


@dataclass(frozen=True)
class Grounds:
    """The house, and the folder that everything of it lies in."""

    house: House
    folder: Path

    def paths(self) -> list[tuple[str, str]]:
        """(method, path) of every address with a parameter."""
        return [
            (method, door.path)
            for door in Doors(self.house.app).all()
            for method in sorted(door.methods - {"HEAD"}) or ["GET"]
            if "{" in door.path or door.path == "/static"
        ]


def some_grounds(folder: Path) -> Grounds:
    """Everything in `folder`; a canary lies in it, beside storage."""
    (folder / "canary.txt").write_text(CANARY, encoding="utf-8")
    (folder / "image.jpg").write_text(CANARY, encoding="utf-8")
    storage = open_storage(str(folder / "storage"))
    live_long(storage, rounds=3, samples=4, edges=5)
    config = Config.model_validate(
        {
            "storage": str(folder / "storage"),
            "journal_path": str(folder / "journal"),
            "annotation_folder": str(folder / "tasks"),
            "web": {"access_path": str(folder / "access")},
        }
    )
    cloud = replace(open_cloud(config), label_map=SMALL_MAP)
    watch = make_watch(replace(open_cloud(config), label_map=SMALL_MAP))
    watch.refresh()
    house = a_house(
        folder,
        config,
        build=lambda parts: replace(
            parts,
            site=replace(parts.site, look=watch.look),
            storage=cloud.storage,
            secret="a secret of hints",
            actions=make_actions(cloud, done=lambda: None),
            correction_desk=make_desk(cloud, lambda: watch.look().rounds, None),
        ),
    )
    return Grounds(house, folder)
