"""Reports hold every verdict, whatever names and gaps the results have."""

import html.parser
import io
import json
import math
import re
import sys
import time

import numpy as np
import pytest
from rich.console import Console

from validation import figures, report
from validation.result import (
    VERDICTS,
    Agreement,
    LayerResult,
    Mismatch,
    Neighbourhood,
    RecordingResult,
    Truth,
)

T = 100
EVIL = '<script>alert("x")</script>&\x1b[31m\u202e'


def truth(seed=0, n=400, shift=0.5, diverged=0, order=1.02):
    rng = np.random.default_rng(seed)
    errors = rng.gamma(2.0, shift / 2, n)
    return Truth(n, n + 3, not diverged, errors, 41.3 if diverged else math.inf, diverged, 128,
                 0.031, order)  # fmt: skip


def trains(seed=0, n=60):
    """Exact times of regular neurons, and the steps after them."""
    rng = np.random.default_rng(seed)
    times = [np.arange(rng.uniform(0, p), T, p) for p in rng.uniform(6, 30, n)]
    units = np.repeat(np.arange(n), [len(t) for t in times])
    exact = np.concatenate(times)
    return (np.floor(exact).astype(int), units), (exact, units)


def voltages(wrong=True):
    """A neuron that charges, fires and is reset; the recording subtracts, the twin zeroes."""
    t = np.arange(30, 60)
    fine = np.linspace(30, 60, 601)
    exact = 1.25 * (1 - np.exp(-((fine - 30) % 13.0) / 8.0))
    twin = 1.25 * (1 - np.exp(-((t - 30) % 13) / 8.0))
    recorded = twin + (t > 43) * 0.12 * np.exp(-(t - 43) / 8.0) * wrong
    return Neighbourhood(7, 0, 43, t, recorded, twin, 1.0, fine, exact,
                         np.array([42, 55]), np.array([42.9, 55.9]))  # fmt: skip


def layer(name, verdict, **changes):
    first = Mismatch("spikes", 44, 1, 7, 0.0, 1.0, 3.2e6) if verdict == "mismatch" else None
    recorded, exact = trains()
    found = LayerResult(
        name, "snntorch.Leaky", verdict, "Every recorded value equals the twin's.",
        first=first,
        checks=[
            Agreement("spikes", "mismatch" if first else "identical", 51_200, 0, 41, 0.0, first),
            Agreement("membrane", "identical", 51_200, 0, 0, 1.0, None),
        ],
        alone=truth(0, diverged=3 if first else 0), chained=truth(1, shift=1.5, diverged=9),
        raster_recorded=recorded, raster_exact=exact,
        neighbourhood=voltages(bool(first)), shape=(64,),
    )  # fmt: skip
    for field, value in changes.items():
        setattr(found, field, value)
    return found


def recording(path, layers, **changes):
    values = dict(
        framework="snntorch",
        version="1.0.0",
        layers=layers,
        n_steps=T,
        n_samples=2,
        dt=1e-3,
        provenance={"torch": "2.14.1", "seed": 3},
    )
    return RecordingResult(path, **{**values, **changes})


@pytest.fixture
def results():
    silent = (np.empty(0, int), np.empty(0, int))
    nothing = Truth(0, 0, True, np.empty(0), math.inf, 0, 64, 0.0, math.nan)
    return [
        recording("traces/digits.npz", [layer("hidden", "identical"), layer("out", "discretised",
                  reason="Spikes come half a step late, as an update of order one explains.")],
                  title="Handwritten digits, two layers"),
        recording("traces/reset.npz", [
            layer("hidden", "mismatch", cause=["reset_kind", "ignored:v_reset"],
                  reason="The recording subtracts the threshold where the graph says: set to "
                         "v_reset. With that one change the layer is identical."),
            layer("out", "tie", reason="4 of 51200 spikes differ, each within rounding."),
            layer("readout", "unverifiable", reason="The membrane was not recorded.", checks=[],
                  alone=None, chained=None, raster_recorded=None, raster_exact=None,
                  neighbourhood=None, shape=()),
        ], title="Soft reset read as hard"),
        recording("traces/silent.npz", [
            layer("silent", "identical", alone=nothing, chained=nothing, raster_recorded=silent,
                  raster_exact=silent, neighbourhood=None),
            layer("no chain", "identical", chained=None, raster_exact=None),
            layer("x" * 300, "mismatch", model=EVIL, reason=EVIL * 20, cause=["gain", EVIL]),
            layer("隠れ層 — ñandú 🧠", "tie", neighbourhood=voltages(), checks=[]),
        ], framework="ノース", dt=None, provenance={EVIL: EVIL}),
        recording("empty.npz", []),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------- table


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits(results, width):
    out = io.StringIO()
    report.print_table(results, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    console = Console(width=300)
    assert max(console.measure(line).maximum for line in lines) <= min(width, 100)
    text = " ".join(out.getvalue().split())
    assert all(verdict in text for verdict in VERDICTS)
    assert "44,1,7" in text and "400/403" in text and "reset_kind" in text
    assert "\x1b" not in text and "\u202e" not in text
    assert "1 of 4 recordings pass, 6 of 9 layers." in text and "It holds no layer." in text


def test_markup_in_names_is_text():
    out = io.StringIO()
    names = [layer("[bold]a[/bold]", "identical"), layer("[/]", "mismatch", reason="[red]x[/]")]
    report.print_table([recording("[x].npz", names)], Console(file=out, width=100))
    assert "[bold]a[/bold]" in out.getvalue() and "[red]x[/]" in out.getvalue()


# ------------------------------------------------------------------------------------------ JSON


def test_json_is_what_programs_expect(results, tmp_path):
    report.write_json(results, tmp_path / "a.json", errors={"bad.npz": "bad.npz: is empty"})

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert [r["verdict"] for r in found["recordings"]] == [
        "pass", "fail", "fail", "unverifiable",
    ]  # fmt: skip
    assert found["errors"] == [{"path": "bad.npz", "error": "bad.npz: is empty"}]
    first = found["recordings"][1]["layers"][0]
    assert first["cause"] == ["reset_kind", "ignored:v_reset"]
    assert (first["first"]["step"], first["first"]["sample"], first["first"]["neuron"]) == (
        44,
        1,
        7,
    )
    assert first["alone"]["divergence"] == 41.3
    silent = found["recordings"][2]["layers"][0]
    assert silent["first"] is None
    assert silent["alone"]["order"] is None and silent["alone"]["divergence"] is None
    assert silent["alone"]["time_error"] == {"n": 0, "median": None, "p95": None, "max": None}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_numpy_values_become_json():
    odd = recording("a.npz", [], provenance={"a": np.float32(np.inf), "b": {1, 2}, 3: object})
    found = report.to_json([odd])["recordings"][0]["provenance"]
    assert found["a"] is None and sorted(found["b"]) == [1, 2] and "object" in found["3"]


# ------------------------------------------------------------------------------------------ page


class Page(html.parser.HTMLParser):
    VOID = frozenset({"meta", "br", "path", "use"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.words = [], [], [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [v for k, v in attributes if k in ("href", "src", "xlink:href")]
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_alone(results, tmp_path):
    seen = []
    report.write_html(
        results, tmp_path / "a.html", progress=lambda *a: seen.append(a), errors={"b": "b: <empty>"}
    )
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(link.startswith("#") for link in page.links)
    assert "url(http" not in text and "@import" not in text
    anchors = [link[1:] for link in page.links if re.fullmatch(r"#r\d+(l\d+)?", link)]
    assert anchors and set(anchors) <= set(page.ids)
    assert len([i for i in page.ids if re.match(r"r\d", i)]) == len(
        {i for i in page.ids if re.match(r"r\d", i)}
    )
    svgs = [a for tag, a in page.tags if tag == "svg"]
    assert len(svgs) == 3 + 7 + 7 and all(a["role"] == "img" and a["aria-label"] for a in svgs)
    assert not re.search("|".join(figures.PALETTE.values()), text[text.index("</style>") :])
    words = " ".join(page.words)
    assert "1 of 4 recordings pass, 6 of 9 layers." in words and "b: <empty>" in words
    assert all(verdict in words for verdict in VERDICTS)
    assert "隠れ層 — ñandú 🧠" in words
    assert [s[:2] for s in seen] == [(i, 4) for i in range(5)]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.html"]


def test_six_large_recordings_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    spikes = (np.sort(rng.integers(0, 1000, 200_000)), rng.integers(0, 4096, 200_000))
    layers = [
        layer(f"l{i}", "mismatch", raster_recorded=spikes, raster_exact=spikes,
              alone=truth(i, 200_000))
        for i in range(3)
    ]  # fmt: skip
    start = time.perf_counter()
    report.write_html([recording(f"{i}.npz", layers, n_steps=1000) for i in range(6)],
                      tmp_path / "a.html")  # fmt: skip
    assert (tmp_path / "a.html").stat().st_size < 3_000_000
    assert time.perf_counter() - start < 60


def test_an_interrupted_page_leaves_nothing(results, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.write_html(results, tmp_path / "a.html", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_first_mismatch_is_among_the_neurons_shown():
    far = Mismatch("spikes", 3, 0, 1234, 0.0, 1.0, 1.0)
    n = 5000
    spikes = (np.zeros(n, int), np.arange(n))
    svg = figures.raster(layer("a", "mismatch", first=far, raster_recorded=spikes), T)
    rows = figures._choose(np.arange(n), [1234])
    assert 1234 in rows and len(rows) <= figures.MAX_ROWS
    assert "32 of 5000" in svg


def test_figures_leave_matplotlib_as_it_was(results, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    report.write_html(results, tmp_path / "a.html")
    assert dict(matplotlib.rcParams) == before


def test_no_pyplot():
    import subprocess

    code = "import sys, validation.report; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_cannot_leave_the_alternative_text():
    name = '"><b onclick="x">$\\frac'
    found = layer(name, "mismatch")
    for svg in (figures.raster(found, T), figures.voltage(found), figures.error_by_layer([found])):
        page = Page(svg)
        assert name in page.tags[0][1]["aria-label"]
        assert "b" not in {tag for tag, _ in page.tags}
