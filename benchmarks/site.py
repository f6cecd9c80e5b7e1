"""What each page of the site asks for and weighs, how soon its largest part is painted, and what axe-core finds in it.

    python benchmarks/site.py [--only PAGE ...]

Every page is opened from its file in Chromium with an empty cache, 1,280 pixels wide: requests, bytes of the files (figures apart),
and the time of the largest contentful paint by the browser's own clock, median of three. axe-core then checks it in light and in
dark, 1,280 and 360 pixels wide, with every fold open. --only, such as chapters/02_layers, measures those pages again and keeps the
others. Results go to benchmarks/results/site.json; tests/test_site.py holds the limits.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from browser import find_chromium, prepare_for_axe, violations  # noqa: E402

OUT = ROOT / "benchmarks" / "results" / "site.json"
VIEWS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 360)]
PAINTS = """window.paints = [];
new PerformanceObserver(list => window.paints.push(...list.getEntries().map(e => e.startTime)))
    .observe({type: "largest-contentful-paint", buffered: true});"""


def load(browser, url):
    """(page, URLs requested until then, milliseconds to the largest paint) of one page, opened afresh."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
    page.set_default_timeout(120_000)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.add_init_script(PAINTS)
    page.goto(url, wait_until="load")
    page.wait_for_timeout(500)
    return page, list(requests), page.evaluate("Math.max(...window.paints)")


def measure(browser, path):
    """The row of one page."""
    times = []
    for _ in range(3):
        page, requests, milliseconds = load(browser, path.as_uri())
        times.append(milliseconds)
        if len(times) < 3:
            page.context.close()
    files = {unquote(urlsplit(url).path) for url in requests if url.startswith("file:")}
    sizes = {name: Path(name).stat().st_size for name in files}
    figures = sum(size for name, size in sizes.items() if "/_images/" in name)
    prepare_for_axe(page)
    found = {f"{scheme} {width}": [v["id"] for v in violations(page, scheme, width)] for scheme, width in VIEWS}
    page.context.close()
    return {"requests": len(requests), "outside": len([u for u in requests if not u.startswith(("file:", "data:", "blob:"))]),
            "bytes": sum(sizes.values()) - figures, "bytes_of_figures": figures,
            "largest_paint_ms": round(statistics.median(times)), "axe": found}


def show(pages):
    """The table."""
    print(f"{'page':32} {'requests':>8} {'outside':>7} {'kB':>6} {'figures kB':>10} {'largest paint ms':>16}  axe, four views")
    for name, row in pages.items():
        said = ", ".join(f"{view}: {' '.join(ids)}" for view, ids in row["axe"].items() if ids) or "nothing"
        print(f"{name:32} {row['requests']:8} {row['outside']:7} {row['bytes'] / 1e3:6.0f} {row['bytes_of_figures'] / 1e3:10.0f} "
              f"{row['largest_paint_ms']:16}  {said}")


def main():
    """Build the site, measure, store, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="PAGE")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        subprocess.run([sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(ROOT), "--quiet",
                        "--path-output", folder], check=True, capture_output=True)
        site = Path(folder, "_build", "html")
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=["--no-sandbox"])
        pages = {str(path.relative_to(site).with_suffix("")): path for path in sorted(site.rglob("*.html"))}
        rows = json.loads(OUT.read_text())["pages"] if only and OUT.exists() else {}
        rows |= {name: measure(browser, path) for name, path in pages.items() if not only or name in only}
        record = {"browser": f"Chromium {browser.version}", "machine": platform.machine(), "cores": os.cpu_count(),
                  "pages": {name: rows[name] for name in pages if name in rows}}
        browser.close()
    OUT.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    show(record["pages"])


if __name__ == "__main__":
    main()
