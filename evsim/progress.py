"""How far long work has come, for whoever wants to see it: a bar on a terminal, or a callable."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

#: `progress(done, total, what)`, called as work goes on.
Progress = Callable[[float, int, str], None]
#: No more often than that [s].
INTERVAL = 0.05


@contextlib.contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A progress bar on standard error, on a terminal only; it vanishes when done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total, name: shown.update(
            task, completed=done, total=total, description=name
        )


class Meter:
    """Adds up how far the parts of some work have come, whichever threads they run in.

    After `stop` the parts end with a `KeyboardInterrupt` where they next report.
    """

    def __init__(self, show: Progress, total: int) -> None:
        self.show, self.total, self.done = show, total, 0.0
        self.lock, self.shown, self.stopped = threading.Lock(), time.perf_counter(), False

    def part(self, what: str) -> Callable[[float], None]:
        """A callable that is told which fraction of one part is done."""
        before = 0.0

        def tell(fraction: float) -> None:
            nonlocal before
            if self.stopped:
                raise KeyboardInterrupt
            now = time.perf_counter()
            if fraction < 1.0 and now < self.shown + INTERVAL:
                return
            with self.lock:
                self.shown = now
                self.done += fraction - before
                before = fraction
                self.show(self.done, self.total, what)

        return tell

    def stop(self) -> None:
        """End what runs in other threads."""
        self.stopped = True


@contextlib.contextmanager
def meter(progress: bool | Progress, what: str, total: int) -> Iterator[Meter]:
    """A meter that shows a bar (True), calls a callable, or is silent (False)."""
    with contextlib.ExitStack() as stack:
        if callable(progress):
            show = progress
        elif progress:
            show = stack.enter_context(bar(what))
        else:
            show = _silent
        found = Meter(show, total)
        try:
            yield found
        except BaseException:
            found.stop()
            raise


def _silent(done: float, total: int, what: str) -> None:
    pass
