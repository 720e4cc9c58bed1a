"""A bundle file to a reduced one, examined by a folder of labelled pictures."""

from dataclasses import replace
from pathlib import Path

from cloud.learning.packing import measured_among, score_quantiles
from cloud.learning.precision import REDUCTIONS, reduced
from lifelong.errors import ConfigError
from lifelong.evaluation import FileHoldout
from lifelong.labels.folders import labelled_pairs
from lifelong.links.durable_files import write_whole
from lifelong.model_bundle import make_bundle, read_bundle


def reduce_file(
    source: Path, precision: str, folder: Path, target: Path, *, max_loss: float
) -> dict[str, str | float | int]:
    """Write `target` if the reduced bundle loses at most `max_loss` of mIoU.

    Args:
        folder: `images` and `train_ids`; every second picture by name calibrates, the others
            tell the loss, and how unsure is usual for the reduced model.

    Returns:
        What a person wants to know; `refused` is empty when the file was written.

    Raises:
        ConfigError: no such precision, no such file, or the folder holds no labelled pictures.
        RecordError: the file is no bundle.
    """
    if precision not in REDUCTIONS:
        raise ConfigError(f"--precision: no {precision!r}; there are {', '.join(REDUCTIONS)}")
    try:
        bundle = read_bundle(source.read_bytes(), str(source))
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}); name a bundle") from error
    pairs = labelled_pairs(folder)
    examination = list(FileHoldout(tuple(measured_among(pairs[1::2]))))
    calibration = [image for image, _ in FileHoldout(tuple(measured_among(pairs[::2])))]
    answer = reduced(
        bundle,
        precision,
        calibration=calibration,
        examination=examination,
        max_loss=max_loss,
    )
    told: dict[str, str | float | int] = {
        "precision": precision,
        "calibrated_on": len(calibration),
        "examined_by": len(examination),
    }
    if answer.loss is not None:
        told["loss_of_miou"] = round(answer.loss.miou, 6)
        told["agreement"] = round(answer.loss.agreement, 6)
    told["refused"] = "; ".join(answer.reasons)
    if not answer.reasons:
        quantiles = score_quantiles(answer.bundle, [image for image, _ in examination])
        made = make_bundle(
            replace(answer.bundle.manifest, score_quantiles=quantiles), answer.bundle.onnx
        )
        write_whole(target, made.to_bytes())
        told |= {
            "version_id": made.version_id,
            "bytes": len(made.to_bytes()),
            "bytes_before": len(bundle.to_bytes()),
        }
    return told
