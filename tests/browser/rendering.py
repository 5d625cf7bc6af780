"""What Kibana does with a Vega panel, without Kibana: fill in the request, ask Elasticsearch, draw the answer."""

import copy
import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

SOURCES = Path(__file__).parent
PACKAGES = SOURCES.parents[1] / ".cache" / "browser"
WIDTH = 1280
_SCRIPTS = (
    "vega/build/vega.js",
    "vega-lite/build/vega-lite.min.js",
    "vega-interpreter/build/vega-interpreter.js",
)
_STYLE = """
body { margin: 0; background: white; }
section { width: %dpx; height: %dpx; overflow: hidden; }
"""


class CannotDrawError(Exception):
    """No browser, or no Vega; the message says which and why."""


def browser() -> str:
    """Return the path of Chromium, or of a browser based on it."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise CannotDrawError("no Chromium on this machine (Debian: apt-get install chromium)")


def install_packages() -> None:
    """Fetch the pinned packages, once."""
    if all((PACKAGES / "node_modules" / script).is_file() for script in _SCRIPTS):
        return
    if shutil.which("npm") is None:
        raise CannotDrawError("no npm on this machine to fetch Vega with (Debian: apt-get install npm)")
    PACKAGES.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, PACKAGES)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=PACKAGES, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise CannotDrawError(f"npm could not fetch Vega: {done.stderr.strip()[-300:]}")


def request(spec: Mapping[str, Any], clauses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Search request of a panel, with filters of a dashboard in the places that Kibana fills in."""
    filled: dict[str, Any] = _filled(spec["data"]["url"], list(clauses))
    return filled


def _filled(value: Any, clauses: list[Mapping[str, Any]]) -> Any:
    if isinstance(value, dict):
        if value == {"%timefilter%": True}:
            return {"gte": "1990-01-01T00:00:00Z", "lte": "2100-01-01T00:00:00Z", "format": "strict_date_optional_time"}
        return {name: _filled(each, clauses) for name, each in value.items()}
    if isinstance(value, list):
        filled: list[Any] = []
        for each in value:
            if each == "%dashboard_context-filter_clause%":
                filled += clauses
            elif each not in ("%dashboard_context-must_clause%", "%dashboard_context-must_not_clause%"):
                filled.append(_filled(each, clauses))
        return filled
    return value


def answered(client: Elasticsearch, spec: Mapping[str, Any], clauses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The spec with Elasticsearch's answer in place of the request, as Kibana gives it to Vega."""
    filled = request(spec, clauses)
    answer = client.search(index=filled["index"], **filled["body"], ignore_unavailable=True)
    drawn = copy.deepcopy(dict(spec))
    del drawn["data"]["url"]
    drawn["data"]["values"] = answer.body
    return drawn


def page(panels: Mapping[str, Mapping[str, Any]], height: int = 360) -> str:
    """A page that draws panels below each other, each in a section with its name."""
    scripts = [_classic((PACKAGES / "node_modules" / script).read_text("utf-8")) for script in _SCRIPTS]
    # What is in a document must not end the script element that holds it.
    data = json.dumps(panels).replace("<", "\\u003c")
    return "".join(
        [
            "<!doctype html><meta charset=utf-8><style>",
            _STYLE % (WIDTH, height),
            "</style><body>",
            f'<script type="application/json" id="panels">{data}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            f"<script>{(SOURCES / 'panels.js').read_text('utf-8')}</script>",
        ]
    )


def _classic(script: str) -> str:
    # Browsers load no modules from files, and the interpreter is published as nothing else.
    exported = re.search(r"^export \{ (\w+) as (\w+) \};", script, flags=re.MULTILINE)
    if exported is None:
        return script
    script = re.sub(r"^import (\{[^}]*\}) from 'vega-util';", r"const \1 = vega;", script)
    return script.replace(exported[0], f"vega.{exported[2]} = {exported[1]};")


def drawn_page(folder: Path, content: str, *options: str) -> str:
    """Open a page in the browser and return its document after everything was drawn."""
    file = folder / "panels.html"
    file.write_text(content, "utf-8")
    command = [
        browser(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=20000",
        f"--window-size={WIDTH},{(options and 8000) or 800}",
        *(options or ("--dump-dom",)),
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise CannotDrawError(f"the browser ended with {done.returncode}: {html.escape(done.stderr[-300:])}")
    return done.stdout
