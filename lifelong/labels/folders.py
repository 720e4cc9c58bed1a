"""Labelled pictures in a folder: `images/NAME.jpg` beside `train_ids/NAME.png`."""

from pathlib import Path

from lifelong.errors import ConfigError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def labelled_pairs(folder: Path) -> tuple[tuple[Path, Path], ...]:
    """Every image of `folder/images` with its labels, by name.

    Raises:
        ConfigError: a folder is missing, there is no image, or one has no labels.
    """
    images, masks = folder / "images", folder / "train_ids"
    if not images.is_dir() or not masks.is_dir():
        raise ConfigError(f"{folder}: expected the folders images and train_ids in it")
    pairs = []
    for image in sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES):
        mask = masks / f"{image.stem}.png"
        if not mask.is_file():
            raise ConfigError(f"{image}: no labels, {mask} is missing")
        pairs.append((image, mask))
    if not pairs:
        raise ConfigError(f"{images}: no images; expected .jpg or .png")
    return tuple(pairs)
