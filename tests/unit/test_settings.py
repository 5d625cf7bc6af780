from pathlib import Path

import pytest

from simquery.errors import SettingsError
from simquery.settings import DEFAULT_MODEL, load_settings


def test_defaults_need_no_configuration() -> None:
    settings = load_settings()
    assert settings.case == "default"
    assert settings.model == DEFAULT_MODEL
    assert settings.url is None
    assert settings.verify_certificates


def test_option_beats_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("simquery.toml").write_text('case = "from-file"\nmodel = "vgg16"\nheap = "2g"\n')
    monkeypatch.setenv("SIMQUERY_CASE", "from-environment")
    monkeypatch.setenv("SIMQUERY_MODEL", "vgg19")
    settings = load_settings(case="from-option", model=None)
    assert (settings.case, settings.model, settings.heap) == ("from-option", "vgg19", "2g")


def test_own_networks_can_be_named_in_the_file() -> None:
    Path("simquery.toml").write_text('[embedders]\nlab-net = "/nets/lab.keras"\n')
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


def test_an_unknown_setting_in_the_file_is_an_error() -> None:
    Path("simquery.toml").write_text('modle = "vgg16"\n')
    with pytest.raises(SettingsError, match="modle"):
        load_settings()


def test_a_broken_file_is_an_error() -> None:
    Path("simquery.toml").write_text("case = \n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings()


def test_a_file_that_is_no_text_is_an_error() -> None:
    Path("simquery.toml").write_bytes(b'case = "caf\xe9"\n')
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings()


def test_a_configuration_file_that_was_asked_for_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMQUERY_CONFIG", "nowhere.toml")
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        load_settings()
