"""Sedna's local controller, for one job: what it does in each Waiting."""

import logging

from cloud.job.book import JobBook
from cloud.job.conditions import BY_LC, newest_models
from cloud.job.dataset import Cut, forget_oldest_batch, list_bytes, read_index, take_new_lines
from cloud.job.files import JobFiles
from cloud.job.manifest import Manifest
from cloud.job.trigger import condition_holds, timer_holds
from lifelong.errors import SednaError

logger = logging.getLogger(__name__)


class LocalController:
    """Counts lines, triggers rounds, asks for pods, deploys; each stage once a round."""

    def __init__(self, manifest: Manifest, files: JobFiles, book: JobBook) -> None:
        self._manifest = manifest
        self._files = files
        self._book = book
        self._header = ""  # of a csv index

    def train_waiting(self) -> None:
        """Look for new lines; begin a round when the trigger says so."""
        state = self._book.state
        state.eval_is_marked = state.deploy_is_marked = False
        self._read_dataset(state.rounds_begun + 1)
        if not self._may_train():
            return
        number = state.rounds_begun + 1
        if self._book.strikes("lc-restart", number):
            self._forget()
            self._read_dataset(number)
        state.round_number += 1
        data = self._write_list("train", state.pending_train)
        state.pending_train = []
        if self._book.strikes("swallowed-lines", number):
            self._book.save()
            return
        state.rounds_begun = number
        output = self._files.output("train", state.round_number)
        self._book.enter("Train", "Ready", {"input": {"dataURL": data, "outputDir": output}}, BY_LC)

    def _read_dataset(self, number: int) -> None:
        spec = self._manifest.dataset.spec
        self._header, lines = read_index(
            self._files.host(spec.url),
            is_csv=spec.format.lower() == "csv",
            stops_at_long_line=self._book.strikes("long-line", number, once=False),
        )
        cut = Cut(
            train_prob=self._manifest.job.spec.dataset.train_prob,
            is_floored=self._book.strikes("floor-split", number, once=False),
            repeats_eval=self._book.strikes("repeated-eval-lines", number, once=False),
        )
        if take_new_lines(self._book.state, lines, cut):
            self._book.save()

    def _may_train(self) -> bool:
        trigger, count = self._manifest.job.spec.train.trigger, len(self._book.state.pending_train)
        if not count or not condition_holds(
            trigger.condition.metric,
            trigger.condition.operator,
            trigger.condition.threshold,
            count,
        ):
            return False
        timer = trigger.timer
        return timer is None or timer_holds(timer.start, timer.end, self._book.now())

    def eval_waiting(self) -> None:
        """Ask for the eval pod, once; with the newest model that was reported."""
        state = self._book.state
        if state.eval_is_marked:
            return
        if self._book.strikes("lc-restart-eval"):
            self._forget()
        models = newest_models(state.conditions, "Train")
        state.eval_is_marked = True
        if not models:
            state.trouble = "no model was ever reported; the local controller gives Eval up"
            self._book.save()
            return
        data = self._write_list("eval", state.eval_lines)
        output = self._files.output("eval", state.round_number)
        forget_oldest_batch(state)
        given = {"models": models, "dataURL": data, "outputDir": output}
        self._book.enter("Eval", "Ready", {"input": given}, BY_LC)

    def deploy_waiting(self) -> None:
        """Copy the newest accepted model, or say that there is none."""
        if self._book.state.deploy_is_marked:
            return
        models = newest_models(self._book.state.conditions, "Eval")
        if not models:
            self._book.state.deploy_is_marked = True
            self._book.enter("Deploy", "Completed", {}, BY_LC)
            return
        try:
            self._files.deploy(
                str(models[0]["url"]), is_truncated=not self._book.strikes("untruncated-deploy")
            )
        except (SednaError, OSError) as error:
            if self._book.state.trouble != str(error):
                logger.error("deploy: %s", error)
                self._book.state.trouble = str(error)
                self._book.save()
            return  # as Sedna: it tries again at the next tick
        self._book.state.deploy_is_marked = True
        shipped = {"format": models[0].get("format", ""), "url": models[0]["url"]}
        self._book.enter("Deploy", "Ready", {"input": {"models": [shipped]}}, BY_LC)

    def _forget(self) -> None:
        """What a restart of Sedna's local controller does to its memory."""
        state = self._book.state
        state.round_number = state.consumed_lines = 0
        state.pending_train, state.eval_lines, state.eval_batches = [], [], []
        state.eval_is_marked = state.deploy_is_marked = False

    def _write_list(self, kind: str, lines: list[str]) -> str:
        is_csv = self._manifest.dataset.spec.format.lower() == "csv"
        header = self._header if self._manifest.dataset.spec.format == "csv" else ""
        name = "data.csv" if is_csv else "data.txt"
        return self._files.write_list(
            kind, self._book.state.round_number, name, list_bytes(lines, header)
        )
