"""The command line: `evsim demo`, `verify`, `run`, `certify`, `conform`, `reproduce`, `bench`.

Exit codes: 0 all is well; 1 a layer fails or cannot be verified; 2 bad input, with one line on
standard error; 130 interrupted. Heavy modules are imported inside the commands, so that help
comes at once.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evsim.proof.command import certify
from validation.cases.command import reproduce
from validation.conform.command import Interpreters, conform

if TYPE_CHECKING:
    from rich.console import Console

    from evsim.progress import Progress
    from validation.live import Judge
    from validation.result import RecordingResult

PASS, FAIL, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

#: What the library raises on bad input. Set EVSIM_TRACEBACK=1 to see where it came from.
BAD = (ValueError, TypeError, OSError, RuntimeError, MemoryError)

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
        list[Path],
        typer.Argument(metavar="TRACE...", help="Recordings (evtrace, .npz), or NIR graphs."),
    ],
    framework: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Run NIR graphs live in this framework: snntorch, ..."),
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its input, .npz: raster \\[T, B, n]; or times, units."),
    ] = None,
    dt: Annotated[float | None, typer.Option(metavar="TIME", help="Its step, seconds.")] = None,
    python: Interpreters = None,
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

    A NIR graph is run live: [cyan]--framework[/] imports it, and each of its layers is held against
    what the graph declares.

    Exit code: 0 all layers pass, 1 some fail or cannot be verified, 2 bad input.

    Example: [cyan]evsim verify run1.npz run2.npz --html report.html[/]

    Example: [cyan]evsim verify net.nir --framework norse --input in.npz --dt 0.001[/]
    """
    for output in (html, json):
        _check_output(output, traces if input is None else [*traces, input])
    judge = None
    if any(given is not None for given in (framework, input, dt, python)):
        from validation.live import judge_of

        judge = judge_of(framework, input, dt, python)
    results, errors = _report(traces, html=html, json=json, judge=judge)
    if errors:
        raise typer.Exit(BAD_INPUT)
    raise typer.Exit(PASS if all(r.verdict == "pass" for r in results) else FAIL)


def _report(
    traces: Sequence[Path],
    *,
    html: Path | None = None,
    json: Path | None = None,
    judge: Judge | None = None,
) -> tuple[list[RecordingResult], dict[str, str]]:
    """Verify, print and write; also the files that could not be read, with the reason."""
    from evsim.progress import bar
    from validation import report

    with bar("verifying") as progress:
        results, errors = _verify_all(traces, progress, judge)
    console = _console()
    report.print_table(results, console)
    if json is not None:
        report.write_json(results, json, errors=errors)
    if html is not None and results:
        with bar("drawing") as progress:
            report.write_html(results, html, errors=errors, progress=progress)
        console.print(f"Report: {html}", style="dim", highlight=False, soft_wrap=True)
    sys.stdout.flush()
    for message in errors.values():
        _complain(message)
    return results, errors


def _verify_all(
    traces: Sequence[Path], progress: Progress, judge: Judge | None
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
            results.append((judge or verify_file)(path, within))
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


Graph = Annotated[Path, typer.Argument(metavar="GRAPH.nir", help="Network as a NIR file.")]
InputFile = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="Input spikes, .npz: <input>/times and <input>/units; plain times and units "
        "where there is one input.",
    ),
]
Until = Annotated[
    float,
    typer.Option(metavar="TIME", help="End of the simulation, seconds."),
]
RunFile = Annotated[
    Path,
    typer.Option(metavar="RUN.npz", help="Where the run is written."),
]
SpikeKind = Annotated[
    str,
    typer.Option(
        metavar="dirac|pulse",
        help="What a spike is: a unit-area impulse, or the value 1 for --pulse-width. NIR "
        "leaves it open.",
    ),
]
PulseWidth = Annotated[
    float | None,
    typer.Option(metavar="TIME", help="Length of a pulse, seconds."),
]
Reset = Annotated[
    str | None,
    typer.Option(metavar="value|subtract", help="What a spike does to v. Default: value."),
]
Compare = Annotated[
    str | None,
    typer.Option(metavar="'>'|'>='", help="Does v = v_th fire? Default: '>', it does not."),
]
RecurrentDelay = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        help="Delay of recurrent edges, seconds; needed where any have no Delay of their own.",
    ),
]
VInit = Annotated[
    str | None,
    typer.Option(metavar="NAME|VOLTS", help="Initial voltage. Default: v_leak."),
]
Multi = Annotated[
    str | None,
    typer.Option(
        metavar="repeat|hold",
        help="What a neuron still above threshold after a spike does: fire again at that "
        "instant, the default, or wait for its next event.",
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the figures as JSON."),
]


def run(
    graph: Graph,
    input: InputFile,
    until: Until,
    out: RunFile,
    spikes: SpikeKind,
    pulse_width: PulseWidth = None,
    reset: Reset = None,
    compare: Compare = None,
    recurrent_delay: RecurrentDelay = None,
    v_init: VInit = None,
    multi: Multi = None,
) -> None:
    """Simulate a NIR graph exactly.

    Example: [cyan]evsim run net.nir --spikes dirac --input in.npz --until 0.1 --out run.npz[/]
    """
    _check_output(out, [graph, input])
    import evsim
    from evsim.files import read_input

    given: dict[str, Any] = {
        "pulse_width": pulse_width,
        "reset": reset,
        "compare": compare,
        "recurrent_delay": recurrent_delay,
        "v_init": _number_or_name(v_init),
    }
    options = {name: value for name, value in given.items() if value is not None}
    network = evsim.from_nir(graph, spikes=spikes, **options)
    trains = read_input(input, network.inputs)
    more: dict[str, Any] = {"progress": True} if sys.stderr.isatty() else {}
    record = evsim.simulate(network, trains, until, **more | ({"multi": multi} if multi else {}))
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


# ------------------------------------------------------------------------------------ benchmarks


def bench(json: JsonFile = None) -> None:
    """Measure this machine: the benchmarks that need no other program.

    Ratios are taken in one run, the sides taking turns; on a busy machine only they mean
    anything. [bold]benchmarks/[/] of the repository compares with other simulators.

    Example: [cyan]evsim bench --json figures.json[/]
    """
    _check_output(json, [])
    from evsim.bench import short
    from evsim.progress import bar

    with bar("measuring") as progress:
        found = short.run(progress)
    short.print_table(found, _console())
    if json is not None:
        from validation.evtrace import replacing

        with replacing(json) as file:
            file.write(short.as_json(found).encode() + b"\n")


# -------------------------------------------------------------------------------------- terminal


def _console() -> Console:
    """Standard output; a pipe gets the width that the table is made for, and no colour."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=100)


app.callback(invoke_without_command=True, help=_help(_evsim))(_evsim)
for _command in (demo, verify, run, certify, conform, reproduce, bench):
    app.command(help=_help(_command))(_command)
