"""How the demo is told on a terminal: what happens now, how far it is, a table at the end."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class Told:
    """Lines and bars; on something that is no terminal, lines only."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True)
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._bars: dict[str, Any] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> "Told":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """One line with the minutes since the start."""
        elapsed = time.monotonic() - self._began
        self.console.print(f"[dim]{elapsed // 60:02.0f}:{elapsed % 60:02.0f}[/dim]  {text}")

    def bar(self, name: str, done: float, total: float) -> None:
        """Show how far something is; its bar appears with the first call."""
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._bars[name], completed=min(done, total), total=total)
        if done >= total > 0 and name not in self._finished:
            self._finished.add(name)
            if not self.console.is_terminal:
                self.say(f"{name}: {total:.0f} done")

    def training(self, name: str) -> Callable[[int, int, float], None]:
        """A training progress callback that moves a bar."""
        return lambda step, steps, _loss: self.bar(name, step, steps)

    def table(self, report: Mapping[str, Any], addresses: Sequence[tuple[str, str]]) -> None:
        """The run in one table, and where to look further."""
        table = Table(title="mIoU on held-out pictures, in points")
        table.add_column("deployed model")
        for condition in report["conditions"]:
            table.add_column(condition, justify="right")
        for number, row in enumerate(report["accuracy_matrix"]):
            name = "before the first round" if number == 0 else f"after release {number}"
            table.add_row(name, *("–" if v is None else f"{100 * v:.1f}" for v in row))
        self.console.print(table)
        for r in report["rounds"]:
            verdict = {True: "released", False: "refused", None: r["state"]}[r["accepted"]]
            self.console.print(
                f"round {r['number']} ({r['condition']}): {r['hard_examples']} of {r['frames']} "
                f"frames annotated, people changed {_percent(r['changed_pixels_share'])} of the "
                f"pixels, {verdict}"
            )
            for reason in r["reasons"]:
                self.console.print(f"    {reason}")
        self.console.print(f"lost {report['lost']}, duplicated {report['duplicated']}")
        for name, address in addresses:
            self.console.print(f"{name:<14} {address}")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
