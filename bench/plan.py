"""Every bench that stands behind a figure of the pages: its command, in full and quick, its needs.

`python -m bench` runs them, `python -m bench.table` writes docs/benchmarks.md from what they found.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
LABEL_STUDIO = ROOT / ".venv-label-studio" / "bin" / "label-studio"
_CAMVID = "../shared/data/camvid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One bench."""

    name: str  # of the module bench.NAME, and of its result
    what: str  # the question it answers
    full: tuple[str, ...]  # words behind `python -m bench.NAME`
    quick: tuple[str, ...] | None  # a minute or so; None: it has no quick form
    pages: tuple[str, ...]  # where its figures are quoted
    needs: tuple[tuple[Path, str], ...] = ()  # what must be there, and how to get it
    quick_needs: tuple[tuple[Path, str], ...] | None = None  # where small sizes need less

    def words(self, *, quick: bool) -> tuple[str, ...]:
        """What stands behind `python -m`."""
        chosen = self.quick if quick and self.quick is not None else self.full
        return (f"bench.{self.name}", *chosen)

    def is_small(self, *, quick: bool) -> bool:
        """Whether the quick form measures less than the full one."""
        return quick and self.words(quick=True) != self.words(quick=False)

    def lacking(self, *, quick: bool) -> str:
        """Why it cannot run here; empty: it can."""
        needs = self.needs
        if quick and self.quick is not None and self.quick_needs is not None:
            needs = self.quick_needs
        return "; ".join(how for path, how in needs if not path.exists())


_PICTURES = ((CAMVID, "CamVid's pictures are not part of this repository"),)
_SMALL_STREETS = ("--height", "64", "--width", "96")
PLAN: tuple[Planned, ...] = (
    Planned(
        name="vote", what="the vote of masks with a class map, beside SSA's loop",
        full=("--json",), quick=("--repeats", "2", "--masks", "100", "--json"),
        pages=("README.md", "docs/README.zh.md", "docs/drafts.md"),
    ),
    Planned(
        name="engine", what="naming masks in words, beside SSA's engine",
        full=("--json",), quick=("--masks", "5", "50", "--json"),
        pages=("docs/open-vocabulary.md", "docs/drafts.md"),
    ),
    Planned(
        name="masks", what="masks of a whole picture, beside segment-anything",
        full=("--json",),
        quick=(
            "--height", "256", "--width", "512", "--points-per-side", "16", "--seed", "12",
            "--threads", "1", "--json",
        ),
        pages=("docs/drafts.md",),
    ),
    Planned(
        name="drafts", what="how right drafts are, beside SSA and the semantic model alone",
        full=("--json",),
        quick=("--pictures", "5", "--timed", "1", "--points-per-side", "8", "--json"),
        pages=("docs/drafts.md",),
    ),
    Planned(
        name="rle", what="brush RLE, beside Label Studio's SDK",
        full=("--json",), quick=("--height", "720", "--width", "1280", "--json"),
        pages=("docs/annotation.md", "docs/annotation.zh.md"),
    ),
    Planned(
        name="exports", what="exports that grow, beside Label Studio's converter",
        full=("--json",), quick=("--sizes", "1000,5000", "--workers", "1", "--json"),
        pages=("docs/formats.md",),
    ),
    Planned(
        name="queue", what="what a round's budget finds, beside random choice",
        full=("--json",), quick=("--waiting", "80", "--budgets", "8", "16", "--json"),
        pages=("docs/annotation.md", "docs/annotation.zh.md"),
    ),
    Planned(
        name="edge", what="an edge node's frame, beside PyTorch eager",
        full=("--json",), quick=("--frames", "60", "--json"), pages=("docs/edge.md",),
    ),
    Planned(
        name="assist", what="clicks over HTTP, beside the bare decoder and the peers",
        full=("--json",),
        quick=("--only", "clicks", "--model", "tiny", "--clicks", "10", "--json"),
        pages=("docs/assist.md",),
    ),
    Planned(
        name="fleet", what="what a node and a sample cost as the fleet grows",
        full=("--json",), quick=("--nodes", "10", "100", "--samples", "100", "500", "--json"),
        pages=("docs/fleet.md",),
    ),
    Planned(
        name="knowledge", what="what the knowledge base costs as it grows",
        full=("--json",), quick=("--samples", "5000", "--json"), pages=("docs/knowledge-base.md",),
    ),
    Planned(
        name="monitor", what="how fast the monitor's pages answer, and ten times as much",
        full=("--json",), quick=("--quick", "--json"),
        pages=("docs/monitor.md",),
    ),
    Planned(
        name="privacy", what="people the privacy filter misses",
        full=("--json",), quick=("--pictures", "10", "--json"), pages=("docs/edge.md",),
    ),
    Planned(
        name="faults", what="fault trials of node and delivery: nothing lost, twice or half there",
        full=("--trials", "1000", "--json"),
        quick=("--trials", "8", "--again", "--out", "runs/faults/quick", "--json"),
        pages=("docs/edge.md",),
    ),
    Planned(
        name="novelty", what="how well a model tells what is new, and what mining costs a frame",
        full=("--json",),
        quick=("--only", "weather", "mining", "--pictures", "20", "--frames", "60", "--json"),
        pages=("docs/novelty.md",),
    ),
    Planned(
        name="choice", what="mIoU after a round with the same number of labels, chosen or random",
        full=("--json",),
        quick=(
            "--policies", "entropy", "cross_entropy", "novelty", "--random", "1",
            "--frames", "100", "--budget", "8", "--holdout", "10", "--steps", "60", "--json",
        ),
        pages=("docs/novelty.md",),
    ),
    Planned(
        name="classes", what="adding classes: old ones kept, new ones learned",
        full=(*_SMALL_STREETS, "--first-steps", "1000", "--steps", "800", "--json"),
        quick=(*_SMALL_STREETS, "--first-steps", "1000", "--steps", "200", "--json"),
        pages=("docs/classes.md",),
    ),
    Planned(
        name="conditions", what="conditions found among unseen pictures",
        full=("--json",), quick=("--only", "clusters", "alike", "--json"),
        pages=("docs/conditions.md",),
    ),
    Planned(
        name="label_noise", what="planted label errors that are found",
        full=("--weather", "clear", "--json"),
        quick=("--weather", "clear", "--seeds", "0", "--json"),
        pages=("docs/labels.md",),
    ),
    Planned(
        name="leakage", what="pictures that train and examine as well",
        full=("--data", _CAMVID), quick=("--data", _CAMVID), pages=("docs/learning.md",),
        needs=_PICTURES,
    ),
    Planned(
        name="labels", what="what chosen labels are worth",
        full=("--data", _CAMVID, "--json"),
        quick=(
            "--data", _CAMVID, "--seeds", "1", "--strategies", "random,ours", "--steps", "50",
            "--json",
        ),
        pages=("docs/labels.md", "docs/learning.md"), needs=_PICTURES,
    ),
    Planned(
        name="lifelong", what="learning without forgetting, beside the baselines",
        full=(
            "--data", _CAMVID, "--domains", "day,dusk", "--seeds", "3",
            "--out", "runs/lifelong/bench", "--json",
        ),
        quick=(
            "--scenes", "clear,dusk", "--strategies", "ours,naive", "--new", "12",
            "--holdout", "10", "--set", "steps=100", "--json",
        ),
        pages=("docs/learning.md",), needs=_PICTURES, quick_needs=(),
    ),
    Planned(
        name="students", what="networks for edges, beside each other",
        full=("--data", _CAMVID, "--json"),
        quick=(
            "--data", _CAMVID, "--names", "fast_cnn", "--steps", "100",
            "--untrained", "lraspp_mobilenet_v3,segformer_b0", "--frames", "60", "--json",
        ),
        pages=("docs/students.md",), needs=_PICTURES,
    ),
    Planned(
        name="label_studio", what="push and pull, beside the bare SDK",
        full=("--json",), quick=("--tasks", "50", "--json"),
        pages=("docs/annotation.md", "docs/annotation.zh.md"),
        needs=((LABEL_STUDIO, "no .venv-label-studio; `make setup` installs it"),),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Figures of a page that were measured in full, and of which no result is kept."""

    page: str
    what: str
    command: str  # that measures them again, as a reader types it


_E = Elsewhere
ELSEWHERE: tuple[Elsewhere, ...] = (
    _E(page="docs/drafts.md", what="how right drafts are, 50 drawn scenes",
       command="python -m bench.drafts --json"),
    _E(page="docs/drafts.md", what="the same on CamVid's day, a model trained for 75 minutes",
       command="python -m bench.drafts --json --frames ../shared/data/camvid/day --train 75 "
               "--weights FILE"),
    _E(page="docs/drafts.md", what="masks of 1024 x 2048 pixels beside segment-anything",
       command="python -m bench.masks --seed 12 --json"),
    _E(page="docs/assist.md", what="clicks with ViT-B, annotators, precision, ONNX, quality; peers",
       command="python -m bench.assist --json --peer peer --peer-python peer-env/bin/python"),
    _E(page="docs/assist.md", what="memory over 100,000 clicks",
       command="python -m bench.assist --only memory --json"),
    _E(page="docs/annotation.md", what="what a round's budget finds among 200 streets",
       command="python -m bench.queue --json"),
    _E(page="docs/formats.md", what="exports of up to 100,000 tasks",
       command="python -m bench.exports --json"),
    _E(page="docs/edge.md", what="frames on an idle machine",
       command="python -m bench.edge --json --frames 100"),
    _E(page="docs/edge.md", what="people left, 40 streets of each condition",
       command="python -m bench.privacy --json"),
    _E(page="docs/edge.md", what="a thousand faults of each kind",
       command="python -m bench.faults --trials 1000 --json"),
    _E(page="docs/fleet.md", what="1,000 nodes, 5,000 samples",
       command="python -m bench.fleet --json"),
    _E(page="docs/knowledge-base.md", what="100,000 samples",
       command="python -m bench.knowledge --json"),
    _E(page="docs/novelty.md", what="novelty of CamVid's dusk and of new classes",
       command="python -m bench.novelty --json"),
    _E(page="docs/novelty.md", what="what choosing is worth, every policy, two cameras",
       command="python -m bench.choice --stream 1 --json"),
    _E(page="docs/classes.md", what="classes added, 800 steps (and `--steps 200`)",
       command="python -m bench.classes --first-steps 1000 --steps 800 --height 64 --width 96 "
               "--json"),
    _E(page="docs/conditions.md", what="CamVid's dusk among its day",
       command="python -m bench.conditions --only camvid --json"),
    _E(page="docs/labels.md", what="rounds on a tenth and a quarter of the labels",
       command="python -m bench.labels --data ../shared/data/camvid --shares 0.1 0.25 --json"),
    _E(page="docs/labels.md", what="what planted errors cost a round",
       command="python -m bench.label_noise --weather clear --seeds 1 --steps 200 --json"),
    _E(page="docs/learning.md", what="CamVid, day and then dusk, three seeds",
       command="python -m bench.lifelong --data ../shared/data/camvid --domains day,dusk "
               "--seeds 3 --json"),
    _E(page="docs/learning.md", what="five drawn conditions in a row, beside Avalanche's replay",
       command="python -m bench.lifelong --scenes clear,dusk,fog,rain,night --avalanche PYTHON "
               "--json"),
    _E(page="docs/students.md", what="students trained for 600 or 1,200 steps",
       command="python -m bench.students --data ../shared/data/camvid --json"),
)  # fmt: skip
