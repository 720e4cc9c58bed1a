"""The figures of the benches that learn, doubt and protect, in words; see bench/chapters.py."""

from collections.abc import Iterator, Mapping

from bench.figures import Chapter, Figure

_F = Figure
_POINTS = "points"


def _privacy() -> Chapter:
    settings = (("1.0", 0), ("1.0", 8), ("0.1", 8), ("0.05", 16))
    return Chapter(
        sizes="drawn streets, the shipped edge model, which has learned clear weather only",
        figures=tuple(
            _F(name=f"{condition}_{setting.replace('.', '')}_{margin}",
               at=f"{condition}, from {setting}, margin {margin}:pixels_left",
               says=f"pixels of people left, {condition}, blurred from a probability of "
                    f"{float(setting):g} and {margin} pixels around",
               times=100, digits=1, unit="%")
            for condition in ("clear", "dusk", "night") for setting, margin in settings
        ),
    )  # fmt: skip


def _faults() -> Chapter:
    kinds = {
        "kill": "`kill -9`, twice, a new model in between", "cut": "a cut link",
        "cut_tcp": "a cut TCP connection to an S3 server", "flip": "a flipped bit",
        "disk": "a full disk", "clock": "a clock that jumps",
        "deliveries": "deliveries twice, late, in any order",
    }  # fmt: skip
    sums = {
        "lost": "hard frames lost, all faults together", "twice": "there twice",
        "half": "half there", "unverified": "with a mask that no released model made",
        "told": "given up with a reason", "broke": "trials that ended with an error",
    }  # fmt: skip
    return Chapter(
        sizes="a real node and a real inbox, one fault a trial",
        figures=(
            *(_F(name=f"{kind}_struck", says=f"trials that met a node at work: {says}",
                 at=f"{kind}:struck") for kind, says in kinds.items()),
            *(_F(name=name, says=says, at=f"together:{name}") for name, says in sums.items()),
        ),
    )  # fmt: skip


def _novelty() -> Chapter:
    new = {
        "scenes_dusk": "dusk", "scenes_fog": "fog", "scenes_rain": "rain", "scenes_night": "night",
        "class": "streets with truck, bus or train", "class_cells": "the same, cell by cell",
        "camvid_dusk": "CamVid's dusk",
    }  # fmt: skip
    return Chapter(
        peer="softmax",
        sizes="AUROC: the chance that a new picture scores above a familiar one",
        figures=(
            *(_F(name=key, says=f"{says} told from what the model knows", at=f"{key}_novelty",
                 beside=f"{key}_softmax", digits=3, better="") for key, says in new.items()),
            *(_F(name=f"frame_{size}", says=f"a frame of {size} segmented",
                 at=f"segment_ms_{size}", digits=1, unit="ms")
              for size in ("480x360", "640x480")),
            *(_F(name=f"judge_{size}", says=f"judging a frame of {size}, of segmenting it",
                 at=f"judge_share_{size}", times=100, digits=1, unit="%")
              for size in ("480x360", "640x480")),
            *(_F(name=f"mining_{size}", says=f"everything beside the mask, {size}",
                 at=f"mining_share_{size}", times=100, digits=1, unit="%")
              for size in ("480x360", "640x480")),
        ),
    )  # fmt: skip


def _choice() -> Chapter:
    chance = "random, mean (least, most)"
    policies = (
        "entropy", "margin", "least_confidence", "share_below", "flip_consistency", "novelty",
        "cross_entropy", "ibt", "entropy x novelty", "cross_entropy x novelty", "ibt x novelty",
    )  # fmt: skip
    return Chapter(
        peer="chance",
        sizes="points of mIoU, mean of five weathers, after one round of {sizes[steps]} steps "
        "with {sizes[budget]} of {sizes[frames]} frames",
        figures=(
            _F(name="before", says="before the round", at="before:mean", digits=1, unit=_POINTS),
            *(_F(name=policy.replace(" ", "_"), says=f"frames chosen by `{policy}`",
                 at=f"{policy}:mean", beside=f"{chance}:0", digits=1, unit=_POINTS, better="")
              for policy in policies),
            *(_F(name=f"chance.{name}", says=f"chance, {name}", at=f"{chance}:{place}", digits=1,
                 tabled=False) for place, name in enumerate(("mean", "least", "most"))),
        ),
    )  # fmt: skip


def _classes() -> Chapter:
    ways = {
        "ours": "ours", "at_their_word": "at their word", "fine_tuning": "fine-tuning",
        "painted_anew": "all painted anew",
    }  # fmt: skip
    kinds = {
        "old_miou": "old classes", "sidewalk": "sidewalk (new)", "vegetation": "vegetation (new)",
    }  # fmt: skip

    def quoted(steps: int) -> Iterator[Figure]:
        """Of the page's table for so many steps."""
        for way, key in ways.items():
            for kind in (*kinds, "road", "terrain"):
                yield _F(name=f"{way}_{steps}.{kind}", says=f"{kind}, {key}", at=f"{key}:{kind}",
                         digits=1, given=("steps", steps), tabled=False)  # fmt: skip
            yield _F(name=f"{way}_{steps}.seconds", says=f"training, {key}", at=f"{key}:seconds",
                     given=("steps", steps), tabled=False)  # fmt: skip

    return Chapter(
        sizes="points of IoU after {steps} steps; two classes are split off, 24 pictures show them",
        figures=(
            _F(name="before", says="old classes, the first model", at="before:old_miou", digits=1,
               unit=_POINTS),
            *(_F(name=f"before.{name}", says=f"{name}, the first model", at=f"before:{name}",
                 digits=1, tabled=False) for name in ("road", "terrain")),
            *(_F(name=f"{way}.{kind}", says=f"{says}, {key}", at=f"{key}:{kind}", digits=1,
                 unit=_POINTS) for kind, says in kinds.items() for way, key in ways.items()),
            *quoted(200), *quoted(800),
        ),
    )  # fmt: skip


def _conditions() -> Chapter:
    figures = []
    for size in (12, 60):
        four = f"clusters_{'+'.join(('dusk', 'fog', 'rain', 'night'))}_{size}"
        figures += [
            _F(name=f"pairs_{size}", at=f"pairs_{size}_told_apart",
               says=f"pairs of unseen weather, of six, in which two groups are found, "
                    f"{size} pictures of each"),
            _F(name=f"pairs_ari_{size}", says="the worst pair's adjusted Rand index",
               at=f"pairs_{size}_least_ari", digits=2),
            _F(name=f"four_{size}", says=f"groups found for all four at once, {size} of each",
               at=f"{four}_groups"),
            _F(name=f"four_ari_{size}", says="their adjusted Rand index", at=f"{four}_ari",
               digits=2),
        ]  # fmt: skip
    return Chapter(
        sizes="60 clear pictures and unseen weather among them, drawn streets; the shipped model",
        figures=tuple(figures),
    )


def _label_noise() -> Chapter:
    return Chapter(
        sizes="{pictures} drawn streets with six planted errors each",
        figures=(
            _F(name="planted", says="planted errors thick enough to see", at="planted"),
            _F(name="wrong", says="pixels annotated wrongly", at="wrong_pixels", times=100,
               digits=1, unit="%"),
            _F(name="right", says="as many looks as errors: looks that are right",
               at="precision_at_R", times=100, digits=1, unit="%"),
            _F(name="found", says="as many looks as errors: errors found", at="recall_at_R",
               times=100, digits=1, unit="%"),
            _F(name="right_2", says="twice as many: looks that are right", at="precision_at_2R",
               times=100, digits=1, unit="%"),
            _F(name="found_2", says="twice as many: errors found", at="recall_at_2R", times=100,
               digits=1, unit="%"),
            _F(name="chance", says="pieces of the annotations at random that are wrong",
               at="found_by_chance", times=100, digits=1, unit="%"),
        ),
    )  # fmt: skip


def _leakage() -> Chapter:
    return Chapter(
        sizes="CamVid's hold-outs in eleven disguises each",
        figures=(
            _F(name="found", says="disguised hold-out pictures found", at="together:found"),
            _F(name="of", says="of so many", at="together:of"),
            _F(name="faintest", says="likeness of the faintest", at="together:least", digits=2),
            _F(name="honest", says="honest training pictures", at="together:honest"),
            _F(name="false_alarms", says="of them taken for a copy", at="together:false_alarms"),
            _F(name="likest_day", says="likeness of the likest honest one, day",
               at="day:likest_honest", digits=2),
            _F(name="likest_dusk", says="likeness of the likest honest one, dusk",
               at="dusk:likest_honest", digits=2),
            _F(name="ms_each", says="looking for one picture", at="together:ms_each", unit="ms"),
        ),
    )  # fmt: skip


def _labels() -> Chapter:
    return Chapter(
        peer="random",
        sizes="points of mIoU on CamVid's dusk after one round",
        figures=(
            _F(name="all", says="all labels", at="all 1.0:mean", digits=1, unit=_POINTS),
            _F(name="quarter", says="a quarter of the labels, chosen", at="ours 0.25:mean",
               beside="random 0.25:mean", digits=1, unit=_POINTS, better=""),
            _F(name="quarter_share", says="the same, of what all labels give",
               at="ours 0.25:of_full", beside="random 0.25:of_full", times=100, digits=1, unit="%",
               better=""),
        ),
    )  # fmt: skip


def _lifelong() -> Chapter:
    ours, naive = "strategies:ours", "strategies:naive"
    return Chapter(
        peer="naive",
        sizes="points of mIoU on hold-outs, before and after what the strategy learned",
        figures=(
            *(_F(name=f"{domain}_{when}", says=f"{domain}, {when}", at=f"{ours}:{at}:{domain}",
                 beside=f"{naive}:{at}:{domain}", times=100, digits=1, unit=_POINTS, better="")
              for domain in ("clear", "day", "dusk")
              for when, at in (("before", "start"), ("after", "final"))),
            _F(name="bwt", says="backward transfer", at=f"{ours}:bwt", beside=f"{naive}:bwt",
               times=100, digits=1, unit=_POINTS, better=""),
            _F(name="seconds", says="training", at=f"{ours}:seconds", beside=f"{naive}:seconds",
               unit="s"),
        ),
    )  # fmt: skip


def _students() -> Chapter:
    names = ("fast_cnn", "lraspp_mobilenet_v3", "segformer_b0")
    return Chapter(
        sizes="domains {domains[0]} and {domains[1]}, one thread",
        figures=(
            *(figure for name in names for figure in (
                _F(name=f"{name}.parameters", says=f"`{name}`, parameters",
                   at=f"students:{name}:parameters", times=1e-6, digits=2, unit="M"),
                _F(name=f"{name}.gflops", says=f"`{name}`, arithmetic of a picture",
                   at=f"students:{name}:gflops", digits=2, unit="GFLOPs"),
                _F(name=f"{name}.ms", says=f"`{name}`, a frame, of the processor",
                   at=f"students:{name}:cpu_p50_ms", digits=1, unit="ms"),
                _F(name=f"{name}.together", says=f"`{name}`, mIoU of both domains together",
                   at=f"students:{name}:miou:together", digits=1, unit=_POINTS),
            )),
            _F(name="steps", says="steps that `fast_cnn` was trained",
               at="students:fast_cnn:steps"),
        ),
    )  # fmt: skip


LEARNING: Mapping[str, Chapter] = {
    "privacy": _privacy(),
    "faults": _faults(),
    "novelty": _novelty(),
    "choice": _choice(),
    "classes": _classes(),
    "conditions": _conditions(),
    "label_noise": _label_noise(),
    "leakage": _leakage(),
    "labels": _labels(),
    "lifelong": _lifelong(),
    "students": _students(),
}
