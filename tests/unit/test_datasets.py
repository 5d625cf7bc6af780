"""Reading data sets of classes, and the references drawn from them."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from simquery.errors import DatasetError, FolderError
from simquery.evaluation.dataset import Dataset, LabelledPicture, Omission, read_dataset
from simquery.evaluation.topics import draw_topics
from tests.conftest import save_picture


def classes(folder: Path, **counts: int) -> Path:
    for number, (label, count) in enumerate(counts.items()):
        for seed in range(count):
            save_picture(folder / label / f"{seed}.png", seed + 100 * number)
    return folder


def made(**counts: int) -> Dataset:
    """A data set without files."""
    names = [(label, f"{label}{number}") for label, count in counts.items() for number in range(count)]
    return Dataset(
        "made", tuple(LabelledPicture(f"{name:0>64}", Path(name), (name,), (label,)) for label, name in names)
    )


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    classes(tmp_path, cats=3, dogs=2)
    save_picture(tmp_path / "dogs" / "puppies" / "p.png", 300)
    data = read_dataset(tmp_path).checked()
    assert {label: len(rows) for label, rows in data.members.items()} == {"cats": 3, "dogs": 3}
    assert [picture.sha256 for picture in data.pictures] == sorted(picture.sha256 for picture in data.pictures)
    assert not data.omissions
    assert not data.shared


def test_what_belongs_to_no_class_is_listed(tmp_path: Path) -> None:
    classes(tmp_path, cats=2, dogs=2)
    save_picture(tmp_path / "loose.png", 7)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "cats" / "link.png").symlink_to(tmp_path / "loose.png")
    assert read_dataset(tmp_path).omissions == (
        Omission("cats/link.png", "a symbolic link"),
        Omission("loose.png", "not in a class folder"),
        Omission("nothing", "an empty class"),
    )


def test_the_same_content_is_one_picture_and_of_two_classes_when_it_lies_in_both(tmp_path: Path) -> None:
    classes(tmp_path, cats=3, dogs=3)
    shutil.copy(tmp_path / "cats" / "0.png", tmp_path / "cats" / "again.png")
    shutil.copy(tmp_path / "cats" / "1.png", tmp_path / "dogs" / "cat.png")
    data = read_dataset(tmp_path)
    assert len(data.pictures) == 6
    (shared,) = data.shared
    assert (shared.paths, shared.labels) == (("cats/1.png", "dogs/cat.png"), ("cats", "dogs"))
    assert {label: len(rows) for label, rows in data.members.items()} == {"cats": 3, "dogs": 4}
    drawn = {data.pictures[query.reference].sha256 for query in draw_topics(data, 100, 0)}
    assert drawn == {picture.sha256 for picture in data.pictures} - {shared.sha256}


def test_a_csv_names_paths_and_classes(tmp_path: Path) -> None:
    classes(tmp_path / "pictures", a=3, b=2)
    rows = ["path,class", "pictures/a/0.png,x", "pictures/a/1.png,x", "pictures/b/0.png,y", "pictures/b/9.png,y"]
    file = tmp_path / "labels.csv"
    file.write_text("\n".join([*rows, "pictures/b,y", "pictures/a/2.png,", ",y"]), encoding="utf-8-sig")
    data = read_dataset(file).checked()
    assert {label: len(members) for label, members in data.members.items()} == {"x": 2, "y": 1}
    assert set(data.omissions) == {
        Omission("pictures/b/9.png", "there is no such file"),
        Omission("pictures/b", "not a regular file"),
        Omission("pictures/a/2.png", "has no class"),
        Omission("line 8", "has no path"),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file;label\n", "no header with the columns path and class"),
        (b"", "no header"),
        (b"path,class\n\xff\xfe,x\n", "cannot be read as CSV in UTF-8"),
        (b'path,class\n"a,x\n', "cannot be read as CSV"),
        (b"path,class\nmissing.png,x\n", r"contains no readable file in a class.*missing.png: there is no such file"),
    ],
)
def test_a_file_that_is_no_such_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_dataset(file)


def test_data_sets_that_nothing_can_be_judged_by_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError):
        read_dataset(tmp_path / "missing")
    with pytest.raises(DatasetError, match="contains no readable file in a class"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="at least two are needed"):
        made(cats=5).checked()
    with pytest.raises(DatasetError, match="No class of 'made' has two pictures"):
        made(cats=1, dogs=1).checked()
    with pytest.raises(DatasetError, match="No class of 'made' has two pictures"):
        dataclasses.replace(made(cats=1, others=9), distractors=frozenset({"others"})).checked()
    with pytest.raises(DatasetError, match=r"has no class .birds.\. Its classes are: cats, dogs"):
        dataclasses.replace(made(cats=2, dogs=2), distractors=frozenset({"birds"})).checked()


def test_one_class_among_distractors_can_be_judged() -> None:
    data = dataclasses.replace(made(cats=3, others=9), distractors=frozenset({"others"})).checked()
    assert {query.label for query in draw_topics(data, 100, 0)} == {"cats"}


def test_a_picture_without_a_vector_leaves_the_data_set_with_its_reason() -> None:
    data = made(cats=3, dogs=2)
    content = data.pictures[0].sha256
    less = data.without({content: "broken picture"})
    assert less.omissions == (Omission("cats0", "broken picture"),)
    assert len(less.members["cats"]) == 2
    assert less.fingerprint != data.fingerprint


def test_the_fingerprint_is_that_of_contents_and_classes(tmp_path: Path) -> None:
    one, two = classes(tmp_path / "one", cats=2, dogs=2), tmp_path / "two"
    shutil.copytree(one, two)
    (two / "cats" / "0.png").rename(two / "cats" / "renamed.png")
    assert read_dataset(one).fingerprint == read_dataset(two).fingerprint
    (two / "cats" / "1.png").rename(two / "dogs" / "moved.png")
    assert read_dataset(one).fingerprint != read_dataset(two).fingerprint


def test_every_class_gives_a_reference_before_one_gives_two() -> None:
    data = made(cats=20, dogs=2, owls=5, hermit=1)
    for count, expected in ((2, 2), (3, 3), (6, 6), (100, 27)):
        labels = [query.label for query in draw_topics(data, count, 4)]
        assert len(labels) == expected
        assert "hermit" not in labels  # nothing would be left to find
        most = max(labels.count(label) for label in labels)
        assert count > 6 or most - min(labels.count(label) for label in set(labels)) <= 1


def test_the_seed_alone_decides_and_other_classes_change_nothing() -> None:
    data, more = made(cats=20, dogs=20), made(cats=20, dogs=20, owls=20)
    first = [query.reference for query in draw_topics(data, 10, 1)]
    assert first == [query.reference for query in draw_topics(data, 10, 1)]
    assert first != [query.reference for query in draw_topics(data, 10, 2)]
    assert first == [query.reference for query in draw_topics(more, 15, 1) if query.label != "owls"]


def test_companions_are_of_the_class_and_leave_something_to_find() -> None:
    data = made(cats=8, dogs=5, owls=6)
    queries = draw_topics(data, 100, 0, several=5)
    for query in queries:
        if query.label == "dogs":  # five references of five pictures would leave none
            assert query.companions == ()
            continue
        rows = {query.reference, *query.companions}
        assert len(rows) == 5
        assert rows < set(data.members[query.label].tolist())
    assert [query.reference for query in queries] == [query.reference for query in draw_topics(data, 100, 0)]
