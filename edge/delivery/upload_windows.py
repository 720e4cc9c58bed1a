"""The hours of the day in which uploads may run, by the device's local time."""

from collections.abc import Callable, Iterable
from datetime import datetime

from lifelong.sections.delivery import window_minutes


def local_now() -> datetime:
    """This moment in the device's own time zone."""
    return datetime.now().astimezone()


class Windows:
    """Open at the minutes that any of its windows names; without windows always, unless uploads
    are not `enabled` at all.

    What counts is what a clock on the wall shows. So a window of a night in which the clocks
    change is an hour longer or shorter, and opens and closes at the hours that it names.
    """

    def __init__(
        self,
        windows: Iterable[str] = (),
        local: Callable[[], datetime] = local_now,
        *,
        enabled: bool = True,
    ) -> None:
        """Raises: ValueError: one that is no window, see `window_minutes`."""
        self._enabled = enabled
        self._windows = [window_minutes(text) for text in windows]
        self._local = local

    def are_open(self) -> bool:
        """May uploads run now?"""
        if not self._enabled or not self._windows:
            return self._enabled
        shown = self._local()
        minute = 60 * shown.hour + shown.minute
        return any(_holds(minute, begin, end) for begin, end in self._windows)


def _holds(minute: int, begin: int, end: int) -> bool:
    if begin < end:
        return begin <= minute < end
    return minute >= begin or minute < end  # over midnight
