"""`evsim certify`: a verdict on the spikes in a file."""

from __future__ import annotations

import json as json_format
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evsim.proof.verdict import Certificate


def certify(
    run: Annotated[Path, typer.Argument(metavar="RUN.npz", help="A run, as evsim run writes it.")],
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="TIME", help="How far a spike may lie from the truth, seconds."),
    ] = None,
    precision: Annotated[
        int | None, typer.Option(metavar="BITS", help="The most bits allowed. Default: 1024.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the certificate as JSON.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verdict as JSON.")
    ] = None,
) -> None:
    """Prove or refute the spikes of a run, whoever computed them.

    Says PROVED, with the largest radius; WRONG, with the first false event and what happens
    instead; or UNDECIDED, with what could not be told apart.

    Exit code: 0 PROVED, 1 WRONG or UNDECIDED, 2 bad input.

    Example: [cyan]evsim certify run.npz --tolerance 1e-9[/]
    """
    from evsim.cli import FAIL, PASS, _check_output, _console
    from evsim.progress import bar

    for output in (out, json):
        _check_output(output, [run])
    with bar("proving"):
        certificate = _certificate(run, tolerance, precision)
    if out is not None:
        certificate.save(out)
    answer = _answer(certificate)
    if json is not None:
        _write(json, answer)
    _say(certificate, answer, _console())
    raise typer.Exit(PASS if certificate.status == "PROVED" else FAIL)


def _certificate(run: Path, tolerance: float | None, precision: int | None) -> Certificate:
    import evsim
    from evsim.proof.certify import certify_states

    record = evsim.load(run)
    if tolerance is None:
        return evsim.certify(record, precision=precision)
    return certify_states(record, tolerance, precision)


def _answer(certificate: Certificate) -> dict[str, Any]:
    """The verdict as JSON."""
    import evsim

    radius = [float(e.radius.max()) for e in certificate.spikes.values() if e.radius.size]
    return {
        "evsim": evsim.__version__,
        "status": certificate.status,
        "spikes": certificate.count,
        "largest_radius": max(radius, default=0.0),
        "first_wrong": certificate.first_wrong,
        "undecided": certificate.undecided,
        "instead": certificate.instead,
        "tier": certificate.tier,
        "bits": certificate.bits,
        "proved_until": certificate.proved_until,
    }


def _write(path: Path, answer: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json_format.dumps(answer, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _say(certificate: Certificate, answer: dict[str, Any], console) -> None:
    """The verdict in words."""
    lines = [
        f"{certificate.status}: {answer['spikes']} spikes within {answer['largest_radius']:.3g}, "
        f"by {certificate.tier} at {certificate.bits} bits"
    ]
    where = certificate.first_wrong or certificate.undecided
    if where is not None:
        name, unit, time = where
        kind = "first false event" if certificate.first_wrong else "undecided"
        lines.append(f"{kind}: {name} {unit} at {time:.17g}; {certificate.instead}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
