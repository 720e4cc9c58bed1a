"""Names of the volumes that Sedna mounts for a job: two folders of one name share the first.

Sedna makes a volume's name of the folder's path: lower case, runs of other characters become one
`-`, and it is cut at 63 characters. Two folders whose names are equal then get one volume, and a
worker reads or writes in the wrong one; nobody is told.
"""

import posixpath

LONGEST = 63
HIGHEST_ROUND = 999  # names are looked at for rounds up to here


def volume_name(path: str) -> str:
    """A folder's volume name as Sedna makes it.

    >>> volume_name("/data/A_b"), volume_name("/data/a-b")
    ('data-a-b', 'data-a-b')
    """
    name = ""
    for letter in path.lower():
        if ("a" <= letter <= "z") or ("0" <= letter <= "9") or letter == "-":
            name += letter
        elif name and not name.endswith("-"):
            name += "-"
    return name[:LONGEST].rstrip("-")


def collisions(output_dir: str, dataset_url: str) -> tuple[str, ...]:
    """Which folders of one pod would share a volume, in words; empty when none do."""
    if "://" in output_dir or "://" in dataset_url:
        return ()
    out, data = output_dir.rstrip("/"), posixpath.dirname(dataset_url)
    pods = (
        ("train", (f"{out}/train", f"{out}/data/train/{HIGHEST_ROUND}", data)),
        (
            "eval",
            (f"{out}/train/{HIGHEST_ROUND}", f"{out}/eval", f"{out}/data/eval/{HIGHEST_ROUND}"),
        ),
        ("eval", (f"{out}/eval", data)),
    )
    told = []
    for pod, folders in pods:
        seen: dict[str, str] = {}
        for folder in folders:
            name = volume_name(folder)
            if name in seen and seen[name] != folder:
                told.append(
                    f"spec.outputDir {output_dir!r}: in the {pod} pod {folder} and {seen[name]} "
                    f"would both be the volume {name!r}, cut at {LONGEST} characters, and one of "
                    "them is the wrong folder; take a path under 40 characters"
                )
            seen[name] = folder
    return tuple(dict.fromkeys(told))
