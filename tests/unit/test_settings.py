import os
from collections.abc import Callable
from pathlib import Path

import pytest

from simquery.errors import SettingsError
from simquery.settings import DEFAULT_MODEL, configuration_file, load_settings
from tests.conftest import unprivileged

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the configuration file that SIMQUERY_CONFIG names."""

    def write(content: str | bytes) -> Path:
        file = tmp_path / "configuration" / "simquery.toml"
        file.parent.mkdir(mode=0o755, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setenv("SIMQUERY_CONFIG", str(file))
        return file

    return write


def test_defaults_need_no_configuration() -> None:
    settings = load_settings()
    assert settings.case == "default"
    assert settings.model == DEFAULT_MODEL
    assert settings.url is None
    assert settings.verify_certificates


def test_option_beats_environment_beats_file_beats_default(
    monkeypatch: pytest.MonkeyPatch, write_configuration: Write
) -> None:
    write_configuration('case = "from-file"\nmodel = "vgg16"\nheap = "2g"\n')
    monkeypatch.setenv("SIMQUERY_CASE", "from-environment")
    monkeypatch.setenv("SIMQUERY_MODEL", "vgg19")
    settings = load_settings(case="from-option", model=None)
    assert (settings.case, settings.model, settings.heap) == ("from-option", "vgg19", "2g")


def test_own_networks_can_be_named_in_the_file(write_configuration: Write) -> None:
    write_configuration('[embedders]\nlab-net = "/nets/lab.keras"\n')
    assert load_settings().embedders == {"lab-net": "/nets/lab.keras"}


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMQUERY_USERNAME", "analyst")
    monkeypatch.setenv("SIMQUERY_PASSWORD", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())
    assert settings.password is not None
    assert settings.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SIMQUERY_CASE": "No Spaces"}, "SIMQUERY_CASE"),
        ({"SIMQUERY_URL": "not a url"}, "SIMQUERY_URL"),
        ({"SIMQUERY_HEAP": "lots"}, "SIMQUERY_HEAP"),
        ({"SIMQUERY_PASSWORD": "hunter2"}, "username and password"),
        ({"SIMQUERY_API_KEY": "hunter2\nhunter2"}, "line break"),
        ({"SIMQUERY_EMBEDDERS": "foo"}, "embedders"),
        ({"SIMQUERY_TIMEOUT": "inf"}, "SIMQUERY_TIMEOUT"),
        ({"SIMQUERY_URL": "http://elastic:hunter2@localhost:9200"}, "must not hold credentials"),
        ({"SIMQUERY_API_KEY": "hunter2", "SIMQUERY_USERNAME": "a", "SIMQUERY_PASSWORD": "hunter2"}, "api_key"),
    ],
)
def test_a_bad_value_is_named_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert named in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_setting_in_the_file_is_an_error(write_configuration: Write) -> None:
    write_configuration('modle = "vgg16"\n')
    with pytest.raises(SettingsError, match="modle"):
        load_settings()


def test_a_broken_file_is_an_error(write_configuration: Write) -> None:
    write_configuration("case = \n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings()


def test_a_file_that_is_no_text_is_an_error(write_configuration: Write) -> None:
    write_configuration(b'case = "caf\xe9"\n')
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings()


def test_a_configuration_file_that_was_asked_for_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMQUERY_CONFIG", "nowhere.toml")
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        load_settings()


def test_an_option_names_another_configuration_file(write_configuration: Write, tmp_path: Path) -> None:
    write_configuration('case = "from-environment"\n')
    (tmp_path / "other.toml").write_text('case = "from-option"\n')
    assert load_settings(tmp_path / "other.toml").case == "from-option"
    with pytest.raises(SettingsError, match="There is no configuration file"):
        load_settings(tmp_path / "nowhere.toml")


def test_the_current_folder_configures_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An evidence folder may hold a file of that name: it must not say where vectors go or which programs run."""
    Path("simquery.toml").write_text('url = "http://127.0.0.1:9"\n[embedders]\nmini = "evil:Code"\n')
    monkeypatch.delenv("SIMQUERY_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.url is None
    assert settings.embedders == {}
    assert configuration_file().is_absolute()


def test_the_users_configuration_folder_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMQUERY_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with unprivileged(tmp_path):
        file = tmp_path / "simquery" / "simquery.toml"
        assert configuration_file() == file
    file.parent.mkdir(mode=0o755)
    file.write_text('case = "mine"\n')
    with unprivileged(tmp_path):
        assert load_settings().case == "mine"


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_refused(write_configuration: Write, mode: int) -> None:
    write_configuration('case = "theirs"\n').chmod(mode)
    with pytest.raises(SettingsError, match="Other users can write"):
        load_settings()


def test_a_file_in_a_folder_that_others_can_write_is_refused(write_configuration: Write) -> None:
    write_configuration('case = "theirs"\n').parent.chmod(0o777)
    with pytest.raises(SettingsError, match="or its folder"):
        load_settings()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_refused(write_configuration: Write) -> None:
    os.chown(write_configuration('case = "theirs"\n'), 12345, 12345)
    with pytest.raises(SettingsError, match="belongs to another user"):
        load_settings()
