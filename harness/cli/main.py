"""The command `layeredge`: loads one sub-command's module when it is called."""

from __future__ import annotations

import importlib
import sys
import traceback

import click

import harness
from harness.errors import HarnessError, InputError, printable

COMMANDS = {
    "init": "Write a sweep for your models.",
    "run": "Run a sweep: import, fuse, tune, build, verify, measure, store, report.",
    "report": "Write the report of a results folder.",
    "select": "Choose a configuration to deploy within limits of latency, memory and accuracy.",
    "compare": "Compare two results folders cell by cell.",
    "convert": "Write results for other tools: JUnit, github-action-benchmark, Perfetto.",
    "inspect": "Show a model's kernels at a fusion level.",
    "models": "List, fetch and describe the models of the catalog; bind inputs of files.",
    "targets": "List, show, check and detect hardware descriptions.",
    "schema": "Print the keys of sweeps, hardware descriptions and results.",
    "devices": "List where code can run, serve this machine, set up an emulated board.",
    "doctor": "Check this machine and this installation, and give advice.",
}


class _Commands(click.Group):
    """Sub-commands by name, each in its own module, imported only when needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harness.cli.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table, so that `--help` imports nothing.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from harness.errors import unknown_name

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(context, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(harness.__version__, prog_name="layeredge")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def command(debug: bool) -> None:
    """Fuse, tune and measure neural networks with Apache TVM, and choose what to deploy where.

    \b
    A first run, and what to do with it:
      layeredge doctor
      layeredge run examples/quickstart.yaml --out results/quickstart
      layeredge select results/quickstart --model fashion-resnet8 --min-accuracy 0.9
    """


def main() -> None:
    """Entry point: errors become one line on standard error, and exit code 2 (1 for a cell's)."""
    debug = "--debug" in sys.argv[1:2]
    try:
        sys.exit(command(standalone_mode=False) or 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        kept = "; finished cells are kept, the same command continues" if "run" in sys.argv else ""
        click.echo(f"interrupted{kept}", err=True)
        sys.exit(130)
    except (HarnessError, OSError) as error:  # OSError: a full disk, a folder without permission
        if debug:
            traceback.print_exc()
        lines = [printable(line) for line in _words(error).splitlines()]
        click.echo("layeredge: " + "\n".join(lines), err=True)
        sys.exit(2 if isinstance(error, (InputError, OSError)) else 1)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    main()
