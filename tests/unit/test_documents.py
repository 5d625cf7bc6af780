import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from simquery.cli.main import cli
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


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every simquery command line that a page shows, without the prompt and the comment."""
    content = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ *\$ (?:\w+=\S+ )*simquery (.+)$", content, re.MULTILINE):
        yield shlex.split(re.split(r" [>|&]", line)[0], comments=True)
    for line in re.findall(r"`simquery ([^`]+)`", content):
        yield shlex.split(re.split(r"[…]", line)[0])


def unknown(words: list[str]) -> list[str]:
    """Return the parts of a command line that simquery does not know: the command or its options."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0]) if words else None
        if found is None:
            return words[:1] if command is cli else []
        command, words = found, words[1:]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [
        word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in {*options, "--help"}
    ]


# The changelog also names commands and options that are gone.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_command_line_that_a_page_shows_exists(page: Path) -> None:
    assert [trouble for words in commands(page) for trouble in unknown(words)] == []


def test_an_unknown_command_or_option_would_be_noticed() -> None:
    assert unknown(["quary", "a.jpg"]) == ["quary"]
    assert unknown(["query", "a.jpg", "--sheat", "b.png"]) == ["--sheat"]
    assert unknown(["kibana", "install", "--space", "a"]) == []
    shown = list(commands(ROOT / "README.md"))
    assert ["query", "a.jpg", "b.jpg", "--combine", "min", "--not", "c.jpg"] in shown


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


def test_the_page_on_benchmarks_lists_every_benchmark() -> None:
    listed = set(re.findall(r"^\| `(\w+\.py)` \|", text(DOCS / "benchmarks.md"), re.MULTILINE))
    assert listed == {path.name for path in (ROOT / "benchmarks").glob("*.py")}


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
