"""Trust in the node's home: root must not run a server that another user has prepared."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simquery.errors import NodeError
from simquery.node import LocalNode
from simquery.node.layout import Layout
from simquery.settings import Settings

STRANGER = 60950
ACCOUNT = 65534  # nobody: every system has it

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with the files of a node that has run."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        Path(name).chmod(0o711)
        home.mkdir(mode=0o711)
        for folder in ("config", "data", "logs", "tmp"):
            (home / folder).mkdir(mode=0o700)
        for file in ("password", "api-key", "node.json"):
            (home / file).write_text("of somebody's choice")
            (home / file).chmod(0o600)
        yield home


def commands(home: Path) -> list[Callable[[], object]]:
    node = LocalNode(Settings(home=home))
    return [node.up, node.down]


def check_refused(home: Path, told: str) -> None:
    for command in commands(home):
        with pytest.raises(NodeError, match=told):
            command()
    assert (home / "password").read_text() == "of somebody's choice"
    assert not (home / "lock").exists()


def test_a_home_of_ones_own_is_trusted(home: Path) -> None:
    (home / "config").chmod(0o1770)
    Layout(home).check_trust()
    (home.parent / "link").symlink_to(home)
    Layout(home.parent / "link").check_trust()


def test_a_home_that_does_not_exist_has_nothing_to_distrust(home: Path) -> None:
    Layout(home / "none").check_trust()


@as_root
def test_the_servers_user_may_own_its_folders_and_nothing_else(home: Path) -> None:
    for folder in ("data", "logs", "tmp"):
        os.chown(home / folder, STRANGER, STRANGER)
    Layout(home).check_trust()
    os.chown(home / "config", STRANGER, STRANGER)
    check_refused(home, f"config' belongs to user {STRANGER}")


@as_root
def test_a_home_of_another_user_is_refused(home: Path) -> None:
    os.chown(home, STRANGER, STRANGER)
    check_refused(home, f"'{home}' belongs to user {STRANGER}.* SIMQUERY_HOME")


@as_root
def test_a_password_of_another_user_is_refused(home: Path) -> None:
    os.chown(home / "password", STRANGER, STRANGER)
    check_refused(home, f"password' belongs to user {STRANGER}")


@as_root
def test_root_starts_no_server_as_a_user_who_can_log_in(home: Path) -> None:
    os.chown(home / "data", ACCOUNT, ACCOUNT)
    check_refused(home, f"data' belongs to user {ACCOUNT}")


@as_root
def test_a_home_behind_another_users_link_is_refused(home: Path) -> None:
    link = home.parent / "link"
    link.symlink_to(home)
    os.lchown(link, STRANGER, STRANGER)
    check_refused(link, f"link' belongs to user {STRANGER}")


@pytest.mark.parametrize("name", ["", "password", "data"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_can_write_is_refused(home: Path, name: str, mode: int) -> None:
    (home / name).chmod(mode)
    check_refused(home, f"Other users can write to '{home / name}'.*chmod go-w")


@pytest.mark.parametrize("name", ["password", "data", "console.log"])
def test_a_link_in_a_home_is_refused(home: Path, name: str) -> None:
    victim = home.parent / "victim"
    victim.write_text("of somebody's choice")
    if (home / name).is_dir():
        (home / name).rmdir()
    (home / name).unlink(missing_ok=True)
    (home / name).symlink_to(victim)
    check_refused(home, f"{name}' is a symbolic link")
    assert victim.read_text() == "of somebody's choice"
