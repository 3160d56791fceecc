"""What every command shares: lazy import, one-line errors with exit codes, `--debug`."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import Any

import click

from scaling.errors import ScalingError, did_you_mean

_DEBUG = "scaling.debug"


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_DEBUG] = True


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    r"""Wide help, `-h`, and the line `\b` of raw docstrings, which keeps its block as written."""
    given["help"] = (given.get("help") or "").replace("\\b\n", "\b\n")
    names = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}
    return given | {"context_settings": names}


class Command(click.Command):
    """A command that takes `--debug`, as its group does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_settings(kwargs))
        self.params.append(_debug_option())


class Group(click.Group):
    """Commands imported by name: `package.name` holds `command`.

    An error of this package is one message on standard error and its exit code; anything else that
    goes wrong is one line and exit code 1. `--debug` lets the traceback through.
    """

    command_class = Command

    def __init__(
        self, *args: Any, package: str = "", members: tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **_settings(kwargs))
        self.package = package
        self.members = members
        self.params.append(_debug_option())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the corridor."""
        return [*self.members, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of a command."""
        if cmd_name not in self.members:
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_module(f"{self.package}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the near miss."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            near = did_you_mean(name, known)
            ctx.fail(f"there is no command '{name}'; commands: {', '.join(known)}.{near}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what goes wrong into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ScalingError as error:
            if ctx.meta.get(_DEBUG):
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.meta.get(_DEBUG) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            cause = " ".join(str(error).split()) or "no message"
            click.echo(
                f"unexpected error: {type(error).__name__}: {cause}; "
                "run again with --debug and report it",
                err=True,
            )
            ctx.exit(1)
