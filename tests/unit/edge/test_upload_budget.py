"""EDGE-05, TR-06: budgets that no clock and no kill can cheat, and that keep the day's best."""

import heapq
import json
import zlib
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.boot_clock import Moment, read_moment
from edge.delivery.budget_orders import BudgetOrders
from edge.delivery.upload_budget import Budget, Limits
from edge.delivery.upload_ledger import DAY_S, HOUR_S, Ledger
from lifelong.errors import StorageUnavailableError
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId
from lifelong.records.wire import to_json
from lifelong.sections.delivery import UploadSection
from tests.builders import NOON
from tests.edge_fixtures import FlakyStorage, HandClock

MIB = 2**20


class Machine:
    """A clock that is wound by hand, and a machine that can be booted anew."""

    def __init__(self) -> None:
        self.boots, self.up, self.wall = 1, 1000.0, NOON.timestamp()

    def __call__(self) -> Moment:
        return Moment(f"boot {self.boots}", self.up, self.wall)

    def advance(self, seconds: float) -> None:
        self.up += seconds
        self.wall += seconds

    def boot(self, off_s: float, wall_jump_s: float = 0.0) -> None:
        self.boots += 1
        self.up = 30.0
        self.wall += off_s + 30.0 + wall_jump_s


@pytest.fixture
def machine() -> Machine:
    return Machine()


def opened(folder: Path, machine: Machine) -> Ledger:
    return Ledger(folder / "uploads.jsonl", machine)


def spent_today(ledger: Ledger) -> int:
    return ledger.bytes_since(ledger.now() - DAY_S)


def test_edge_05_what_was_spent_is_known_after_a_kill_at_any_byte_of_the_ledger(tmp_path, machine):
    """A line is whole before its bytes leave: what is torn never left."""
    ledger = opened(tmp_path, machine)
    path, sizes = tmp_path / "uploads.jsonl", []
    for number in range(1, 6):
        machine.advance(10)
        ledger.spend(1000 * number)
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for length in range(sizes[1], len(whole) + 1):
        path.write_bytes(whole[:length])
        expected = sum(1000 * n for n, size in enumerate(sizes, 1) if size - 1 <= length)
        assert spent_today(opened(tmp_path, machine)) == expected


def test_edge_05_a_flipped_byte_costs_its_own_line_only(tmp_path, machine):
    ledger = opened(tmp_path, machine)
    for _ in range(3):
        ledger.spend(1000)
    path = tmp_path / "uploads.jsonl"
    data = bytearray(path.read_bytes())
    middle = path.read_bytes().splitlines(keepends=True)
    data[len(middle[0]) + len(middle[1]) + 40] ^= 1
    path.write_bytes(bytes(data))
    assert spent_today(opened(tmp_path, machine)) == 2000


@pytest.mark.parametrize("jump", [10 * DAY_S, -10 * DAY_S, -60 * 365 * DAY_S])
def test_edge_05_a_clock_that_jumps_while_the_machine_runs_changes_nothing(tmp_path, machine, jump):
    ledger = opened(tmp_path, machine)
    ledger.spend(1000)
    machine.wall += jump
    assert spent_today(ledger) == 1000
    assert spent_today(opened(tmp_path, machine)) == 1000  # the node was started again
    machine.advance(DAY_S + 1)
    assert spent_today(opened(tmp_path, machine)) == 0


@pytest.mark.parametrize(
    ("off_s", "jump_s", "left"),
    [
        (DAY_S + 900, 0.0, 0),  # a day switched off is a day
        (HOUR_S, 0.0, 1000),
        (DAY_S + 900, -DAY_S, 1000),  # set back: the node waits longer
        (60.0, -40 * 365 * DAY_S, 1000),  # no battery: it wakes up in 1970
        (60.0, 3 * DAY_S, 0),  # set ahead: one budget too early, see below
    ],
)
def test_edge_05_across_a_boot_the_wall_clock_is_believed_within_limits(
    tmp_path, machine, off_s, jump_s, left
):
    opened(tmp_path, machine).spend(1000)
    machine.boot(off_s, jump_s)
    assert spent_today(opened(tmp_path, machine)) == left


def test_edge_05_a_clock_set_ahead_during_a_reboot_costs_one_budget_and_no_more(tmp_path, machine):
    opened(tmp_path, machine).spend(1000)
    machine.advance(900)
    machine.boot(60, 1000 * DAY_S)
    ledger = opened(tmp_path, machine)
    machine.advance(900)
    assert spent_today(ledger) == 0
    ledger.spend(1000)
    for _ in range(5):  # restarts of the process within the boot bring nothing more
        assert spent_today(opened(tmp_path, machine)) == 1000
        machine.wall += 100 * DAY_S


def test_edge_05_a_clock_that_jumped_before_a_reboot_is_not_believed_across_it(tmp_path, machine):
    ledger = opened(tmp_path, machine)
    ledger.spend(1000)
    machine.wall += 5 * DAY_S
    ledger.spend(1)
    machine.boot(5 * DAY_S)
    ledger = opened(tmp_path, machine)
    assert spent_today(ledger) == 1001
    machine.advance(DAY_S + 1)
    assert spent_today(ledger) == 0


def test_edge_05_what_left_slowly_counts_from_when_it_had_left(tmp_path, machine):
    ledger = opened(tmp_path, machine)
    ledger.spend(1000)
    machine.advance(300)
    ledger.left()
    machine.advance(DAY_S - 200)
    assert spent_today(ledger) == 1000
    machine.advance(201)
    assert spent_today(ledger) == 0
    ledger.spend(500)
    machine.advance(400)  # killed while it left: it may have left until the restart
    again = opened(tmp_path, machine)
    machine.advance(DAY_S - 10)
    assert spent_today(again) == 500


def test_edge_05_the_ledger_stays_small_and_keeps_its_sums(tmp_path, machine, monkeypatch):
    monkeypatch.setattr("edge.delivery.upload_ledger.REWRITTEN_FROM", 100)
    ledger = opened(tmp_path, machine)
    for _ in range(1000):
        machine.advance(1)
        ledger.spend(10, samples=1)
    assert spent_today(ledger) == spent_today(opened(tmp_path, machine)) == 10_000
    assert ledger.samples_since(0.0) == 1000
    assert len((tmp_path / "uploads.jsonl").read_bytes().splitlines()) <= 120


def test_edge_05_a_disk_that_takes_no_line_stops_no_delivery_and_gets_it_later(tmp_path, machine):
    ledger = opened(tmp_path, machine)
    path = tmp_path / "uploads.jsonl"
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    ledger.spend(1000)
    assert spent_today(ledger) == 1000
    path.rmdir()
    path.write_bytes(kept)
    ledger.spend(1)
    assert spent_today(opened(tmp_path, machine)) == 1001


def test_lines_of_the_ledger_carry_their_checksum(tmp_path, machine):
    opened(tmp_path, machine).spend(7, samples=1)
    line = (tmp_path / "uploads.jsonl").read_bytes().splitlines()[-1]
    check, _, body = line.partition(b" ")
    assert int(check, 16) == zlib.crc32(body)
    assert json.loads(body)["bytes"] == 7


def test_the_boot_clock_of_this_machine_counts_up_within_one_boot():
    one, other = read_moment(), read_moment()
    assert one.boot == other.boot != ""
    assert 0 <= one.up <= other.up


# -- a day -----------------------------------------------------------------------------------

Floats = NDArray[np.float64]


def arrivals(kind: str, seed: int, count: int = 1200) -> tuple[Floats, Floats, Floats]:
    """(moments, values, bytes) of a day's hard frames; sizes as CamVid's JPEGs spread."""
    random = np.random.default_rng([seed, len(kind)])
    at = np.sort(random.uniform(0, DAY_S, count))
    sizes = random.lognormal(np.log(300e3), 0.15, count)
    quiet, hard = random.beta(2, 8, count), random.beta(8, 3, count)
    match kind:
        case "even":
            values = random.uniform(0, 1, count)
        case "few are worth much":
            values = np.minimum(1.0, 0.02 * (1 + random.pareto(1.2, count)))
        case "bursts":
            bursts = random.uniform(0, DAY_S, 5)
            inside = np.any((at[:, None] > bursts) & (at[:, None] < bursts + 1800), axis=1)
            values = np.where(inside, hard, quiet)
        case "bad night":
            values = np.where(at > 20 * HOUR_S, hard, quiet)
        case "bad morning":
            values = np.where(at < 6 * HOUR_S, hard, quiet)
        case "ever better":
            values = np.clip(at / DAY_S + random.normal(0, 0.1, count), 0, 1)
        case "ever worse":
            values = np.clip(1 - at / DAY_S + random.normal(0, 0.1, count), 0, 1)
        case "late flood":  # nine of ten frames come within two hours of the evening
            at = np.sort(np.where(random.random(count) < 0.9, random.uniform(20, 22, count) / 24
                                  * DAY_S, at))  # fmt: skip
            values = np.where((at > 20 * HOUR_S) & (at < 22 * HOUR_S), hard, quiet)
    return at, values, sizes


KINDS = ["even", "few are worth much", "bursts", "bad night", "bad morning", "ever better",
         "ever worse", "late flood"]  # fmt: skip


def oracle(values: Floats, sizes: Floats, per_day: float) -> float:
    """Value of the best subset within the bytes, knowing the whole day; the last one in part.

    The bound of the knapsack problem by its linear relaxation (Dantzig 1957): no choice can be
    worth more.
    """
    best = np.argsort(-values / sizes)
    total = np.cumsum(sizes[best])
    whole = int(np.searchsorted(total, per_day, side="right"))
    value = float(values[best][:whole].sum())
    if whole < len(best):
        room = per_day - (total[whole - 1] if whole else 0.0)
        value += float(values[best][whole] * room / sizes[best][whole])
    return value


def day_of(
    folder: Path, section: UploadSection, at: Floats, values: Floats, sizes: Floats, days: int = 1
) -> tuple[float, list[tuple[float, float]]]:
    """Value of what left within the day, and (moment, bytes) of everything that did."""
    machine = Machine()
    budget = Budget(section, Ledger(folder / "uploads.jsonl", machine))
    waiting: list[tuple[float, float, float, float]] = []
    arriving = deque(zip(at, values, sizes, strict=True))
    sent, value, mean, began = [], 0.0, float(sizes.mean()), machine.up
    while machine.up - began < days * DAY_S - 1:
        machine.advance(60)
        now = machine.up - began
        while arriving and arriving[0][0] <= now:
            moment, worth, size = arriving.popleft()
            key = -worth / size if section.max_mib_per_day else -worth
            heapq.heappush(waiting, (key, moment, worth, size))
        while waiting and budget.may_begin(int(waiting[0][3]), mean):
            _, _, worth, size = heapq.heappop(waiting)
            budget.spend(int(size), samples=1)
            budget.left()
            sent.append((now, size))
            value += worth
    return value, sent


def most_within(sent: list[tuple[float, float]], seconds: float) -> tuple[float, int]:
    """The most bytes and samples that left in any `seconds`."""
    window: deque[tuple[float, float]] = deque()
    most_bytes, most_samples, total = 0.0, 0, 0.0
    for moment, size in sent:
        window.append((moment, size))
        total += size
        while window[0][0] <= moment - seconds:
            total -= window.popleft()[1]
        most_bytes, most_samples = max(most_bytes, total), max(most_samples, len(window))
    return most_bytes, most_samples


@pytest.mark.parametrize("share", [0.1, 0.4])
@pytest.mark.parametrize("kind", KINDS)
def test_edge_05_a_day_stays_within_its_bytes_and_keeps_nine_tenths_of_an_oracles_value(
    tmp_path, kind, share
):
    at, values, sizes = arrivals(kind, seed=1)
    per_day = share * float(sizes.sum())
    section = UploadSection(max_mib_per_day=per_day / MIB)
    value, sent = day_of(tmp_path, section, at, values, sizes)
    assert most_within(sent, DAY_S)[0] <= per_day
    assert value >= 0.9 * oracle(values, sizes, per_day)


@pytest.mark.parametrize("kind", ["bursts", "bad night"])
def test_edge_05_any_24_hours_of_three_days_stay_within_the_budget(tmp_path, kind):
    days = [arrivals(kind, seed) for seed in range(3)]
    at = np.concatenate([day[0] + number * DAY_S for number, day in enumerate(days)])
    values, sizes = (np.concatenate([day[i] for day in days]) for i in (1, 2))
    per_day = 0.2 * float(days[0][2].sum())
    section = UploadSection(max_mib_per_day=per_day / MIB, max_samples_per_hour=40)
    _, sent = day_of(tmp_path, section, at, values, sizes, days=3)
    assert most_within(sent, DAY_S)[0] <= per_day
    assert most_within(sent, HOUR_S)[1] <= 40
    assert sum(size for _, size in sent) >= 2.8 * per_day  # and it is used


def hourly_oracle(at: Floats, values: Floats, per_hour: int) -> float:
    """Value of the best subset with `per_hour` slots in each hour, none before its frame came.

    Jobs of one length with release times: taking the most valuable that still fits, each in the
    first slot that is free, is best (a matroid).
    """
    free = list(range(24 * per_hour + 1))

    def first_free(slot: int) -> int:
        while free[slot] != slot:
            free[slot] = slot = free[free[slot]]
        return slot

    value = 0.0
    for job in np.argsort(-values):
        slot = first_free(int(at[job] // HOUR_S) * per_hour)
        if slot < 24 * per_hour:
            free[slot] = slot + 1
            value += float(values[job])
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_edge_05_any_hour_stays_within_its_samples_and_keeps_nine_tenths_of_an_oracles_value(
    tmp_path, kind
):
    at, values, sizes = arrivals(kind, seed=2)
    value, sent = day_of(tmp_path, UploadSection(max_samples_per_hour=20), at, values, sizes)
    assert most_within(sent, HOUR_S)[1] <= 20
    assert value >= 0.9 * hourly_oracle(at, values, 20)


def test_edge_05_where_the_budget_is_never_short_nothing_waits(tmp_path):
    at, values, sizes = arrivals("even", 1, count=40)
    section = UploadSection(max_mib_per_day=20 * float(sizes.sum()) / MIB)
    _, sent = day_of(tmp_path, section, at, values, sizes)
    assert [moment for moment, _ in sent] == pytest.approx(60 * np.ceil(at / 60), abs=1)


def test_edge_05_what_was_not_spent_yesterday_may_go_at_once(tmp_path):
    """A node that was offline for a day begins with the whole budget of any 24 hours."""
    machine = Machine()
    section = UploadSection(max_mib_per_day=10)
    budget = Budget(section, Ledger(tmp_path / "uploads.jsonl", machine))
    assert not budget.may_begin(9 * MIB, MIB)
    machine.advance(DAY_S + 60)
    assert budget.may_begin(9 * MIB, MIB)


@pytest.mark.parametrize(
    ("section", "hours_left_that_suffice"),
    [
        (UploadSection(max_mib_per_day=80, max_samples_per_hour=10), 8 / 0.8),
        (UploadSection(max_mib_per_day=80, max_kib_per_second=80 * 1024 / (6 * 3600)), 6 / 0.8),
    ],
)
def test_edge_05_only_what_can_still_be_sent_is_held_back(
    tmp_path, section, hours_left_that_suffice
):
    machine = Machine()
    budget = Budget(section, Ledger(tmp_path / "uploads.jsonl", machine))
    budget.spend(4 * MIB)  # what is free from the start
    budget.left()
    machine.advance(DAY_S - (hours_left_that_suffice * HOUR_S + 60))
    assert not budget.may_begin(MIB, MIB)
    machine.advance(HOUR_S)
    assert budget.may_begin(MIB, MIB)


def test_the_pace_can_be_even_or_none(tmp_path):
    machine = Machine()
    ledger = Ledger(tmp_path / "uploads.jsonl", machine)
    paces = {
        pace: Budget(UploadSection(max_mib_per_day=10, pace=pace), ledger)
        for pace in ("value", "steady", "at_once")
    }
    machine.advance(DAY_S / 2)
    assert [paces[p].may_begin(4 * MIB, MIB) for p in paces] == [False, True, True]
    assert [paces[p].may_begin(9 * MIB, MIB) for p in paces] == [False, False, True]
    night = Budget(UploadSection(max_mib_per_day=10, windows=("22:00-06:00",)), ledger)
    assert night.may_begin(9 * MIB, MIB)


# -- the cloud's word --------------------------------------------------------------------------


def ordered(storage: FlakyStorage, mib: float | None, samples: int | None = None) -> None:
    budget = UploadBudget(
        edge_id=EdgeId("edge-1"),
        max_mib_per_day=mib,
        max_samples_per_hour=samples,
        set_at=NOON,
        set_by="operator",
    )
    storage.put("edges/edge-1/budget.json", to_json(budget))


@pytest.mark.parametrize(
    ("own", "cloud", "holds"),
    [
        ((10, 5), (4, 9), (4, 5)),
        ((10, 5), (40, 2), (10, 2)),
        ((None, None), (4, 2), (4, 2)),
        ((10, 5), (None, None), (10, 5)),
        ((None, None), (None, None), (None, None)),
        ((10, None), (0, 0), (0, 0)),
    ],
)
def test_tr_06_the_cloud_may_only_tighten(own, cloud, holds):
    order = UploadBudget(
        edge_id=EdgeId("edge-1"),
        max_mib_per_day=cloud[0],
        max_samples_per_hour=cloud[1],
        set_at=NOON,
        set_by="operator",
    )
    mine = Limits(
        bytes_per_day=None if own[0] is None else own[0] * MIB, samples_per_hour=own[1]
    ).tightened(order)
    per_day = None if mine.bytes_per_day is None else mine.bytes_per_day / MIB
    assert (per_day, mine.samples_per_hour) == holds


def test_tr_06_the_budget_is_read_at_most_once_a_minute_and_kept_over_a_restart(tmp_path):
    storage, clock = FlakyStorage(), HandClock()

    def orders() -> BudgetOrders:
        return BudgetOrders(storage, EdgeId("edge-1"), tmp_path / "budget.json", clock)

    ordered(storage, 4.0)
    one = orders()
    assert one.current() is None
    storage.calls.clear()
    for _ in range(100):
        one.look()
        clock.advance(1)
    assert len(storage.calls) == 2
    assert one.current().max_mib_per_day == 4.0
    storage.is_down = True
    clock.advance(60)
    with pytest.raises(StorageUnavailableError):
        one.look()
    assert one.current().max_mib_per_day == orders().current().max_mib_per_day == 4.0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\x80\x04.", b'{"schema": 2}', b'{"schema": 1, "kind": "Release"}']
)
def test_tr_06_an_unreadable_budget_leaves_the_last_good_one(tmp_path, content):
    storage, clock = FlakyStorage(), HandClock()
    orders = BudgetOrders(storage, EdgeId("edge-1"), tmp_path / "budget.json", clock)
    ordered(storage, 4.0)
    orders.look()
    storage.put("edges/edge-1/budget.json", content or b" ")
    clock.advance(60)
    orders.look()
    assert orders.current().max_mib_per_day == 4.0
    assert BudgetOrders(storage, EdgeId("edge-1"), tmp_path / "budget.json").current() is not None


def test_tr_06_another_nodes_budget_and_a_nonsense_one_are_not_obeyed(tmp_path):
    storage, clock = FlakyStorage(), HandClock()
    orders = BudgetOrders(storage, EdgeId("edge-2"), tmp_path / "budget.json", clock)
    ordered(storage, 4.0)
    storage.put("edges/edge-2/budget.json", storage.get("edges/edge-1/budget.json"))
    orders.look()
    assert orders.current() is None
    ordered(storage, -1.0)
    mine = BudgetOrders(storage, EdgeId("edge-1"), tmp_path / "other.json", clock)
    mine.look()
    assert mine.current() is None


def test_tr_06_a_budget_that_is_taken_back_leaves_the_nodes_own_settings(tmp_path):
    storage, clock = FlakyStorage(), HandClock()
    orders = BudgetOrders(storage, EdgeId("edge-1"), tmp_path / "budget.json", clock)
    ordered(storage, 4.0)
    orders.look()
    storage.delete("edges/edge-1/budget.json")
    clock.advance(60)
    orders.look()
    assert orders.current() is None
    assert not (tmp_path / "budget.json").exists()


def test_windows_of_sums_are_counted_as_the_test_believes():
    sent = [(0.0, 1.0), (50.0, 1.0), (100.0, 1.0)]
    assert most_within(sent, 100.0) == (2.0, 2)
    assert all(a < b for a, b in pairwise(moment for moment, _ in sent))
