"""Is every file of an export, or of a data set in another tool's layout, as it was written?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotation.exports.files import MANIFEST, ExportFolder
from annotation.exports.folder_manifests import manifests_in, manifests_of
from annotation.exports.manifest import files_of_manifest, read_head
from lifelong.errors import ChecksumError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How the files of an export stand beside their manifest."""

    files: int
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # there, but not in the manifest

    @property
    def is_whole(self) -> bool:
        """Every file is there as it was written; unknown ones do no harm."""
        return not self.missing and not self.changed


def verify(out: Path) -> Verified:
    """Hash every file again.

    Args:
        out: an export; a data set with manifests beside its folders; or one such folder.

    Raises:
        ConfigError, CorruptRecordError: there is no manifest, or it cannot be read.
        ChecksumError: the manifest lists a file outside the folder.
    """
    if (out / MANIFEST).exists():
        return _verified(out, [out / MANIFEST])
    if beside := manifests_in(out):
        return _verified(out, beside)
    return _verified(*_of_folder(out))


def _of_folder(folder: Path) -> tuple[Path, list[Path]]:
    beside = manifests_of(folder)
    return (folder.absolute().parent, beside) if beside else (folder, [folder / MANIFEST])


def _verified(out: Path, manifests: Sequence[Path]) -> Verified:
    folder = ExportFolder(out)
    missing, changed, known = set[str](), set[str](), set[str]()
    for manifest in manifests:
        read_head(manifest)
        for row in files_of_manifest(manifest):
            known.add(row.path)
            if folder.is_outside(row.path):
                raise ChecksumError(f"{manifest}: lists {row.path!r}, outside the export")
            if not (out / row.path).is_file():
                missing.add(row.path)
            elif not folder.holds((row,)):
                changed.add(row.path)
    unknown = sorted(folder.strangers(iter(known)))
    if manifests[0].name != MANIFEST:  # what else lies in a data set is nobody's business
        ours = {path.split("/")[0] for path in known}
        unknown = [path for path in unknown if path.split("/")[0] in ours]
    return Verified(
        files=len(known),
        missing=tuple(sorted(missing)),
        changed=tuple(sorted(changed)),
        unknown=tuple(unknown),
    )
