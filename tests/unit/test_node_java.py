"""Finding a JDK: fake installations with the files that real ones have."""

from pathlib import Path

import pytest

from simquery.errors import JavaError
from simquery.node.java import Jdk, find_jdk, inspect_jdk, newest_supported


def make_jdk(home: Path, version: str, modules: str = "java.base jdk.jdi") -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    (home / "bin" / "java").chmod(0o755)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\nOS_NAME="Linux"\n')
    return home


@pytest.mark.parametrize(
    ("version", "feature"), [("25.0.3", 25), ("21", 21), ("21.0.2+13", 21), ("17.0.15", 17), ("1.8.0_402", 8)]
)
def test_reads_the_feature_release(tmp_path: Path, version: str, feature: int) -> None:
    jdk = inspect_jdk(make_jdk(tmp_path / "jdk", version))
    assert jdk is not None
    assert jdk.feature == feature
    assert jdk.suitable == (feature >= 21)


def test_a_runtime_is_not_enough(tmp_path: Path) -> None:
    jdk = inspect_jdk(make_jdk(tmp_path / "jre", "21.0.2", modules="java.base java.logging"))
    assert jdk is not None
    assert not jdk.suitable
    assert "jdk.jdi" in jdk.fault


def test_a_folder_without_java_is_none(tmp_path: Path) -> None:
    assert inspect_jdk(tmp_path) is None


def test_asks_a_jdk_without_release_file(tmp_path: Path) -> None:
    home = make_jdk(tmp_path / "jdk", "0")
    (home / "release").unlink()
    (home / "bin" / "java").write_text("#!/bin/sh\necho java.base@22.0.1\necho jdk.jdi@22.0.1\n")
    assert inspect_jdk(home) == Jdk(home, 22, complete=True)


def test_a_broken_java_is_none(tmp_path: Path) -> None:
    home = make_jdk(tmp_path / "jdk", "0")
    (home / "release").write_text("")
    assert inspect_jdk(home) is None


def test_prefers_long_term_support(tmp_path: Path) -> None:
    found = [Jdk(tmp_path / str(feature), feature, complete=True) for feature in (21, 26, 25, 17)]
    best = newest_supported(found)
    assert best is not None
    assert best.feature == 25
    assert newest_supported(found[3:]) is None


def test_the_setting_is_taken_and_nothing_else(tmp_path: Path) -> None:
    chosen = make_jdk(tmp_path / "chosen", "21.0.1")
    other = make_jdk(tmp_path / "other", "25.0.1")
    assert find_jdk(chosen, {"JAVA_HOME": str(other)}, patterns=[]).home == chosen


@pytest.mark.parametrize(
    ("version", "modules", "told"),
    [("17.0.2", "java.base jdk.jdi", "is Java 17"), ("21.0.2", "java.base", "without the module jdk.jdi")],
)
def test_an_unsuitable_setting_is_an_error(tmp_path: Path, version: str, modules: str, told: str) -> None:
    chosen = make_jdk(tmp_path / "chosen", version, modules)
    with pytest.raises(JavaError, match=told):
        find_jdk(chosen, {})


def test_a_setting_without_java_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JavaError, match="there is no bin/java"):
        find_jdk(tmp_path, {})


def test_environment_then_bundled_then_java_home_then_path(tmp_path: Path) -> None:
    own, bundled, java_home, on_path = (make_jdk(tmp_path / name, "21.0.1") for name in "abcd")
    environment = {"ES_JAVA_HOME": str(own), "JAVA_HOME": str(java_home), "PATH": str(on_path / "bin")}
    assert find_jdk(None, environment, bundled, patterns=[]).home == own
    del environment["ES_JAVA_HOME"]
    assert find_jdk(None, environment, bundled, patterns=[]).home == bundled
    assert find_jdk(None, environment, patterns=[]).home == java_home
    del environment["JAVA_HOME"]
    assert find_jdk(None, environment, patterns=[]).home == on_path


def test_too_old_a_java_home_is_passed_over_for_an_installed_one(tmp_path: Path) -> None:
    old = make_jdk(tmp_path / "old", "17.0.15")
    make_jdk(tmp_path / "jvm" / "jdk-21", "21.0.1")
    newest = make_jdk(tmp_path / "jvm" / "jdk-25", "25.0.3")
    jdk = find_jdk(None, {"JAVA_HOME": str(old)}, patterns=[f"{tmp_path}/jvm/*"])
    assert jdk.home == newest


def test_java_on_path_is_followed_to_its_home(tmp_path: Path) -> None:
    home = make_jdk(tmp_path / "jdk", "21.0.1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    assert find_jdk(None, {"PATH": str(tmp_path / "bin")}, patterns=[]).home == home


def test_one_that_the_servers_user_cannot_reach_is_passed_over(tmp_path: Path) -> None:
    hidden = make_jdk(tmp_path / "hidden", "25.0.1")
    shown = make_jdk(tmp_path / "shown", "21.0.1")
    jdk = find_jdk(
        None, {"JAVA_HOME": str(hidden)}, reachable=lambda path: hidden not in path.parents, patterns=[str(shown)]
    )
    assert jdk.home == shown


def test_none_names_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    old = make_jdk(tmp_path / "old", "17.0.15")
    with pytest.raises(JavaError) as error:
        find_jdk(None, {"JAVA_HOME": str(old)}, patterns=[])
    assert "a JDK 21 or newer" in str(error.value)
    assert f"'{old}' is Java 17" in str(error.value)
    assert "SIMQUERY_JAVA_HOME" in str(error.value)
