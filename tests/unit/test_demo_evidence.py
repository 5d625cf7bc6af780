import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

DEMO = Path(__file__).resolve().parents[2] / "demo"


def build(folder: Path) -> Path:
    """Build it as a user would, in a process of its own: the demo is no package."""
    subprocess.run([sys.executable, DEMO / "evidence.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("demo") / "evidence")


def files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def test_there_are_more_than_two_hundred_pictures_of_three_kinds(evidence: Path) -> None:
    pictures = [name for name in files(evidence) if name.startswith(("photographs/", "variants/", "generated/"))]
    assert len(pictures) >= 200
    assert {name.partition("/")[0] for name in pictures} == {"photographs", "variants", "generated"}
    for name in pictures:
        with Image.open(evidence / name) as picture:
            picture.load()


def test_the_same_bytes_come_out_every_time(evidence: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files(folder).items()}

    assert digests(build(tmp_path / "again")) == digests(evidence)


def test_sources_says_of_every_file_what_it_is(evidence: Path) -> None:
    listed = re.findall(r"^\| `(.+?)` \| (.+?) \| (\w+) \|$", (evidence / "SOURCES.md").read_text(), re.MULTILINE)
    assert {name for name, _, _ in listed} == set(files(evidence))
    assert {status for _, _, status in listed} == {"indexed", "duplicate", "unreadable", "skipped"}
    photographs = [words for name, words, _ in listed if name.startswith("photographs/")]
    assert all(re.search(r"CC0|CC BY|public domain|no known copyright restrictions", words) for words in photographs)


def test_only_the_listed_duplicate_has_the_bytes_of_another_file(evidence: Path) -> None:
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files(evidence).values()]
    listed = re.findall(r"\| duplicate \|$", (evidence / "SOURCES.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(contents) - len(set(contents)) == len(listed) == 1
