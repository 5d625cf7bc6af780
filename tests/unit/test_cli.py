import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from simquery.cli.main import cli
from simquery.cli.reference import all_commands, command_reference

ROOT = Path(__file__).resolve().parents[2]


COMMANDS = all_commands(cli, "simquery")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_shows_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert f"Example:  {name}" in (command.epilog or "")
    assert name in (ROOT / "README.md").read_text()
    assert f"## {name}\n" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options_and_every_option_a_help(name: str) -> None:
    options = {
        flag: parameter
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
    }
    assert {"--config", "--verbose", "--quiet"} <= set(options)
    assert all(option.help for option in options.values())


def test_only_commands_that_use_case_and_model_have_these_options() -> None:
    def having(option: str) -> set[str]:
        return {name.removeprefix("simquery ") for name, command in COMMANDS.items() if option in _options(command)}

    assert having("--case") == {"index", "watch", "verify", "query", "recall", "evaluate"}
    assert having("--model") == {"index", "watch", "query", "recall", "evaluate"}


def _options(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def test_the_command_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == command_reference(), "run: make docs"


def test_help_needs_no_server_and_no_settings() -> None:
    result = CliRunner().invoke(cli, ["query", "--help"])
    assert result.exit_code == 0
    assert "--distance" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query"], "Give at least one reference picture"),
        (["query", "a.jpg", "-k", "0"], "0 is not in the range"),
        (["index"], "Missing argument 'FOLDER...'"),
        (["index", ".", "--partition", "5/4"], "'5/4' is not a part"),
        (["watch", ".", "--poll", "0"], "0.0 is not in the range"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_usage_error_has_exit_code_2(arguments: list[str], message: str) -> None:
    done = subprocess.run([sys.executable, "-m", "simquery", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert version("simquery") in CliRunner().invoke(cli, ["--version"]).output
