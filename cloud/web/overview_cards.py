"""The overview's four answers in words: each one sentence, one figure, one link."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from cloud.monitor.last_model import LastModel, last_failure, last_model
from cloud.monitor.look import Look
from cloud.monitor.loop_health import Sign, health_of, low_disks
from cloud.monitor.rollback_effect import RollbackEffect, previous_release, previous_rollback
from cloud.monitor.rounds_facts import TaskMiou
from cloud.monitor.who_waits import Wait, waits
from cloud.web.parts import Parts
from cloud.web.site import FILTERS
from cloud.web.studio_links import workplace
from lifelong.records.rounds import Round

Tone = Literal["good", "bad", "busy", "calm"]
_TASKS_TOLD = 3
_MORE_TOLD = 4
_EVEN = 0.0005  # of mIoU: what is nearer to 0 is shown as 0.0 points


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where an answer is explained."""

    words: str
    page: str  # an address of ours, or a whole one of somebody else's


class _Question(TypedDict):
    card_id: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One answer."""

    card_id: str
    question: str
    tone: Tone
    word: str  # the answer in a word, for those who do not see the tone
    figure: str
    unit: str
    sentence: str
    link: Link
    more: Sequence[Link] = ()  # further ones, gravest first


def cards(parts: Parts, look: Look) -> list[Card]:
    """The four answers, in the order people ask."""
    return [
        _healthy(parts, look),
        _waiting(parts, look),
        _helped(look),
        _back(look),
    ]


# -- is it healthy? --------------------------------------------------------------------------


def _healthy(parts: Parts, look: Look) -> Card:
    health = look.fact(health_of)
    standing = parts.vitals.standing(parts.look, parts.site.trouble(), parts.site.now())
    own = [Sign(words=fault.words, page="/queues") for fault in standing.faults]
    signs = [*own, *low_disks(parts.vitals.seen().free_bytes), *health.signs]
    grave = sum(sign.is_grave for sign in signs)
    moved = ""
    if health.moved_at is not None:
        moved = f"the loop last moved {_span((look.at - health.moved_at).total_seconds())} ago"
    about: _Question = {"card_id": "healthy", "question": "Is the loop healthy?"}
    if not signs:
        nodes = f"{health.reporting} of {health.nodes} edge nodes report" if health.nodes else ""
        told = "; ".join(part for part in (nodes, moved) if part)
        return Card(
            **about,
            tone="good",
            word="healthy",
            figure="Yes",
            unit="",
            sentence=_sentence(told or "nothing has happened yet, and nothing is wrong"),
            link=Link(words="All edge nodes", page="/edges"),
        )
    first = signs[0]
    count = grave or len(signs)
    kind = "trouble" if grave else "warning"
    remedy = f" What to do: {first.remedy}." if first.remedy else ""
    return Card(
        **about,
        tone="bad" if grave else "busy",
        word="look at it" if grave else "yes, but",
        figure=str(count),
        unit=kind if count == 1 else f"{kind}s",
        sentence=_sentence(first.words) + remedy,
        link=Link(words="Where to look", page=first.page),
        more=[Link(words=_capital(sign.words), page=sign.page) for sign in signs[1:_MORE_TOLD]],
    )


# -- what waits for whom? --------------------------------------------------------------------


def _waiting(parts: Parts, look: Look) -> Card:
    found = waits(look, parts.config.rounds)
    about: _Question = {"card_id": "waits", "question": "What waits for whom?"}
    if not found:
        told = "no round is open" if look.rounds else "no round has begun: the service begins one"
        return Card(
            **about,
            tone="calm",
            word="nobody",
            figure="Nobody",
            unit="",
            sentence=_sentence(f"nothing waits for anybody; {told}"),
            link=Link(words="All queues", page="/queues"),
        )
    first = found[0]
    since = ""
    if first.since is not None:
        since = f", for {_span((look.at - first.since).total_seconds())} now"
    count = "–" if first.count is None else str(first.count)
    verb = "waits" if first.count == 1 else "wait"
    sentence = (
        f"the loop waits for hard examples from {first.whom}{since}; {first.words}"
        if first.is_supply
        else f"{count} {first.what} {verb} for {first.whom}{since}; {first.words}"
    )
    return Card(
        **about,
        tone="busy" if first.needs_person else "calm",
        word=f"for {first.whom}",
        figure=count,
        unit=first.what,
        sentence=_sentence(sentence),
        link=_link_of(parts, look, first),
        more=[
            Link(words=f"{one.count} {one.what}: {one.words}", page=one.page)
            for one in found[1:_MORE_TOLD]
        ],
    )


def _link_of(parts: Parts, look: Look, wait: Wait) -> Link:
    if wait.whom == "people":
        place = workplace(parts.config, look)
        if place.address:
            return Link(words="Open them in Label Studio", page=place.address)
    return Link(words="Look at them", page=wait.page)


# -- did the last model help? ----------------------------------------------------------------


def _helped(look: Look) -> Card:
    about: _Question = {"card_id": "helped", "question": "Did the last model help?"}
    model = look.fact(last_model)
    failed = look.fact(last_failure)
    if failed is not None:
        return _failed(about, failed, model)
    if model is None:
        runs = "the first model runs" if look.current else "nothing is released"
        return Card(
            **about,
            tone="calm",
            word="not known",
            figure="–",
            unit="",
            sentence=_sentence(f"no candidate has been examined yet; {runs}"),
            link=Link(words="All rounds", page="/rounds"),
        )
    link = Link(words=f"Round {model.round_number}", page=f"/rounds/{model.round_number}")
    change = model.mean.change if model.mean else None
    figure, unit = _points(change), "points mIoU"
    if model.accepted is False or (model.accepted is None and model.reasons):
        why = _plain(model.reasons[0]) if model.reasons else "no reason was recorded"
        runs = f"release {model.running.number} still runs" if model.running else "nothing runs"
        return Card(
            **about,
            tone="bad",
            word="refused",
            figure=figure,
            unit=unit,
            sentence=f"It was refused: {why}; {runs}.",
            link=link,
            more=[Link(words=_capital(reason), page=link.page) for reason in model.reasons[1:4]],
        )
    return Card(
        **about,
        tone="calm" if change is None else "good" if change > _EVEN else "busy",
        word=_verdict(change),
        figure=figure,
        unit=unit,
        sentence=_sentence(_gains(model)),
        link=link,
        more=[Link(words=_backward(model), page="/learning")] if model.backward is not None else (),
    )


def _failed(about: _Question, failed: Round, model: LastModel | None) -> Card:
    why = _plain(failed.failure or "no reason was recorded")
    before = f"; the last examined candidate is of round {model.round_number}" if model else ""
    return Card(
        **about,
        tone="bad",
        word="failed",
        figure="–",
        unit="",
        sentence=f"There is none: round {failed.number} failed, {why}{before}.",
        link=Link(words=f"Round {failed.number}", page=f"/rounds/{failed.number}"),
    )


def _verdict(change: float | None) -> str:
    if change is None:
        return "nothing to compare with"
    return "yes" if change > _EVEN else "no" if change < -_EVEN else "hardly"


def _gains(model: LastModel) -> str:
    if model.mean is None:
        after = ", ".join(f"{one.task} {100 * one.after:.1f}" for one in model.tasks[:_TASKS_TOLD])
        return f"nothing ran before it; mIoU {after}" if after else "it was examined on nothing"
    mean = f"mean mIoU {100 * (model.mean.before or 0):.1f} → {100 * model.mean.after:.1f}"
    better = _told_tasks(model.better, "better")
    worse = _told_tasks(model.worse, "worse") or "nothing got worse"
    return "; ".join(part for part in (mean, better, worse) if part)


def _told_tasks(tasks: Sequence[TaskMiou], word: str) -> str:
    told = ", ".join(f"{one.task} {_points(one.change)}" for one in tasks[:_TASKS_TOLD])
    rest = f" and {len(tasks) - _TASKS_TOLD} more" if len(tasks) > _TASKS_TOLD else ""
    return f"{word}: {told}{rest}" if told else ""


def _backward(model: LastModel) -> str:
    value = model.backward or 0.0
    return f"Since they were learned, earlier tasks changed by {_points(value)} points (BWT)"


# -- what would rolling back lose? -----------------------------------------------------------


def _back(look: Look) -> Card:
    about: _Question = {"card_id": "back", "question": "What would rolling back lose?"}
    effect, release = look.fact(previous_rollback), previous_release(look)
    if effect is None or release is None:
        runs = "only one model was ever released" if look.current else "nothing is released yet"
        return Card(
            **about,
            tone="calm",
            word="nothing to go back to",
            figure="–",
            unit="",
            sentence=_sentence(f"there is nothing to go back to: {runs}"),
            link=Link(words="All releases", page="/releases"),
        )
    change = effect.mean_change
    return Card(
        **about,
        tone="calm",
        word=f"back to release {release.number}",
        figure=_points(change),
        unit="points mIoU" if change is not None else "",
        sentence=_sentence(_loss(effect)),
        link=Link(
            words=f"Compare with release {release.number}", page=f"/releases/{release.number}"
        ),
    )


def _loss(effect: RollbackEffect) -> str:
    lost = ", ".join(f"{t.task} {_points(t.change)}" for t in effect.lost[:_TASKS_TOLD])
    gained = ", ".join(f"{t.task} {_points(t.change)}" for t in effect.gained[:_TASKS_TOLD])
    parts = []
    if effect.mean_change is None:
        parts.append("the two versions were never examined on the same learning tasks")
    else:
        parts.append(f"lost: {lost}" if lost else "no learning task would lose")
        if gained:
            parts.append(f"won back: {gained}")
        if not effect.same_examination:
            parts.append("by different examinations")
    rounds = len(effect.undone_rounds)
    of_rounds = f"{rounds} round" if rounds == 1 else f"{rounds} rounds"
    samples = effect.undone_samples
    parts.append(f"{samples} sample{'' if samples == 1 else 's'} of {of_rounds} unlearned")
    nodes = len(effect.edges)
    parts.append(f"{nodes} edge node{'' if nodes == 1 else 's'} would change")
    return "; ".join(parts)


# -- words -----------------------------------------------------------------------------------


def _points(change: float | None) -> str:
    """A change of mIoU in points.

    >>> [_points(x) for x in (None, 0.0123, -0.03, 0.0001)]
    ['–', '+1.2', '−3.0', '0.0']
    """
    if change is None:
        return "–"
    if abs(change) < _EVEN:
        return "0.0"
    return f"{'+' if change > 0 else '−'}{abs(100 * change):.1f}"


def _span(seconds: float) -> str:
    return FILTERS["span"](max(0.0, seconds))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _plain(words: str) -> str:
    return words.rstrip(" .;")


def _sentence(words: str) -> str:
    told = _capital(_plain(words))
    return told if told.endswith("?") else f"{told}."
