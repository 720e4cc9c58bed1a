"""The demo: the whole loop on one machine with every real part, told as it runs.

It plays three roles that the system itself does not have: the camera (pictures appear in the
edge's folder), the annotator (through Label Studio's API, or it waits for a person), and the
operator who starts the processes again when they die. Everything else is the product: an edge
process, `cornerloop serve`, `cornerloop job run`, a Label Studio server.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.label_studio_server import LabelStudioServer
from cloud.assembly import Cloud
from cloud.demo.camera import Camera
from cloud.demo.children import Children
from cloud.demo.people import People
from cloud.demo.plan import DemoPlan
from cloud.demo.report import Run, write_report
from cloud.demo.told import Told
from lifelong.errors import LifelongError, ObjectNotFoundError
from lifelong.records.keys import TRAINING_PROGRESS
from lifelong.records.pixels import mask_from_png
from lifelong.records.rounds import Round, RoundState


class Demo:
    """One run in one folder; running it again goes on where it stood."""

    def __init__(
        self,
        *,
        folder: Path,
        plan: DemoPlan,
        cloud: Cloud,
        camera: Camera,
        children: Children,
        studio: LabelStudioServer,
        people: People,
        begin: Callable[[Told], None],
        forget: Callable[[], None],
        commands: Mapping[str, tuple[str, ...]],
        told: Told,
        link: Callable[[], str],
    ) -> None:
        """Args:
        begin: makes the first model and releases it; nothing happens when there is one.
        forget: changes the configuration so that the next candidate forgets.
        commands: name and `python -m` arguments of the processes to run.
        link: makes an address of the monitor that lets one person in, once.
        """
        self._folder = folder
        self._plan = plan
        self._cloud = cloud
        self._camera = camera
        self.children = children
        self.studio = studio
        self._people = people
        self._begin = begin
        self._forget = forget
        self._commands = commands
        self._told = told
        self.link = link

    def run(self, *, stay: bool, while_open: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Run to the end; with `stay`, keep the servers open until Ctrl-C.

        Args:
            while_open: called when the last round is over and everything still runs.
        """
        with ExitStack() as stack:
            stack.enter_context(self._told)
            self._prepare(stack)
            for index, condition in enumerate(self._phases()):
                self._play(index, condition)
            report = self._report()
            self._told.table(report, self._addresses(stay=stay))
            while_open()
            if stay:
                self._told.say("Servers stay open. Ctrl-C ends them.")
                self._wait_for_ctrl_c()
        return report

    # -- preparing ---------------------------------------------------------------------------

    def _prepare(self, stack: ExitStack) -> None:
        for name in self.children.end_leftovers():
            self._told.say(f"ended {name}, left over from an earlier run")
        self._told.say("starting Label Studio (the first start makes its database: a minute)")
        starting = _InBackground(self.studio.start)
        stack.callback(self.studio.stop)
        self._begin(self._told)
        starting.join()
        self.children.note("label-studio", self.studio.process_id)
        self._people.start(stack)
        self._told.say(f"Label Studio is up at {self.studio.url}")
        stack.callback(self.children.end_all)
        for name, arguments in self._commands.items():
            self.children.start(name, *arguments)
        self._told.say("edge, cloud and job are running")
        self._told.say(f"watch the loop, as operator (the link works once): {self.link()}")
        if not self._rounds_with_examples():
            self._camera.show(self._plan.start, self._plan.known_frames)
            self._told.say(
                f"the camera shows {self._plan.known_frames} frames in {self._plan.start}, "
                "the condition that the edge's model knows"
            )

    def _phases(self) -> tuple[str, ...]:
        extra = (self._camera.for_refusal(self._plan),) if self._plan.show_refusal else ()
        return (*self._plan.conditions, *extra)

    # -- one round ---------------------------------------------------------------------------

    def _play(self, index: int, condition: str) -> None:
        """Play the round of one condition to its end."""
        done = self._rounds_with_examples()
        if len(done) > index and done[index].is_over:
            return
        if index >= len(self._plan.conditions):
            self._told.say("the next candidate is trained without any defence, to see it refused")
            self._forget()
        self._wait_for_edge()
        self._told.say(f"[bold]round {index + 1}[/bold]: the weather turns to {condition}")
        waiting_since = time.monotonic()
        state: RoundState | None = None
        while True:
            for name in self.children.look_after():
                self._told.say(f"{name} had ended; started again")
            self._people.look_after()
            self.children.note("label-studio", self.studio.process_id)
            rounds = self._rounds_with_examples()
            round_ = rounds[index] if len(rounds) > index else None
            if round_ is None and not self._camera.is_ahead(condition):
                self._camera.show(condition, self._plan.frames_at_once)
            if round_ is not None:
                if round_.state is not state:
                    state, waiting_since = round_.state, time.monotonic()
                self._tell(round_)
                if round_.is_over:
                    self._tell_end(round_)
                    return
            if state is RoundState.ANNOTATING and self._people.is_a_person:
                waiting_since = time.monotonic()  # who corrects may take a day for it
            elif time.monotonic() - waiting_since > self._plan.patience_s:
                raise LifelongError(self._stuck(condition, round_))
            time.sleep(0.3)

    def _tell(self, round_: Round) -> None:
        name = f"round {round_.number}"
        if round_.state is RoundState.PREANNOTATING:
            drafts = [k for k in self._keys(f"drafts/{round_.number}") if k.endswith(".png")]
            self._told.bar(f"{name}: drafting masks", len(drafts), len(round_.examples))
        if round_.tasks:
            self._told.bar(f"{name}: drafting masks", len(round_.tasks), len(round_.tasks))
            finished = self._people.finished(round_)
            if round_.state is RoundState.ANNOTATING:
                self._people.ask(round_)
            else:
                finished = len(round_.tasks)
            self._told.bar(f"{name}: people correct", finished, len(round_.tasks))
        if round_.state is RoundState.TRAINING:
            progress = self._training_progress()
            if progress.get("round") == round_.number:
                self._told.bar(f"{name}: training", progress["step"], progress["steps"])

    def _tell_end(self, round_: Round) -> None:
        if round_.state is RoundState.RELEASED:
            self._told.say(f"round {round_.number}: released {round_.candidate}")
        for reason in round_.decision.reasons if round_.decision else (round_.failure,):
            self._told.say(f"round {round_.number} {round_.state}: {reason}")

    def _wait_for_edge(self) -> None:
        """Until the edge runs what is released and has seen what the camera showed."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self.children.look_after()
            release = self._cloud.releases.current()
            health = self._health()
            runs = release is None or health.get("version") == release.version_id
            if runs and self._camera.all_seen():
                return
            time.sleep(0.3)

    def _stuck(self, condition: str, round_: Round | None) -> str:
        if round_ is None:
            return (
                f"no round began in {condition} within {self._plan.patience_s:.0f} s: the edge "
                f"kept too few hard examples; see {self.children.log('edge')}"
            )
        return (
            f"round {round_.number} is {round_.state} for {self._plan.patience_s:.0f} s; "
            f"see {self.children.log('cloud')} and {self.children.log('job')}"
        )

    # -- looking -----------------------------------------------------------------------------

    def _rounds_with_examples(self) -> list[Round]:
        return [r for r in self._cloud.rounds.all() if r.examples]

    def _training_progress(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._cloud.storage.get(TRAINING_PROGRESS)))
        except (ObjectNotFoundError, ValueError):
            return {}

    def _keys(self, prefix: str) -> list[str]:
        return list(self._cloud.storage.keys(prefix))

    def _health(self) -> dict[str, Any]:
        return self._camera.edge_health()

    def _report(self) -> dict[str, Any]:
        self._wait_for_edge()
        self._cloud.kb.refresh()
        edge_state = self._folder / "edge-state"
        return write_report(
            Run(
                storage=self._cloud.storage,
                kb=self._cloud.kb,
                releases=self._cloud.releases,
                # Leftover examples may have begun one more round; it is not part of this story.
                rounds=self._rounds_with_examples()[: len(self._phases())],
                label_map=self._cloud.label_map,
                truth=truth_in(self._folder / "truth"),
                conditions=self._plan.measured,
                frames_by_condition=self._camera.shown(),
                edge_health=self._health(),
                edge_frames=self._camera.seen(),
                edge_journal=edge_state / "journal",
                twin_tasks=self._people.twin_tasks([r.number for r in self._cloud.rounds.all()]),
            ),
            self._folder,
        )

    def _addresses(self, *, stay: bool) -> list[tuple[str, str]]:
        written = [("report", str(self._folder / "report.html"))]
        if not stay:  # an address that nobody answers at any more helps nobody
            return [
                *written,
                ("servers", "end with this run; in a terminal, or by --stay, they stay"),
            ]
        return [
            *written,
            ("monitor", f"{self.link()}  (lets one person in, once, within a day)"),
            ("Label Studio", f"{self.studio.url}  ({self.studio.email} / {self.studio.password})"),
        ]

    def _wait_for_ctrl_c(self) -> None:
        try:
            while True:
                self.children.look_after()
                time.sleep(1)
        except KeyboardInterrupt:
            self._told.say("ending")


def truth_in(folder: Path) -> Callable[[Mapping[str, str]], NDArray[np.uint8] | None]:
    """The exact labels of a frame by the edge's own name for it; None when there are none."""

    def truth(attributes: Mapping[str, str]) -> NDArray[np.uint8] | None:
        path = folder / f"{attributes.get('frame', '')}.png"
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            return None
        return mask_from_png(path.read_bytes(), str(path))

    return truth


class _InBackground:
    """Run something in a thread and meet its error at `join`."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()

    def _run(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:
            self._error.append(error)

    def join(self) -> None:
        self._thread.join()
        if self._error:
            raise self._error[0]
