"""`/pictures/…`: frames, overlays and difference maps of samples that a round knows.

Names in addresses are looked up among the records of a look; keys of storage come from there. The
work is done by two threads of its own, so that a page full of pictures keeps no other page waiting.
"""

import asyncio
import html
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from cloud.access.permissions import Permission, needs
from cloud.monitor.candidate_answers import Answer, CandidateAnswers
from cloud.monitor.rounds_facts import rounds_by_number
from cloud.monitor.sample_pictures import KINDS, SamplePictures
from cloud.monitor.sample_records import SampleRecords, samples_of
from cloud.web.parts import Parts
from lifelong.errors import LifelongError, ObjectNotFoundError
from lifelong.records.ids import RoundNumber, sha256_hex
from lifelong.records.rounds import Round

# Browsers may keep a picture, but ask each time whether they may still show it: it may have been
# forgotten, or its viewer have left.
_KEPT = "private, no-cache"
_MOST_NUMBER = 10**9

Number = Annotated[int, Path(ge=1, le=_MOST_NUMBER)]
Width = Annotated[Literal["240", "480", "960"] | None, Query()]
SampleName = Annotated[str, Path(max_length=64)]


def add_pictures(
    app: FastAPI, parts: Parts, pictures: SamplePictures, answers: CandidateAnswers
) -> None:
    """`/pictures/{kind}/{round}/{sample}`."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])
    artists = ThreadPoolExecutor(max_workers=2, thread_name_prefix="pictures")

    @router.get("/pictures/{kind}/{number}/{sample}", response_class=Response)
    async def picture(
        request: Request,
        kind: Annotated[str, Path(max_length=20)],
        number: Number,
        sample: SampleName,
        width: Width = None,
    ) -> Response:
        """JPEG, PNG for maps, or an SVG that says in words why there is none."""
        # The very first look reads storage: no other request may wait for that.
        round_, records = await run_in_threadpool(found, parts, number, sample)
        if kind not in KINDS:
            raise HTTPException(404, f"no such kind of picture; there are {', '.join(KINDS)}")
        pixels = int(width) if width else None
        tag = f'"{pictures.tag(records, kind, pixels, round_.candidate or "")}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=_headers(tag))
        answer = answer_of(round_, records, answers) if "after" in KINDS[kind].needs else None
        if "after" in KINDS[kind].needs and (answer is None or answer.standing != "ready"):
            return _instead_of(answer)
        return await asyncio.get_running_loop().run_in_executor(
            artists, _drawn, lambda: pictures.draw(
                records, kind, pixels, answer.mask if answer else None
            ), kind, tag,
        )  # fmt: skip

    @router.get("/pictures/heat/{number}", response_class=Response)
    async def heat(request: Request, number: Number) -> Response:
        """PNG: where in the picture people changed drafts, over all of a round."""
        round_ = await run_in_threadpool(found_round, parts, number)
        samples = samples_of(round_)
        told = [pictures.tag(one, "people", None, "") for one in samples]
        tag = f'"{sha256_hex(repr(told).encode())[:24]}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=_headers(tag))
        return await asyncio.get_running_loop().run_in_executor(
            artists, _drawn, lambda: pictures.draw_heat(samples), "people", tag
        )

    app.include_router(router)


def found(parts: Parts, number: int, sample: str) -> tuple[Round, SampleRecords]:
    """The round and its sample, as the look has them.

    Raises:
        HTTPException: 404, there is no such round, or no such sample in it (any more).
    """
    round_ = found_round(parts, number)
    for records in samples_of(round_):
        if records.sample_id == sample:
            return round_, records
    raise HTTPException(404, f"round {number} has no such sample, or it was forgotten")


def found_round(parts: Parts, number: int) -> Round:
    """
    Raises:
        HTTPException: 404, there is no such round.
    """
    round_ = parts.look().fact(rounds_by_number).get(RoundNumber(number))
    if round_ is None:
        raise HTTPException(404, f"there is no round {number}")
    return round_


def answer_of(round_: Round, records: SampleRecords, answers: CandidateAnswers) -> Answer | None:
    """What is known of the candidate's answer; None: the round has no candidate."""
    return answers.ask(round_.candidate, records) if round_.candidate else None


def _drawn(draw: Callable[[], bytes], kind: str, tag: str) -> Response:
    try:
        data = draw()
    except ObjectNotFoundError:
        return _words("no longer in storage", 404)
    except LifelongError as error:
        return _words(str(error), 503 if error.retryable else 422)
    media_type = "image/png" if KINDS[kind].is_map else "image/jpeg"
    return Response(data, media_type=media_type, headers=_headers(tag))


def _instead_of(answer: Answer | None) -> Response:
    if answer is None:
        return _words("no candidate", 404)
    if answer.standing == "waiting":
        return _words("being computed", 503)
    return _words(answer.why, 404)


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": _KEPT}


def _words(why: str, status: int) -> Response:
    """A picture that says why there is none: browsers show it whatever the status is."""
    lines = [html.escape(line) for line in _broken(why, 30)[:6]]
    said = "".join(
        f'<text x="120" y="{88 + 18 * (place - len(lines) // 2)}" text-anchor="middle" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="#777">{line}</text>'
        for place, line in enumerate(lines)
    )
    return Response(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 180" width="240" height="180">'
        f'<rect width="240" height="180" fill="#8883"/>{said}</svg>',
        status_code=status,
        media_type="image/svg+xml",
        headers={"Cache-Control": "no-store", **({"Retry-After": "2"} if status == 503 else {})},
    )


def _broken(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word[:width]}".strip()
        if len(joined) > width:
            lines.append(word[:width])
        else:
            lines[-1] = joined
    return lines
