"""The figures of each bench that matter to a reader, in words.

Everything else that a bench finds stands in its file under bench/results. A page quotes a figure as
`BENCH.NAME`, the peer's as `BENCH.NAME.peer`, and the ratio as `BENCH.NAME.ratio`.
"""

from collections.abc import Mapping

from bench.chapters_of_learning import LEARNING
from bench.figures import Chapter, Figure

_F = Figure


def _vote() -> Chapter:
    return Chapter(
        peer="SSA's loop",
        sizes="{masks} masks on {height} x {width} pixels, {threads} thread",
        figures=(
            _F(name="seconds", says="the vote of all masks with a class map, time of the processor",
               at="our_seconds", beside="peer_seconds", unit="s", digits=3),
            _F(name="masks", says="masks", at="masks", tabled=False),
            _F(name="equal", says="same map and same classes, bit for bit", at="equal"),
        ),
    )  # fmt: skip


def _engine() -> Chapter:
    figures = []
    for place, masks in enumerate((5, 50, 200)):
        at = f"by_masks:{place}"
        figures += [
            _F(name=f"calls_{masks}", says=f"calls of models for {masks} masks",
               at=f"{at}:our_calls", beside=f"{at}:peer_calls"),
            _F(name=f"runs_{masks}", says="runs of encoders and decoders",
               at=f"{at}:our_runs_together", beside=f"{at}:peer_runs_together"),
            _F(name=f"runs_known_{masks}", says="the same when the texts are known",
               at=f"{at}:our_runs_texts_known_together", tabled=False),
            _F(name=f"seconds_{masks}", says=f"time of the processor, {masks} masks",
               at=f"{at}:our_seconds", beside=f"{at}:peer_seconds", unit="s", digits=1),
            _F(name=f"equal_{masks}", says=f"same names of {masks} masks", at=f"{at}:equal"),
        ]  # fmt: skip
    return Chapter(
        peer="SSA's engine, mask by mask",
        sizes="small random networks, pictures of {height} x {width} pixels, {threads} thread",
        figures=tuple(figures),
    )


def _masks() -> Chapter:
    return Chapter(
        peer="segment-anything",
        sizes="{height} x {width} pixels, {settings[points_per_side]} clicks a side, the tiny SAM",
        figures=(
            _F(name="seconds", says="masks of a whole picture",
               at="our_seconds", beside="peer_seconds", unit="s", digits=1),
            _F(name="cpu_seconds", says="the same in seconds of the processor",
               at="our_cpu_seconds", beside="peer_cpu_seconds", unit="s", digits=1),
            _F(name="peak_mib", says="most memory of the process",
               at="our_peak_mib", beside="peer_peak_mib", unit="MiB"),
            _F(name="found", says="masks found", at="masks", beside="peer_masks", better=""),
            _F(name="equal", says="the same masks", at="equal"),
        ),
    )  # fmt: skip


def _drafts() -> Chapter:
    beside = {
        "ssa": ("SSA", "SSA"), "bgr": ("SSA in BGR, as it really reads", "SSA in BGR, as it is"),
        "semantic": ("the semantic model alone", "semantic branch alone"),
    }  # fmt: skip
    return Chapter(
        peer="the other",
        sizes="{pictures} of the {pictures_of}, {timed_pictures} of them timed; SSA is a plain "
        "reading of it on the tiny SAM with {points_per_side} clicks a side",
        figures=(
            _F(name="seconds", says="time of the timed pictures, beside SSA",
               at="our_seconds", beside="peer_seconds", unit="s", digits=1),
            *(_F(name=f"miou_{name}", says=f"mIoU of our default, beside {says}", at="miou:ours",
                 beside=f"miou:{key}", digits=3, better="")
              for name, (says, key) in beside.items()),
            _F(name="equal", says="our reading of SSA gives SSA's masks and votes", at="equal"),
        ),
    )  # fmt: skip


def _rle() -> Chapter:
    kinds = {
        "ragged": "a mask with ragged edges", "blobs": "a mask of blobs", "noise": "noise",
    }  # fmt: skip
    return Chapter(
        peer="Label Studio's SDK",
        sizes="{size[0]} x {size[1]} pixels",
        figures=tuple(
            figure
            for kind, says in kinds.items()
            for figure in (
                *(_F(name=f"{kind}_{way}", says=f"{way}s {says}", at=f"{kind}:{way}_seconds:ours",
                     beside=f"{kind}:{way}_seconds:sdk", unit="s", digits=4)
                  for way in ("encode", "decode")),
                _F(name=f"{kind}_equal", says=f"the same bytes, {says}", at=f"{kind}:equal"),
            )
        ),
    )  # fmt: skip


def _exports() -> Chapter:
    return Chapter(
        peer="Label Studio's converter",
        figures=(
            *(figure for tasks in (1_000, 5_000, 10_000, 100_000) for figure in (
                _F(name=f"per_s_{tasks}", says=f"pictures a second, {tasks:,} tasks",
                   at=f"pictures_per_s_{tasks}_1_workers"),
                _F(name=f"peak_{tasks}", says=f"most memory of the process, {tasks:,} tasks",
                   at=f"peak_mib_{tasks}_1_workers", unit="MiB"),
            )),
            _F(name="brush", says="200 tasks with brush strokes",
               at="ours_s_200_brush_tasks", beside="label_studio_sdk_s_200_brush_tasks",
               unit="s", digits=1),
            _F(name="polygons", says="1,000 tasks with five small polygons",
               at="ours_s_1000_polygons_tasks",
               beside="label_studio_sdk_s_1000_polygons_tasks", unit="s", digits=1),
        ),
    )  # fmt: skip


def _queue() -> Chapter:
    quantities = {
        "conditions": ("conditions met", "conditions", 0, ""),
        "not_clear": ("pictures not clear", "of_new_conditions", 0, ""),
        "rare": ("rare classes among the pixels", "rare_permille", 1, "‰"),
    }
    told, quoted = [], []
    for budget in (8, 16, 32):
        drawn = f"random of {budget}, mean (least, most) of 20"
        for name, (says, key, digits, unit) in quantities.items():
            told.append(
                _F(name=f"of_{budget}.{name}", says=f"{says}, a budget of {budget}",
                   at=f"expected_value of {budget}:{key}", beside=f"{drawn}:{key}:0", better="",
                   digits=digits, unit=unit)
            )  # fmt: skip
            # The page's table is of 200 streets.
            for strategy in ("expected_value", "entropy", "margin", "bald"):
                at = f"{strategy} of {budget}:{key}"
                quoted.append((f"{strategy}_{budget}.{name}", at, digits))
            for place, which in enumerate(("mean", "least", "most")):
                exact = digits if place else max(digits, 1 if unit else 2)
                quoted.append((f"random_{budget}.{name}_{which}", f"{drawn}:{key}:{place}", exact))
    return Chapter(
        peer="random, mean of 20",
        sizes="{waiting} drawn streets wait, most of them in clear weather, which the model knows; "
        "`expected_value` chooses",
        figures=(
            *told,
            *(_F(name=name, says=name, at=at, digits=digits, given=("waiting", 200), tabled=False)
              for name, at, digits in quoted),
        ),
    )  # fmt: skip


def _edge() -> Chapter:
    frames = [
        _F(name=f"{kind}_{threads}", at=f"threads_{threads}:{kind}:ms",
           beside=f"threads_{threads}:eager:ms", unit="ms", digits=1,
           says=f"a frame, {kind}, {threads} thread{'s' if threads > 1 else ''}")
        for threads in (1, 2) for kind in ("fp32", "fp16", "int8")
    ]  # fmt: skip
    return Chapter(
        peer="PyTorch eager",
        sizes="{frames} frames of {size[1]} x {size[0]} pixels, 19 classes",
        figures=(
            *frames,
            _F(name="frames", says="frames", at="frames", tabled=False),
            _F(name="int8_loss", says="mIoU that int8 loses", at="losses:int8:miou",
               times=100, digits=2, unit="points"),
            _F(name="int8_agrees", says="pixels of which int8 says the same as fp32",
               at="losses:int8:agreement", times=100, digits=2, unit="%"),
            *(_F(name=f"mask_{size}", says=f"the mask of {size} alone, beside all classes enlarged",
                 at=f"mask:{size}:ours_ms", beside=f"mask:{size}:plain_ms", unit="ms", digits=1)
              for size in ("480x320", "1280x720")),
            _F(name="peak_mib", says="most memory of an edge process, fp32",
               at="process:fp32:peak_mib", unit="MiB"),
            _F(name="mining", says="what mining adds to a frame", at="process:fp32:mining_adds",
               times=100, digits=1, unit="%"),
        ),
    )  # fmt: skip


def _assist() -> Chapter:
    over = "over the bare decoder"
    return Chapter(
        peer="the bare decoder",
        sizes="pictures of {size[1]} x {size[0]} pixels, model {model}, {threads} thread",
        figures=(
            _F(name="second_click", says="a second click on a picture, over HTTP", at="ms:0",
               beside="ms:decoder", unit="ms", digits=1),
            _F(name="second_click_500", says="the same with 500 regions in the request",
               at="ms:500", beside="ms:decoder", unit="ms", digits=1),
            _F(name="further_click", says="a further click on the same object", at="ms:further",
               beside="ms:further_decoder", unit="ms", digits=1),
            _F(name="first_click", says=f"first click after embedding beforehand, {over}",
               at="first_click_after_prefetch_over_decoder", unit="x", digits=2),
            _F(name="other_masks", says="masks other than the decoder's",
               at="masks_other_than_the_decoders"),
        ),
    )  # fmt: skip


def _fleet() -> Chapter:
    acts = {
        "report": "a report", "poll": "a poll for a release", "deliver": "a sample delivered",
        "admit": "a sample admitted",
    }  # fmt: skip
    return Chapter(
        sizes="store: a {store}; sizes take turns",
        figures=(
            *(_F(name=f"{act}_by_nodes", says=f"{says}: cost with the most nodes over the fewest",
                 at=f"flat_{act}_by_nodes", unit="x", digits=2) for act, says in acts.items()),
            *(_F(name=f"{act}_by_samples",
                 says=f"{says}: cost with the most samples admitted before over the fewest",
                 at=f"flat_{act}_by_samples", unit="x", digits=2)
              for act, says in acts.items() if act != "report"),
            _F(name="rollout_step", says="a look of a roll-out at all nodes",
               at="rollout_step_ms", unit="ms", digits=1),
            _F(name="peak_mib", says="most memory, all nodes of all stores in one process",
               at="peak_mib", unit="MiB"),
        ),
    )  # fmt: skip


def _knowledge() -> Chapter:
    return Chapter(
        sizes="{samples:,} samples of 12 classes in {changes:,} changes of {per_change}",
        figures=(
            _F(name="open", says="opening", at="cpu_open", unit="s of the processor", digits=2),
            _F(name="open_by_log", says="opening by the log alone",
               at="cpu_open_without_checkpoint",
               unit="s of the processor", digits=2),
            _F(name="refresh", says="a look for changes when there are none", at="refresh_ms",
               unit="ms", digits=2),
            _F(name="verify", says="`kb verify`", at="cpu_verify", unit="s of the processor",
               digits=2),
            _F(name="forget", says="emptying entries of forgotten samples", at="cpu_forget_log",
               unit="s of the processor", digits=2),
            _F(name="log", says="the log", at="log_mib", unit="MiB", digits=1),
            _F(name="peak_mib", says="most memory", at="peak_mib", unit="MiB"),
        ),
    )  # fmt: skip


def _monitor() -> Chapter:
    return Chapter(
        sizes="200 rounds, 10,000 samples, 500 edge nodes; and ten times as much",
        figures=(
            *(_F(name=f"slowest_page_x{n}", says=f"the slowest page, median, {size}",
                 at=f"slowest_page_p50_ms_x{n}", unit="ms")
              for n, size in ((1, "at that size"), (10, "ten times as much"))),
            *(_F(name=f"slowest_answer_x{n}", says=f"the slowest single answer, {size}",
                 at=f"slowest_answer_ms_x{n}", unit="ms")
              for n, size in ((1, "at that size"), (10, "ten times as much"))),
            _F(name="growth", says="the page that grew most: ten times as much over that size",
               at="most_growth_x10", unit="x", digits=2),
            *(_F(name=f"memory_x{n}", says=f"memory of the process, {size}",
                 at=f"memory_mib_x{n}", unit="MiB")
              for n, size in ((1, "at that size"), (10, "ten times as much"))),
        ),
    )  # fmt: skip


def _label_studio() -> Chapter:
    return Chapter(
        peer="the bare SDK",
        sizes="{tasks} tasks of {size[1]} x {size[0]} pixels; the SDK gets ready-made tasks",
        figures=(
            _F(name="tasks", says="tasks", at="tasks", tabled=False),
            _F(name="push", says="drafts pushed, beside an import of ready-made tasks",
               at="ours:push_s", beside="sdk:import_s", unit="s", digits=1),
            _F(name="pull", says="corrections pulled, beside listing the tasks", at="ours:pull_s",
               beside="sdk:list_s", unit="s", digits=1),
            _F(name="pull_export", says="the same, beside an export", at="ours:pull_s",
               beside="sdk:export_s", unit="s", digits=1),
            _F(name="push_again", says="everything pushed again, nothing new",
               at="ours:push_again_s", unit="s", digits=1),
            _F(name="peak_mib", says="most memory of the process", at="peak_mib_of_our_process",
               beside="peak_mib_of_the_sdk", unit="MiB", better=""),
        ),
    )  # fmt: skip


CHAPTERS: Mapping[str, Chapter] = {
    "vote": _vote(),
    "engine": _engine(),
    "masks": _masks(),
    "drafts": _drafts(),
    "rle": _rle(),
    "exports": _exports(),
    "queue": _queue(),
    "edge": _edge(),
    "assist": _assist(),
    "fleet": _fleet(),
    "knowledge": _knowledge(),
    "monitor": _monitor(),
    "label_studio": _label_studio(),
    **LEARNING,
}
