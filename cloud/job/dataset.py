"""The local controller's eye on the Dataset's index: new lines, cut into train and eval.

Of the lines that arrive together the first int(trainProb · n) train, the rest examine. Blank
lines and `#` lines count too, as in Sedna; workers pass over them. Where Sedna loses lines the
local job does not, unless a fault asks for it: a single line trains, eval lines come once, a
long line does not end the file.
"""

from dataclasses import dataclass
from pathlib import Path

from cloud.job.states import JobState

LONGEST_LINE = 65536  # bytes; Go's scanner gives up there, silently
EVAL_BATCHES = 5  # retained by Sedna for repeating


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How new lines are taken; the defaults lose nothing."""

    train_prob: float
    is_floored: bool = False
    repeats_eval: bool = False
    stops_at_long_line: bool = False


def read_index(path: Path, *, is_csv: bool, stops_at_long_line: bool) -> tuple[str, list[str]]:
    """Header (csv only) and sample lines; a last line without its end is still being written."""
    if not path.exists():
        return "", []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if stops_at_long_line:
        long = [i for i, line in enumerate(lines) if len(line.encode()) >= LONGEST_LINE]
        lines = lines[: long[0]] if long else lines
    return (lines[0], lines[1:]) if is_csv and lines else ("", lines)


def take_new_lines(state: JobState, lines: list[str], cut: Cut) -> int:
    """Move lines that were not counted yet into the state; answers how many they are."""
    new = lines[state.consumed_lines :]
    if not new:
        return 0
    train = int(cut.train_prob * len(new))
    if not cut.is_floored:
        train = max(1, train)  # floored to nothing, a trickle of single lines would never train
    state.pending_train.extend(new[:train])
    state.eval_batches.append(new[train:])
    if cut.repeats_eval:
        state.eval_lines.extend(line for batch in state.eval_batches for line in batch)
    else:
        state.eval_lines.extend(new[train:])
    state.consumed_lines = len(lines)
    return len(new)


def forget_oldest_batch(state: JobState) -> None:
    """As Sedna does after each Eval: lines that were appended stay."""
    if len(state.eval_batches) > EVAL_BATCHES:
        state.eval_batches = state.eval_batches[1:]


def list_bytes(lines: list[str], header: str) -> bytes:
    """Content of `data.txt`, or of `data.csv` with its header."""
    head = [header] if header else []
    return "".join(f"{line}\n" for line in (*head, *lines)).encode()
