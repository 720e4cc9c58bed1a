"""What a page shows of one sample's pictures: the picture, or in words why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass

from cloud.monitor.candidate_answers import Answer
from cloud.monitor.difference_maps import CHANGES, ERRORS
from cloud.monitor.difference_maps import Kind as Pixel
from cloud.monitor.sample_pictures import KINDS, Kind, mask_names
from cloud.monitor.sample_records import SampleRecords
from lifelong.records.colours import css_colour
from lifelong.records.label_map import LabelMap
from lifelong.records.rounds import Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Swatch:
    """A line of a legend."""

    name: str
    colour: str  # as style sheets write it; "" where nothing is coloured
    is_hatched: bool = False
    share: float | None = None  # of the picture, 0 .. 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture of a sample, or why there is none."""

    kind: str
    title: str
    address: str  # below `root`; "": there is no picture
    why: str  # there is none; "" when there is one
    said: str  # for people who do not see it
    width: int  # pixels, as it is shown
    height: int
    legend: tuple[Swatch, ...] = ()  # of maps


# What people see first stands first; the others need the candidate's answer.
OF_PEOPLE = ("frame", "before", "draft", "corrected", "people")
OF_MODELS = ("after", "learned", "errors")


def figures(
    kinds: tuple[str, ...],
    round_: Round,
    records: SampleRecords,
    answer: Answer | None,
    width: int,
) -> tuple[Figure, ...]:
    """Figures of these kinds, in their order.

    Args:
        answer: what is known of the candidate's answer; None: the round has no candidate.
        width: pixels at most.
    """
    return tuple(_figure(KINDS[kind], round_, records, answer, width) for kind in kinds)


def class_legend(label_map: LabelMap) -> tuple[Swatch, ...]:
    """Every class with its colour, and what nobody knows."""
    return (
        *(
            Swatch(name=name, colour=css_colour(colour))
            for name, colour in zip(label_map.names, label_map.colours, strict=True)
        ),
        Swatch(name="nobody knows", colour="", is_hatched=True),
    )


def _figure(
    kind: Kind, round_: Round, records: SampleRecords, answer: Answer | None, width: int
) -> Figure:
    example = records.example
    shown = min(width, example.width)
    why = _missing(kind, round_, records, answer)
    shares = (answer.shares or {}).get(kind.name) if answer else None
    title = _title(kind, round_)
    return Figure(
        kind=kind.name,
        title=title,
        address="" if why else f"/pictures/{kind.name}/{round_.number}/{records.sample_id}",
        why=why,
        said=_said(title, kind, records, shares),
        width=shown,
        height=max(1, round(example.height * shown / max(1, example.width))),
        legend=_map_legend(kind, shares) if kind.is_map else (),
    )


def _title(kind: Kind, round_: Round) -> str:
    if kind.name == "after" and round_.decision is not None and not round_.decision.accepted:
        return "after (refused model)"
    return kind.title


def _missing(kind: Kind, round_: Round, records: SampleRecords, answer: Answer | None) -> str:
    """Why there is no such picture; "" when there is one."""
    there = mask_names(records)
    if "draft" in kind.needs and "draft" not in there:
        return records.skip.reason if records.skip else "not drafted yet"
    if "corrected" in kind.needs and "corrected" not in there:
        if records.skip is not None:
            return f"skipped: {records.skip.reason}"
        return "nobody corrected it" if round_.is_over else "people have not finished yet"
    if kind.name == "people" and not records.shows_peoples_work:
        return "people were not shown the draft" if records.stage == "corrected" else records.stage
    if "after" not in kind.needs:
        return ""
    if answer is None:
        return "the round has no candidate" if round_.is_over else "no candidate yet"
    if answer.standing == "waiting":
        return "being computed"
    return answer.why


def _said(
    title: str, kind: Kind, records: SampleRecords, shares: Mapping[str, float] | None
) -> str:
    told = f"{title}, sample {records.sample_id} of {records.example.edge_id}"
    if kind.is_map and shares:
        happened = [p for p in _kinds_of(kind) if p.colour is not None]
        told += ": " + ", ".join(f"{100 * shares[p.name]:.1f} % {p.words}" for p in happened)
    return told


def _kinds_of(kind: Kind) -> tuple[Pixel, ...]:
    return ERRORS if kind.name == "errors" else CHANGES


def _map_legend(kind: Kind, shares: Mapping[str, float] | None) -> tuple[Swatch, ...]:
    return tuple(
        Swatch(
            name=pixel.words,
            colour=css_colour(pixel.colour) if pixel.colour else "",
            is_hatched=pixel.is_hatched,
            share=shares[pixel.name] if shares else None,
        )
        for pixel in _kinds_of(kind)
    )
