"""INT-11: memory is bounded, however many pictures are clicked on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory")
def test_int_11_a_thousand_pictures_leave_memory_flat():
    """INT-11: after the first 50, within 5 %; a model that was loaded twice would be seen too."""
    program = "tests.unit.cloud.assist.memory_program"
    told = subprocess.run(
        [sys.executable, "-m", program, "1000"],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip

    resident = [float(line) for line in told.split()]

    assert len(resident) == 1000
    settled = resident[49]
    assert max(resident[50:]) < 1.05 * settled
    # Most of it is code and weights; of what grows with pictures, 950 leave less than this.
    assert max(resident[50:]) - settled < 30
