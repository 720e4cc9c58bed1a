"""Benches that begin as the demo does run to their end at their smallest size."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("bench.queue", "--waiting", "20", "--budgets", "4"), "expected_value of 4"),
        (("bench.privacy", "--pictures", "1", "--conditions", "clear"), "clear"),
    ],
    ids=["queue_ann_04", "privacy"],
)
def test_bench_ends_with_its_figures(command, told):
    ended = subprocess.run(
        [sys.executable, "-m", *command, "--json"], capture_output=True, text=True, check=True
    )
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert any(told in name for name in figures), sorted(figures)
