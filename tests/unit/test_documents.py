import re
import tomllib
from pathlib import Path

import pytest

from simquery.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "embedders" / "mini" / "CARD.md"])


def text(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`(?:python )?((?:benchmarks|demo|docs|examples|kibana|mappings|src|tests)/[\w./-]+\.\w+)", text(page)
    )
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    defined = {
        test
        for path in (ROOT / "tests").rglob("test_*.py")
        for test in re.findall(r"^\s*def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(defined) > 100
    named = set(re.findall(r"`(test_\w+)`", text(page)))
    assert named <= defined


def test_the_readme_is_short_enough_to_be_read_to_its_end() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) > 120] == []


def test_the_index_of_the_documentation_lists_every_page() -> None:
    pages = {page for page in DOCS.rglob("*.md") if page != DOCS / "index.md" and page.parent.name != "images"}
    listed = {
        (DOCS / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", text(DOCS / "index.md"))
    }
    assert pages <= listed


def test_the_page_of_settings_lists_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", text(DOCS / "settings.md"), re.MULTILINE)
    assert {setting for row in rows for setting in re.findall(r"`(\w+)`", row)} == set(Settings.model_fields)


def test_the_page_on_the_architecture_shows_the_layers_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    assert "\n".join(contract["layers"]) in (DOCS / "architecture.md").read_text(encoding="utf-8")


def test_the_page_on_the_architecture_names_every_folder() -> None:
    listed = set(re.findall(r"`([\w/]+)`", text(DOCS / "architecture.md")))
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    rooms = {
        f"src/simquery/{path.parent.name}"
        for path in (ROOT / "src" / "simquery").glob("*/__init__.py")
        if not path.parent.is_symlink()
    }
    assert folders | rooms <= listed
