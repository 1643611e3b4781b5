"""The report as one HTML file: no script, no external resource, light and dark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

import numpy as np

from validation import figures
from validation.evtrace import replacing
from validation.result import PASSING, Agreement, LayerResult, RecordingResult, Truth
from validation.words import MEANING, evsim_version, short, steps, summary

STYLE = """
:root{--ink:#1b1d20;--muted:#666b73;--grid:#e3e5e8;--paper:#fff;--wash:#f6f7f8;--exact:#0072b2;
--recorded:#d55e00;--twin:#009e73;--pass:#0b7a55;--warn:#8a5a00;--fail:#b3261e;
color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e7e9ec;--muted:#9aa1ab;--grid:#343a42;
--paper:#15181c;--wash:#1d2126;--exact:#56b4e9;--recorded:#ff9a45;--twin:#2fd0a2;--pass:#4fd0a0;
--warn:#e5b454;--fail:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.5;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.5rem 5rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .4rem;letter-spacing:-.01em}
h2{font-size:1.3rem;margin:3.5rem 0 .3rem;padding-top:1.2rem;border-top:1px solid var(--grid)}
h3{font-size:1.05rem;margin:2.4rem 0 .3rem;display:flex;gap:.6rem;align-items:baseline;
flex-wrap:wrap}
h1,h2,h3,td,p,dd{overflow-wrap:anywhere}
p{margin:.3rem 0 .8rem;max-width:46rem}
.lead{font-size:1.15rem}.muted,figcaption{color:var(--muted)}
figure{margin:1.1rem 0 1.6rem}figcaption{font-size:.85rem;max-width:46rem;margin-top:.2rem}
svg{display:block;width:100%;height:auto;font-family:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;margin:.8rem 0 1.2rem}
th{font-weight:600;color:var(--muted);font-size:.8rem;text-align:left}
th,td{padding:.4rem .9rem .4rem 0;border-bottom:1px solid var(--grid);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
th{vertical-align:bottom}
.all td:first-child{min-width:8rem}.all td:nth-child(2),.all td:nth-child(3){white-space:nowrap}
.all td:last-child{min-width:16rem}.against th:first-child{min-width:12.5rem}
h3 .muted{font-weight:400;font-size:.9rem}
a{color:inherit;text-decoration-color:var(--muted);text-underline-offset:.15em}
.badge{display:inline-block;font-size:.78rem;font-weight:600;padding:.05rem .55rem;
border-radius:1rem;border:1px solid currentColor;white-space:nowrap;line-height:1.45}
.pass,.identical,.tie,.discretised{color:var(--pass)}.unverifiable{color:var(--warn)}
.fail,.mismatch{color:var(--fail)}
code{font:.85em ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;
background:var(--wash);padding:.1em .35em;border-radius:.25em;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.85rem;
margin:.6rem 0}
dt{color:var(--muted)}dd{margin:0}
.show{margin:1rem 0 0;font-size:.9rem}.show label{margin-right:1.2rem}
main:has(#show-bad:checked) .good{display:none}
@media(max-width:36rem){main{padding:1.2rem .9rem 3rem}.all td:last-child{min-width:12rem}}
@media print{main{max-width:none;padding:0}h2{break-before:page}figure{break-inside:avoid}}
"""

SPIKES = (
    "Orange bars: the steps in which the framework fired. Blue ticks: the exact spike times. "
    "Where both agree, the tick hangs from the bar."
)
VOLTAGES = (
    "The shaded step is where the recording first leaves its twin or the exact solution. Crosses "
    "inside circles: recording and twin agree. Circles are taken before the reset."
)
ERRORS = (
    "Median (symbol), middle 90 % (thick) and range (thin) of the paired spikes. Alone, a layer "
    "gets its recorded input, which locates an error; chained, it stands behind the exact "
    "solution of all layers before it, which sizes it."
)


def write_html(
    results: Sequence[RecordingResult],
    path: str | os.PathLike[str],
    *,
    errors: Mapping[str, str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Write the report as one self-contained page, which appears only when it is complete.

    Parameters
    ----------
    results : sequence of RecordingResult
    path : str or path-like
        File to write or to replace.
    errors : mapping of str to str, optional
        Files that could not be verified, with the reason.
    progress : callable, optional
        `progress(done, total, what)` is called before every recording and at the end.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with replacing(path) as file:
        for part in _page(results, errors or {}, progress or (lambda *_: None)):
            file.write(part.encode("utf-8", "replace"))


def _page(
    results: Sequence[RecordingResult],
    errors: Mapping[str, str],
    progress: Callable[[int, int, str], None],
) -> Iterator[str]:
    yield (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>evsim: verification report</title><style>{STYLE}</style></head><body><main>"
    )
    yield _overview(results, errors)
    for i, result in enumerate(results):
        progress(i, len(results), os.path.basename(result.path))
        yield _recording(result, i)
    progress(len(results), len(results), "")
    yield f'<h2>How to read this</h2>{_glossary()}<p class="muted">evsim {escape(evsim_version())}'
    yield "</p></main></body></html>\n"


def _overview(results: Sequence[RecordingResult], errors: Mapping[str, str]) -> str:
    """What a person reads in a minute."""
    rows = [
        row
        for i, result in enumerate(results)
        for row in (
            [_overview_row(result, layer, f"r{i}", j) for j, layer in enumerate(result.layers)]
            or [_no_layers_row(result, f"r{i}")]
        )
    ]
    failed = "".join(
        f'<p class="fail"><strong>Not readable:</strong> {_text(words)}</p>'
        for words in errors.values()
    )
    return (
        f"<h1>Verification of {_plural(len(results), 'recording')}</h1>"
        f'<p class="lead">{escape(summary(results))}</p>{failed}{_filter(results)}'
        '<div class="scroll"><table class="all"><thead><tr><th>Recording</th>'
        "<th>Layer</th><th>Model</th><th>Verdict</th><th>Why</th></tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table></div>"
    )


def _filter(results: Sequence[RecordingResult]) -> str:
    """A choice between all layers and those that do not pass, where there are both."""
    passing = [layer.verdict in PASSING for result in results for layer in result.layers]
    if all(passing) or not any(passing):
        return ""
    bad = passing.count(False)
    return (
        '<p class="show"><label><input type="radio" name="show" id="show-all" checked> '
        f'All {len(passing)} layers</label><label><input type="radio" name="show" id="show-bad"> '
        f"{bad} that {'does' if bad == 1 else 'do'} not pass</label></p>"
    )


def _class(layer: LayerResult) -> str:
    return ' class="good"' if layer.verdict in PASSING else ""


def _overview_row(result: RecordingResult, layer: LayerResult, anchor: str, j: int) -> str:
    name = "" if j else f'<a href="#{anchor}">{_text(_title(result), 48)}</a>'
    cause = f"{_causes(layer)}<br>" if layer.cause else ""
    return (
        f"<tr{_class(layer)}><td>{name}</td>"
        f'<td><a href="#{anchor}l{j}">{_text(layer.name, 18)}</a></td>'
        f"<td>{_text(layer.model, 22)}</td><td>{_badge(layer.verdict)}</td>"
        f"<td>{cause}{_text(layer.reason, 300)}</td></tr>"
    )


def _no_layers_row(result: RecordingResult, anchor: str) -> str:
    return (
        f'<tr><td><a href="#{anchor}">{_text(_title(result), 48)}</a></td><td></td><td></td>'
        f"<td>{_badge(result.verdict)}</td><td>It holds no layer.</td></tr>"
    )


def _recording(result: RecordingResult, i: int) -> str:
    parts = [
        f'<h2 id="r{i}">{_text(_title(result))} {_badge(result.verdict)}</h2>',
        f'<p class="muted">{_text(_provenance(result))}</p>',
        _details(result.provenance),
        _figure(figures.error_by_layer(result.layers), "Spike-time error by layer.", ERRORS),
    ]
    if not result.layers:
        parts.append("<p>The recording holds no layer that could be verified.</p>")
    parts += [_layer(result, layer, f"r{i}l{j}") for j, layer in enumerate(result.layers)]
    return "".join(parts)


def _layer(result: RecordingResult, layer: LayerResult, anchor: str) -> str:
    shape = " × ".join(map(str, layer.shape))
    about = layer.model + (f", {shape} neurons" if shape else "")
    view = layer.neighbourhood
    where = f"Neuron {view.neuron}, sample {view.sample}, step {view.step}." if view else ""
    return "".join(
        [
            f'<section{_class(layer)}><h3 id="{anchor}">{_text(layer.name)} {_badge(layer.verdict)}'
            f'<span class="muted">{_text(about)}</span></h3>',
            f"<p>{_causes(layer)} {_text(layer.reason)}</p>",
            _checks(layer.checks),
            _truths(layer),
            _figure(figures.raster(layer, result.n_steps), "Spikes of sample 0.", SPIKES),
            _figure(figures.voltage(layer), where, VOLTAGES),
            "</section>",
        ]
    )


def _checks(checks: Sequence[Agreement]) -> str:
    """Framework against twin, one row per observable."""
    rows = "".join(
        f"<tr><td>{_text(c.quantity.replace('_', ' '))}</td><td>{_badge(c.verdict)}</td>"
        f'<td class="n">{c.n_compared:,}</td><td class="n">{c.n_mismatched:,}</td>'
        f'<td class="n">{c.n_ties:,}</td><td class="n">{short(c.max_ulps)}</td>'
        f'<td class="n">{_place(c)}</td></tr>'
        for c in checks
    )
    head = "".join(
        f'<th class="n">{h}</th>'
        for h in ("Compared", "Differ", "Ties", "Largest [ulp]", "First: step, sample, neuron")
    )
    return rows and (
        '<div class="scroll"><table class="against"><thead><tr>'
        f"<th>Against its twin</th><th>Verdict</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _place(check: Agreement) -> str:
    if check.first is None:
        return "–"
    first = check.first
    return f"{first.step}, {first.sample}, {first.neuron}"


def _truths(layer: LayerResult) -> str:
    """Twin against the exact solution, alone and chained."""
    named = (("alone", layer.alone), ("chained", layer.chained))
    rows = "".join(_truth(name, truth) for name, truth in named if truth is not None)
    head = "".join(
        f'<th class="n">{h}</th>'
        for h in (
            "Spikes",
            "Exact",
            "Median [steps]",
            "Largest [steps]",
            "Trains that diverge",
            "From step",
            "Voltage error [v<sub>th</sub>]",
            "Order in dt",
        )
    )
    return rows and (
        '<div class="scroll"><table class="against"><thead><tr>'
        f"<th>Against the exact solution</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _truth(name: str, truth: Truth) -> str:
    found = steps(np.asarray(truth.time_error, float))
    start = truth.divergence
    cells = (
        f"{truth.n_recorded:,}",
        f"{truth.n_exact:,}",
        short(found["median"]),
        short(found["max"]),
        f"{truth.n_diverged:,} of {truth.n_trains:,}",
        f"{start:.0f}" if np.isfinite(start) else "–",
        short(truth.voltage_error),
        short(truth.order),
    )
    return f"<tr><td>{name}</td>" + "".join(f'<td class="n">{c}</td>' for c in cells) + "</tr>"


def _figure(svg: str | None, title: str, caption: str) -> str:
    if svg is None:
        return ""
    lead = f"<strong>{_text(title)}</strong> " if title else ""
    return f"<figure>{svg}<figcaption>{lead}{escape(caption)}</figcaption></figure>"


def _provenance(result: RecordingResult) -> str:
    dt = "no dt" if result.dt is None else f"dt = {result.dt:g}"
    return (
        f"{result.framework} {result.version} · {_plural(result.n_steps, 'step')} · "
        f"{_plural(result.n_samples, 'sample')} · {dt} · {os.path.basename(result.path)}"
    )


def _details(provenance: Mapping[str, object]) -> str:
    if not provenance:
        return ""
    rows = "".join(
        f"<dt>{_text(str(k), 60)}</dt><dd>{_text(str(v), 300)}</dd>" for k, v in provenance.items()
    )
    return f'<details><summary class="muted">Provenance</summary><dl>{rows}</dl></details>'


def _glossary() -> str:
    rows = "".join(
        f"<tr><td>{_badge(verdict)}</td><td>{'passes' if verdict in PASSING else 'no pass'}</td>"
        f"<td>{escape(meaning)}</td></tr>"
        for verdict, meaning in MEANING.items()
    )
    return (
        "<p>The <em>twin</em> restates the discrete update that a framework documents, in the "
        "same order and precision. The <em>exact solution</em> is that of the differential "
        "equation the update stands for, computed event by event without a time step.</p>"
        f"<table><tbody>{rows}</tbody></table>"
    )


def _title(result: RecordingResult) -> str:
    return result.title or os.path.basename(result.path)


def _badge(verdict: str) -> str:
    return f'<span class="badge {escape(verdict)}">{escape(verdict)}</span>'


def _causes(layer: LayerResult) -> str:
    return " ".join(f"<code>{_text(cause, 80)}</code>" for cause in layer.cause)


def _text(text: str, width: int = 2000) -> str:
    return escape(figures.shorten(text, width))


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
