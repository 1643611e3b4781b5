"""The command line: `evsim demo`, `evsim verify`, `evsim run`, `evsim certify`.

Exit codes: 0 all is well; 1 a layer fails or cannot be verified; 2 bad input, with one line on
standard error; 130 interrupted. Heavy modules are imported inside the commands, so that help
comes at once.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evsim.proof.command import certify

if TYPE_CHECKING:
    from rich.console import Console

    from validation.result import RecordingResult

PASS, FAIL, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

#: What the library raises on bad input. Set EVSIM_TRACEBACK=1 to see where it came from.
BAD = (ValueError, TypeError, OSError, RuntimeError, MemoryError)

#: `progress(done, total, what)`, called as work goes on.
Progress = Callable[[float, int, str], None]

app = typer.Typer(
    name="evsim",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the only place where errors become words.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows `evsim`; by default what the process was called with.
    """
    usage_error: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        code = app(args=arguments, prog_name="evsim", standalone_mode=False)
        sys.stdout.flush()
        return code or PASS
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads on, as in `evsim demo | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PASS
    except usage_error as error:
        _complain(f"{error.format_message()} Try: evsim --help")
    except BAD as error:
        if os.environ.get("EVSIM_TRACEBACK"):
            raise
        _complain(_words(error))
    return BAD_INPUT


def _complain(message: str) -> None:
    print(f"evsim: error: {' '.join(message.split())}", file=sys.stderr)


def _words(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return str(error) or type(error).__name__


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"evsim {version('evsim')}")
        raise typer.Exit


def _help(function: Callable[..., object]) -> str:
    """Docstring with one line per paragraph, for the terminal to wrap."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(p.split()) for p in paragraphs)


def _evsim(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Ground truth for spiking neural networks.

    evsim simulates spiking networks exactly, event by event, and verifies what other programs
    computed: layer by layer, with the first difference, its size and its cause.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(BAD_INPUT)


# --------------------------------------------------------------------------------- verification


def demo() -> None:
    """Verify the recordings that ship with evsim.

    They come from real frameworks on real data. Prints the table and writes [bold]report.html[/]
    into the current folder.

    Example: [cyan]evsim demo[/]
    """
    from importlib.resources import as_file, files

    with as_file(files("validation") / "traces") as folder:
        traces = sorted(folder.glob("*.npz"))
        if not traces:
            raise FileNotFoundError(2, "this installation holds no recordings", str(folder))
        _, errors = _report(traces, html=Path("report.html"))
    raise typer.Exit(BAD_INPUT if errors else PASS)


def verify(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE...", help="Recordings (evtrace, .npz).")
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with figures, one file.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JSON.")
    ] = None,
) -> None:
    """Say whether recordings are right, and if not, where and why.

    Each layer is held against the update that its framework documents, spike by spike, and
    against the exact solution of its differential equation.

    Exit code: 0 all layers pass, 1 some fail or cannot be verified, 2 bad input.

    Example: [cyan]evsim verify run1.npz run2.npz --html report.html[/]
    """
    for output in (html, json):
        _check_output(output, traces)
    results, errors = _report(traces, html=html, json=json)
    if errors:
        raise typer.Exit(BAD_INPUT)
    raise typer.Exit(PASS if all(r.verdict == "pass" for r in results) else FAIL)


def _report(
    traces: Sequence[Path], *, html: Path | None = None, json: Path | None = None
) -> tuple[list[RecordingResult], dict[str, str]]:
    """Verify, print and write; also the files that could not be read, with the reason."""
    from validation import report

    with _progress("verifying") as progress:
        results, errors = _verify_all(traces, progress)
    console = _console()
    report.print_table(results, console)
    if json is not None:
        report.write_json(results, json, errors=errors)
    if html is not None and results:
        with _progress("drawing") as progress:
            report.write_html(results, html, errors=errors, progress=progress)
        console.print(f"Report: {html}", style="dim", highlight=False, soft_wrap=True)
    sys.stdout.flush()
    for message in errors.values():
        _complain(message)
    return results, errors


def _verify_all(
    traces: Sequence[Path], progress: Progress
) -> tuple[list[RecordingResult], dict[str, str]]:
    """One bad file does not keep the others from being verified."""
    from validation.verify import verify_file

    results: list[RecordingResult] = []
    errors: dict[str, str] = {}
    for i, path in enumerate(traces):

        def within(done: int, total: int, what: str, i: int = i, path: Path = path) -> None:
            progress(i + done / max(total, 1), len(traces), f"{path.name} {what}")

        within(0, 1, "")
        try:
            results.append(verify_file(path, progress=within))
        except BAD as error:
            if os.environ.get("EVSIM_TRACEBACK"):
                raise
            words = _words(error)
            errors[str(path)] = words if str(path) in words else f"{path}: {words}"
    return results, errors


def _check_output(path: Path | None, inputs: Iterable[Path]) -> None:
    """Notice before the work what would make its result unwritable."""
    if path is None:
        return
    if path.is_dir():
        raise IsADirectoryError(21, "Is a directory", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "No such folder", str(path.parent))
    if any(path.exists() and i.exists() and path.samefile(i) for i in inputs):
        raise ValueError(f"{path}: the output would replace an input; choose another name")


# ----------------------------------------------------------------------------------- simulation


def run(
    graph: Annotated[Path, typer.Argument(metavar="GRAPH.nir", help="Network as a NIR file.")],
    input: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Input spikes, .npz: <input>/times and <input>/units; plain times and units "
            "where there is one input.",
        ),
    ],
    until: Annotated[float, typer.Option(metavar="TIME", help="End of the simulation, seconds.")],
    out: Annotated[Path, typer.Option(metavar="RUN.npz", help="Where the run is written.")],
    spikes: Annotated[
        str,
        typer.Option(
            metavar="dirac|pulse",
            help="What a spike is: a unit-area impulse, or the value 1 for --pulse-width. NIR "
            "leaves it open.",
        ),
    ],
    pulse_width: Annotated[
        float | None, typer.Option(metavar="TIME", help="Length of a pulse, seconds.")
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(metavar="value|subtract", help="What a spike does to v. Default: value."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="'>'|'>='", help="Does v = v_th fire? Default: '>', it does not."),
    ] = None,
    recurrent_delay: Annotated[
        float | None,
        typer.Option(
            metavar="TIME", help="Delay of recurrent edges, seconds; needed where any exist."
        ),
    ] = None,
    v_init: Annotated[
        str | None,
        typer.Option(metavar="NAME|VOLTS", help="Initial voltage. Default: v_leak."),
    ] = None,
) -> None:
    """Simulate a NIR graph exactly.

    Example: [cyan]evsim run net.nir --spikes dirac --input in.npz --until 0.1 --out run.npz[/]
    """
    _check_output(out, [graph, input])
    import evsim

    given: dict[str, Any] = {
        "pulse_width": pulse_width,
        "reset": reset,
        "compare": compare,
        "recurrent_delay": recurrent_delay,
        "v_init": _number_or_name(v_init),
    }
    options = {name: value for name, value in given.items() if value is not None}
    with _status("simulating"):
        network = evsim.from_nir(graph, spikes=spikes, **options)
        record = evsim.simulate(network, _read_input(input, network.inputs), until)
        evsim.save(record, out)
    console = _console()
    for name, train in record.spikes.items():
        console.print(f"{name}: {len(train.times)} spikes", markup=False, highlight=False)
    if record.undecided:
        console.print(f"{len(record.undecided)} decisions lie within rounding", highlight=False)
    console.print(f"Run: {out}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _number_or_name(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _read_input(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Spikes of every input of the network; the file must name them all and no other."""
    import evsim

    names = list(names)
    arrays = _read_npz(path)
    if "times" in arrays or "units" in arrays:
        if len(names) != 1:
            raise ValueError(
                f"{path}: plain times and units need one input, the network has {len(names)}: "
                f"name them {names[0] if names else '<input>'}/times and so on"
            )
        arrays = {f"{names[0]}/{key}": a for key, a in arrays.items() if "/" not in key}
    wanted = {f"{name}/{field}" for name in names for field in ("times", "units")}
    for key in sorted(wanted ^ arrays.keys()):
        problem = "is missing" if key in wanted else f"is no input; the network has {names}"
        raise ValueError(f"{path}: array {key!r} {problem}")
    return {n: evsim.Spikes(arrays[f"{n}/times"], arrays[f"{n}/units"]) for n in names}


def _read_npz(path: Path) -> dict[str, Any]:
    """All arrays of an .npz without pickles."""
    import zipfile
    import zlib

    import numpy as np

    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: is no .npz file")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged .npz file: {error}") from error


# -------------------------------------------------------------------------------------- terminal


def _console() -> Console:
    """Standard output; a pipe gets the width that the table is made for, and no colour."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=100)


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A progress bar on standard error, on a terminal only; it vanishes when done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, name: bar.update(
            task, completed=done, total=total, description=name
        )


@contextlib.contextmanager
def _status(what: str) -> Iterator[None]:
    """A spinner on standard error, on a terminal only."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else contextlib.nullcontext():
        yield


app.callback(invoke_without_command=True, help=_help(_evsim))(_evsim)
for _command in (demo, verify, run, certify):
    app.command(help=_help(_command))(_command)
