"""What the box says of itself: temperature, load, memory, free disk; None where it says nothing."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROCESSOR = ("cpu", "soc", "x86_pkg", "coretemp", "k10temp", "package")
_POSSIBLE_CELSIUS = range(-40, 151)  # some sensors answer nonsense when they are asleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One look at the box."""

    cpu_celsius: float | None
    load: float | None  # average of the last minute, a core
    memory_bytes: int | None  # resident, of this process
    outbox_free_bytes: int | None
    state_free_bytes: int | None


def look_at(outbox: Path, state: Path, root: Path = Path("/")) -> Machine:
    """Read the sensors; a few small files, well under a millisecond on a healthy disk.

    Args:
        root: what stands for `/` of `/sys` and `/proc`.
    """
    return Machine(
        cpu_celsius=cpu_celsius(root / "sys/class"),
        load=_load(),
        memory_bytes=_resident(root / "proc/self/statm"),
        outbox_free_bytes=_free(outbox),
        state_free_bytes=_free(state),
    )


def cpu_celsius(sensors: Path) -> float | None:
    """The hottest sensor of the processor, else the hottest of all, by what the kernel tells.

    Args:
        sensors: `/sys/class`, with `thermal/thermal_zone*/{type,temp}` and
            `hwmon/hwmon*/{name,temp*_input}`, both in thousandths of a degree.
    """
    found = list(_temperatures(sensors))
    of_processor = [celsius for name, celsius in found if name.lower().startswith(_PROCESSOR)]
    return max(of_processor or [celsius for _, celsius in found], default=None)


def _temperatures(sensors: Path) -> Iterator[tuple[str, float]]:
    places = [(zone / "type", zone / "temp") for zone in sensors.glob("thermal/thermal_zone*")] + [
        (path.parent / "name", path) for path in sensors.glob("hwmon/hwmon*/temp*_input")
    ]
    for name, value in places:
        try:
            celsius = int(value.read_text()) / 1000.0
            if int(celsius) in _POSSIBLE_CELSIUS:
                yield name.read_text().strip(), celsius
        except (OSError, ValueError):
            continue


def _load() -> float | None:
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return None


def _resident(statm: Path) -> int | None:
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
