"""The report in a browser of this machine: no network, no scroll bar on a phone, filters work."""

import html
import json
import re
import shutil
import subprocess

import pytest

from validation import report
from validation.verify import verify_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")
FOUND = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(FOUND is None, reason=f"none of {', '.join(BROWSERS)} is installed")

#: Widths of a phone and of a desk, in CSS pixels.
PHONE, DESK = 390, 1200
#: A frame is as wide as it is told to be, a window may not be.
FRAME = """<!DOCTYPE html><body>
<iframe style="width:{width}px;height:800px;border:0" srcdoc="{page}"></iframe><pre></pre><script>
document.querySelector("iframe").onload = e => {{
  const d = e.target.contentDocument, w = e.target.contentWindow;
  const at = q => [...d.querySelectorAll(q)];
  const size = x => parseFloat(w.getComputedStyle(x).fontSize);
  const seen = x => x.getClientRects().length > 0;
  const wide = x => x.getBoundingClientRect().right > {width} + 1 && !x.closest(".scroll");
  const found = {{
    width: d.documentElement.scrollWidth,
    beyond: at("main *").filter(wide).map(x => x.outerHTML.slice(0, 80)),
    least: Math.min(...at("p,td,figcaption,h1,h2,h3").map(size)),
    loaded: w.performance.getEntriesByType("resource").map(x => x.name),
    rows: at(".all tbody tr").filter(seen).length,
    sections: at("section").filter(seen).length,
    figures: at("figure svg").filter(x => x.getBoundingClientRect().height > 40).length,
    title: d.title,
  }};
  const bad = d.getElementById("show-bad");
  if (bad) {{ bad.click(); found.rowsBad = at(".all tbody tr").filter(seen).length;
    found.sectionsBad = at("section").filter(seen).length; }}
  document.querySelector("pre").textContent = JSON.stringify(found);
}};
</script></body>"""


def opened(page, width, folder):
    """What the browser makes of a page in a frame of some width."""
    path = folder / f"frame{width}.html"
    path.write_text(FRAME.format(width=width, page=html.escape(page.read_text())))
    asked = [
        FOUND, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-extensions", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
        "--window-size=1300,900", "--virtual-time-budget=5000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(asked, capture_output=True, text=True, timeout=90)
    found = re.search(r"<pre>(\{.*?\})</pre>", done.stdout, re.S)
    assert found is not None, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report on two recordings that ship, one of them wrong."""
    from importlib.resources import files

    folder = tmp_path_factory.mktemp("report")
    traces = sorted(files("validation").joinpath("traces").iterdir())
    chosen = [t for t in traces if t.name.startswith(("03", "07"))]
    results = [verify_file(path) for path in chosen]
    path = folder / "report.html"
    report.write_html(results, path)
    return path, [layer for result in results for layer in result.layers]


def test_a_phone_needs_no_scroll_bar(page, tmp_path):
    path, layers = page
    found = opened(path, PHONE, tmp_path)
    assert found["width"] <= PHONE and not found["beyond"]
    assert found["least"] >= 12.0
    assert found["loaded"] == []
    assert found["rows"] == found["sections"] == len(layers)
    assert found["figures"] >= len(layers)
    assert "verification report" in found["title"]


def test_a_desk_and_the_filter(page, tmp_path):
    path, layers = page
    found = opened(path, DESK, tmp_path)
    wrong = sum(layer.verdict == "mismatch" for layer in layers)
    assert found["width"] <= DESK and not found["beyond"]
    assert 0 < wrong < len(layers)
    assert found["rowsBad"] == found["sectionsBad"] == wrong


def test_the_page_asks_for_nothing(page):
    """Neither script nor link nor import, and no address but those of XML."""
    text = page[0].read_text()
    assert not re.search(r"<script|<link|@import|src=|url\((?!#)", text)
    assert not [a for a in re.findall(r"https?://[^\s\"'<]+", text) if "www.w3.org" not in a]
