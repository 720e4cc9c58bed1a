"""A deed in a process of its own, which may be killed in the middle of it."""

import os
import traceback
from collections.abc import Callable


def child(act: Callable[[], None]) -> int:
    """Act in a process of its own; minus the signal that ended it, or its exit status."""
    process = os.fork()
    if process == 0:
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
