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

    def words(self, *, quick: bool) -> tuple[str, ...]:
        """What stands behind `python -m`."""
        chosen = self.quick if quick and self.quick is not None else self.full
        return (f"bench.{self.name}", *chosen)

    def lacking(self) -> str:
        """Why it cannot run here; empty: it can."""
        return "; ".join(how for path, how in self.needs if not path.exists())


_PICTURES = ((CAMVID, "CamVid's pictures are not part of this repository"),)
PLAN: tuple[Planned, ...] = (
    Planned(
        name="vote", what="the vote of masks with a class map, beside SSA's loop",
        full=("--json",), quick=("--repeats", "2", "--masks", "100", "--json"),
        pages=("README.md", "docs/drafts.md"),
    ),
    Planned(
        name="engine", what="naming masks in words, beside SSA's engine",
        full=("--json",), quick=("--masks", "5", "50", "--json"),
        pages=("docs/open-vocabulary.md",),
    ),
    Planned(
        name="masks", what="masks of a whole picture, beside segment-anything",
        full=("--json",),
        quick=("--height", "256", "--width", "512", "--points-per-side", "16", "--json"),
        pages=("docs/drafts.md", "docs/sam-variants.md"),
    ),
    Planned(
        name="drafts", what="how right drafts are, beside SSA and the semantic model alone",
        full=("--json",), quick=("--pictures", "4", "--timed", "1", "--json"),
        pages=("docs/drafts.md",),
    ),
    Planned(
        name="rle", what="brush RLE, beside Label Studio's SDK",
        full=("--json",), quick=("--height", "720", "--width", "1280", "--json"),
        pages=("docs/annotation.md",),
    ),
    Planned(
        name="exports", what="exports that grow, beside Label Studio's converter",
        full=("--json",), quick=("--sizes", "1000,5000", "--workers", "1", "--json"),
        pages=("docs/formats.md",),
    ),
    Planned(
        name="queue", what="what a round's budget finds, beside random choice",
        full=("--json",), quick=("--waiting", "80", "--budgets", "8", "16", "--json"),
        pages=("docs/annotation.md",),
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
        full=("--trials", "1000", "--json"), quick=("--trials", "3", "--json"),
        pages=("docs/edge.md",),
    ),
    Planned(
        name="novelty", what="how well a model tells what is new, and what mining costs a frame",
        full=("--json",), quick=("--only", "mining", "--frames", "60", "--json"),
        pages=("docs/novelty.md", "docs/edge.md"),
    ),
    Planned(
        name="choice", what="mIoU after a round with the same number of labels, chosen or random",
        full=("--json",), quick=None, pages=("docs/novelty.md",),
    ),
    Planned(
        name="classes", what="adding classes: old ones kept, new ones learned",
        full=("--json",), quick=None, pages=("docs/classes.md",),
    ),
    Planned(
        name="conditions", what="conditions found among unseen pictures",
        full=("--json",), quick=None, pages=("docs/conditions.md",),
    ),
    Planned(
        name="label_noise", what="planted label errors that are found",
        full=("--json",), quick=("--seeds", "0", "--pictures", "8", "--json"),
        pages=("docs/labels.md",),
    ),
    Planned(
        name="leakage", what="pictures that train and examine as well",
        full=("--data", _CAMVID), quick=("--data", _CAMVID), pages=("docs/learning.md",),
        needs=_PICTURES,
    ),
    Planned(
        name="labels", what="what chosen labels are worth",
        full=("--data", _CAMVID, "--json"), quick=None,
        pages=("docs/labels.md", "docs/learning.md"), needs=_PICTURES,
    ),
    Planned(
        name="lifelong", what="learning without forgetting, beside the baselines",
        full=("--data", _CAMVID, "--domains", "day,dusk", "--seeds", "3", "--json"), quick=None,
        pages=("docs/learning.md",), needs=_PICTURES,
    ),
    Planned(
        name="students", what="networks for edges, beside each other",
        full=("--data", _CAMVID, "--json"), quick=None, pages=("docs/students.md",),
        needs=_PICTURES,
    ),
    Planned(
        name="label_studio", what="push and pull, beside the bare SDK",
        full=("--json",), quick=("--tasks", "50", "--json"), pages=("docs/annotation.md",),
        needs=((LABEL_STUDIO, "no .venv-label-studio; `make setup` installs it"),),
    ),
)  # fmt: skip
