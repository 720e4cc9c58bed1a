"""How long a click takes: ours and the peers', beside the bare decoder, same weights, in turns.

The bare decoder is `SamPredictor.predict` of segment-anything with the picture's embedding set:
prompt encoder, mask decoder, masks at the picture's size. It is asked for three masks, as ours asks
for a single click; the best one counts. A click on a server is timed from before the connection is
made until the last byte of the answer is here. Every round asks all of them, so that other work on
the machine slows them alike; medians are compared.
"""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor, sam_model_registry

from bench.assist_requests import (
    Mask,
    iou,
    painted,
    predict_body,
    regions_on,
    setup_body,
    webhook_body,
)
from bench.assist_servers import (
    BenchServerError,
    Peers,
    Server,
    ours,
    sam2_example,
    sam2_weights,
    sam_example,
)
from bench.assist_settings import NOWHERE, embedded, settings_for
from bench.assist_studio import PictureFolder, task_lists
from bench.assist_weights import write_sam
from bench.measuring import seconds_of
from cloud.preannotation.sam.tiny import load_tiny_sam
from lifelong.records.prompts import Point

_REGIONS = 500
_WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickCase:
    """What is measured, and where its files lie."""

    folder: Path
    model: str  # vit_b of seeded weights, or tiny: the one that is shipped
    height: int
    width: int
    clicks: int  # rounds of clicks on one picture
    pictures: int  # that are embedded before anybody clicks
    peers: Peers | None
    sam2: str  # size of the SAM 2 that is compared; "" for none


class BareDecoder:
    """segment-anything's predictor with the embedding of one picture set."""

    def __init__(self, weights: Path | None) -> None:
        """Args:
        weights: of a vit_b; None: the tiny SAM.
        """
        network = load_tiny_sam() if weights is None else sam_model_registry["vit_b"](weights)
        self._predictor = SamPredictor(network.eval())
        self._takes_masks = weights is not None

    def set_picture(self, path: Path) -> float:
        """Embed a picture; the seconds it took."""
        image = np.array(Image.open(path).convert("RGB"))
        _, seconds = seconds_of(lambda: self._predictor.set_image(image))
        return seconds

    def click(self, points: Sequence[Point]) -> tuple[Mask, float]:
        """The best of three masks, and the seconds."""
        coordinates, labels = _arrays(points)
        (masks, scores, _), seconds = seconds_of(
            lambda: self._predictor.predict(coordinates, labels, multimask_output=True)
        )
        best: Mask = masks[int(np.argmax(scores))]
        return best, seconds

    def further_click(self, points: Sequence[Point]) -> tuple[Mask, float]:
        """One mask for all points, told the logits of those before the last where the model was
        trained for that; the seconds of that alone."""
        _, scores, logits = self._predictor.predict(*_arrays(points[:-1]), multimask_output=True)
        before = logits[int(np.argmax(scores))][None] if self._takes_masks else None
        coordinates, labels = _arrays(points)
        (masks, _, _), seconds = seconds_of(
            lambda: self._predictor.predict(
                coordinates, labels, mask_input=before, multimask_output=False
            )
        )
        mask: Mask = masks[0]
        return mask, seconds


def click_figures(case: ClickCase) -> dict[str, object]:
    """All of it, for one object."""
    weights = None
    if case.model == "vit_b":
        weights = case.folder / "weights" / "sam_vit_b.pth"
        write_sam(weights)
    pictures = PictureFolder(case.folder / "pictures", case.height, case.width)
    decoder = BareDecoder(weights)
    encode_s = decoder.set_picture(pictures.file(0))
    with ExitStack() as open_:
        url = open_.enter_context(task_lists(pictures, case.pictures + 1))
        settings = settings_for(pictures.root, url, weights=weights, prefetch=case.pictures)
        server = open_.enter_context(ours(case.folder / "ours", settings))
        server.ask("POST", "/setup", setup_body())
        peer = None
        if case.peers is not None:
            peer = open_.enter_context(
                sam_example(case.peers, case.folder / "sam-example", weights, pictures.root)
            )
            peer.ask("POST", "/setup", setup_body())
        figures = same_picture(case, pictures, decoder, server, peer)
        figures |= after_prefetch(case, pictures, decoder, server)
        figures |= two_annotators(pictures, server, peer)
    figures["fp32_encoder_s"] = round(encode_s, 2)
    return figures | sam2_figures(case, pictures)


def same_picture(
    case: ClickCase, pictures: PictureFolder, decoder: BareDecoder, server: Server,
    peer: Server | None,
) -> dict[str, object]:  # fmt: skip
    """Click after click on one picture, with nothing and with 500 regions on it."""
    lots = regions_on(_REGIONS, case.height, case.width)
    image = pictures.address(0)
    took: dict[str, list[float]] = {}
    ious = []
    for number in range(case.clicks + _WARM_UP):
        points = _somewhere(number, pictures.size)
        bodies = {
            "0": predict_body(image, points[:1], pictures.size),
            "500": predict_body(image, points[:1], pictures.size, regions=lots),
            "further": predict_body(image, points, pictures.size),
        }
        mask, decoder_s = decoder.click(points[:1])
        again, further_s = decoder.further_click(points)
        times = {"decoder": decoder_s, "further_decoder": further_s}
        for name, body in bodies.items():
            answer, times[name] = server.predict(body)
            ious.append(_agreement(answer, again if name == "further" else mask))
        if peer is not None:
            for name in ("0", "500"):
                _, times[f"peer_{name}"] = peer.predict(bodies[name])
        if number >= _WARM_UP:
            for name, seconds in times.items():
                took.setdefault(name, []).append(seconds)
    median = {name: statistics.median(values) for name, values in took.items()}
    figures: dict[str, object] = {
        "second_click_over_decoder": _ratio(median["0"], median["decoder"]),
        "second_click_over_decoder_at_500": _ratio(median["500"], median["decoder"]),
        "refining_click_over_decoder": _ratio(median["further"], median["further_decoder"]),
        "mask_iou_with_decoder": round(min(ious), 4),
        "masks_other_than_the_decoders": sum(value < 1.0 for value in ious),
        "body_mb_at_500": round(len(bodies["500"]) / 1e6, 2),
        "ms": {name: round(1000 * value, 1) for name, value in median.items()},
        "p99_ms": {name: round(1000 * _p99(values), 1) for name, values in took.items()},
        "peer_second_click_over_ours": None,
        "peer_second_click_over_ours_at_500": None,
    }
    if peer is not None:
        figures["peer_second_click_over_ours"] = _ratio(median["peer_0"], median["0"])
        figures["peer_second_click_over_ours_at_500"] = _ratio(median["peer_500"], median["500"])
    return figures


def after_prefetch(
    case: ClickCase, pictures: PictureFolder, decoder: BareDecoder, server: Server
) -> dict[str, object]:
    """The first click on each of several pictures, whose embeddings Label Studio's webhook made
    beforehand."""
    server.ask("POST", "/webhook", webhook_body(0))
    embedded(server, case.pictures)
    took: list[tuple[float, float]] = []
    for number in range(1, case.pictures + 1):
        points = _somewhere(number, pictures.size)[:1]
        # Which picture the decoder has set makes no difference to its time.
        _, decoder_s = decoder.click(points)
        _, seconds = server.predict(predict_body(pictures.address(number), points, pictures.size))
        took.append((decoder_s, seconds))
    decoder_s, ours_s = (statistics.median(side) for side in zip(*took, strict=True))
    return {
        "first_click_after_prefetch_over_decoder": _ratio(ours_s, decoder_s),
        "first_clicks_after_prefetch": len(took),
        "first_click_after_prefetch_ms": round(1000 * ours_s, 1),
        "slowest_first_click_after_prefetch_ms": round(1000 * max(s for _, s in took), 1),
    }


def two_annotators(
    pictures: PictureFolder, server: Server, peer: Server | None
) -> dict[str, object]:
    """Two people click in turns, each on a picture of their own that has been clicked on before."""
    bodies = [
        predict_body(pictures.address(n), _somewhere(n, pictures.size)[:1], pictures.size)
        for n in (0, 1)
    ]

    def median_s(one: Server, rounds: int) -> float:
        return statistics.median(one.predict(body)[1] for _ in range(rounds) for body in bodies)

    for body in bodies:
        server.predict(body)
    ours_s = median_s(server, 5)
    figures: dict[str, object] = {
        "two_annotators_ms": round(1000 * ours_s, 1),
        "peer_two_annotators_over_ours": None,
    }
    if peer is not None:
        peer_s = median_s(peer, 1)
        figures["peer_two_annotators_over_ours"] = _ratio(peer_s, ours_s)
        figures["peer_two_annotators_ms"] = round(1000 * peer_s, 1)
    return figures


def sam2_figures(case: ClickCase, pictures: PictureFolder) -> dict[str, object]:
    """A second click with SAM 2: theirs encodes anew, ours does not."""
    figures: dict[str, object] = {"sam2_peer_second_click_over_ours": None}
    if case.peers is None or not case.sam2:
        return figures
    weights = case.folder / "weights" / f"sam2_{case.sam2}.pt"
    try:
        sam2_weights(case.peers, weights, case.sam2)
    except BenchServerError as error:
        return figures | {"sam2_why_not": str(error)}
    settings = settings_for(pictures.root, NOWHERE, weights=weights, sam2=case.sam2)
    with (
        ours(case.folder / "ours-sam2", settings) as server,
        sam2_example(
            case.peers, case.folder / "sam2-example", weights, case.sam2, pictures.root
        ) as peer,
    ):
        took: dict[Server, list[float]] = {server: [], peer: []}
        for number in range(4):
            points = _somewhere(number, pictures.size)[:1]
            for one, times in took.items():
                body = predict_body(pictures.address(0), points, pictures.size)
                times.append(one.predict(body)[1])
    ours_s, peer_s = (statistics.median(times[1:]) for times in took.values())
    return {
        "sam2_peer_second_click_over_ours": _ratio(peer_s, ours_s),
        "sam2_ms": {"ours": round(1000 * ours_s, 1), "peer": round(1000 * peer_s, 1)},
    }


def _somewhere(number: int, size: tuple[int, int]) -> tuple[Point, Point]:
    """Two places of the picture, others for every number."""
    rng = np.random.default_rng(number)
    y, x = rng.uniform(0.05, 0.95, (2, 2)) * np.array([[size[0]], [size[1]]])
    return Point(float(x[0]), float(y[0])), Point(float(x[1]), float(y[1]), number % 2 == 0)


def _arrays(points: Sequence[Point]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return (
        np.array([(point.x, point.y) for point in points]),
        np.array([int(point.is_positive) for point in points]),
    )


def _agreement(answer: bytes, mask: Mask) -> float:
    found = painted(answer, (mask.shape[0], mask.shape[1]))
    return iou(np.zeros_like(mask) if found is None else found, mask)  # nothing found: no region


def _ratio(one: float, other: float) -> float:
    return round(one / other, 3)


def _p99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99))
