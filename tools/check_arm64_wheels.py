"""Has every base dependency a wheel for 64-bit ARM? Asks pip, installs nothing.

    python -m tools.check_arm64_wheels

pip downloads the base dependencies of pyproject.toml, and all that these need, as an ARM Linux
machine would, into a folder that goes again; wheels only. Exit code 1 names what is missing.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

# What a Linux of 2018 (glibc 2.28) and later can install; pip takes each name by its letters.
PLATFORMS = (
    "manylinux2014_aarch64",
    *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 29)),
)


def main() -> int:
    """Check them together, and one by one where that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python-version", default="3.11")
    given = parser.parse_args()
    needed = base_dependencies(Path("pyproject.toml"))
    found, complaint = wheels_of(needed, given.python_version)
    if found is not None:
        print(f"all {len(needed)} base dependencies have arm64 wheels, {len(found)} with theirs:")
        print("\n".join(f"  {name}" for name in found))
        return 0
    missing = [name for name in needed if wheels_of([name], given.python_version)[0] is None]
    print(f"no arm64 wheel for Python {given.python_version}: {', '.join(missing) or needed}")
    print(complaint)
    return 1


def base_dependencies(project: Path) -> list[str]:
    """The requirements that an edge node installs, as pyproject.toml has them."""
    content = tomllib.loads(project.read_text(encoding="utf-8"))
    return [str(requirement) for requirement in content["project"]["dependencies"]]


def wheels_of(requirements: list[str], python_version: str) -> tuple[list[str] | None, str]:
    """File names of the wheels an ARM machine would install; None and pip's words if one lacks."""
    with tempfile.TemporaryDirectory(prefix="cornerloop-arm64-") as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--only-binary=:all:", "--implementation", "cp", "--python-version", python_version),
            *(part for name in PLATFORMS for part in ("--platform", name)),
            *("--dest", folder, *requirements),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        names = sorted(path.name for path in Path(folder).glob("*.whl"))
    return (names, "") if done.returncode == 0 else (None, done.stderr.strip())


if __name__ == "__main__":
    sys.exit(main())
