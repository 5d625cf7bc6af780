"""The reference of all commands, docs/cli.md, made from ``--help``: run ``python -m simquery.cli.reference``."""

import click

from simquery.cli.main import cli

__all__ = ["all_commands", "command_reference"]

_WIDTH = 100


def command_reference() -> str:
    """Return the help of every command as Markdown."""
    sections = ["# Commands\n", "`make docs` makes this page from the output of `--help`.\n", _section(cli, "simquery")]
    sections += [_section(command, name) for name, command in sorted(all_commands(cli, "simquery").items())]
    return "\n".join(sections)


def all_commands(group: click.Group, name: str) -> dict[str, click.Command]:
    """Return every command below a group, apart from groups, by its full name."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for part in group.list_commands(context):
        command = group.get_command(context, part)
        if command is None:
            continue
        full = f"{name} {part}"
        found |= all_commands(command, full) if isinstance(command, click.Group) else {full: command}
    return found


def _section(command: click.Command, name: str) -> str:
    context = click.Context(
        command,
        info_name=name,
        max_content_width=_WIDTH,
        terminal_width=_WIDTH,
        help_option_names=cli.context_settings["help_option_names"],
    )
    return f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(command_reference(), nl=False)
