"""The `edgetts` command: its verbs (`verbs`) and their errors.

Misuse ends with one sentence and exit code 2, every `EdgeTTSError` with its sentence and its own code, Ctrl-C with 130.
Only bugs of this program show a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from edgetts import __version__
from edgetts.cli.common import EXIT_TERMINATED, print_error
from edgetts.cli.environment import Environment
from edgetts.cli.interrupt import EXIT_INTERRUPTED, exit_on_interrupt, forget_interrupt, raise_on_interrupt
from edgetts.cli.logs import show_logs
from edgetts.cli.verbs import Verbs
from edgetts.errors import EdgeTTSError

# Since 0.2x, Typer has a copy of click and before that it imports click: take the class from Typer's own errors.
PARSE_ERRORS: tuple[type[Exception], ...] = tuple(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException" and issubclass(c, Exception)
)

HELP = """Speech in any voice, on this machine: IndexTTS-2.5 and IndexTTS-2 for small computers.

Enroll a voice once, then let it speak:

    edgetts voices add me recording.wav

    edgetts say "Hello, world." --voice me -o hello.wav
"""


class SentenceGroup(TyperGroup):
    """A command group whose errors are one sentence on stderr and an exit code. Its verbs are imported when they are
    used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, Verbs())

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            if sys.stdout is not None:  # closed by the caller
                sys.stdout.flush()
        except EdgeTTSError as error:
            print_error(str(error))
            code = error.exit_code
        except PARSE_ERRORS as error:
            print_error(_parse_sentence(error))
            code = 2
        except (KeyboardInterrupt, typer.Abort):
            code = EXIT_INTERRUPTED  # no message
        except BrokenPipeError:
            _drop_stdout()
            code = 1
        except OSError as error:  # such as a full disk behind stdout, or a closed terminal
            where = f" ({error.filename})" if error.filename else ""
            print_error(f"Reading or writing failed: {error.strerror or error}{where}.")
            code = 1
        except (MemoryError, RuntimeError) as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # raised while a lock was reacquired
                code = EXIT_INTERRUPTED
            elif isinstance(error.__context__, SystemExit):
                code = error.__context__.code
            elif _is_out_of_memory(error):
                print_error("There is not enough memory for this: close other programs, or use a smaller pack.")
                code = 1
            else:
                raise
        sys.exit(code if isinstance(code, int) else 0)


def _parse_sentence(error: Any) -> str:
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "edgetts"
    if "option: --verbose" in message:
        return f"{message}; write it before the verb: `{path.replace('edgetts', 'edgetts --verbose', 1)} ...`."
    return f"{message} See `{path} --help`." if message.endswith("?") else f"{message}; see `{path} --help`."


def _is_out_of_memory(error: BaseException) -> bool:
    """Also recognizes torch's errors, without importing torch."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _drop_stdout() -> None:
    """Redirect stdout, whose reader has closed it, to the null device, so that the last flush does not fail."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is not a real file
        pass
    finally:
        os.close(devnull)


app = typer.Typer(
    name="edgetts",
    cls=SentenceGroup,
    help=HELP,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgetts {__version__}")
        raise typer.Exit()


@app.callback()
def edgetts(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback prints and exits
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log progress to stderr; -vv logs details, too.")
    ] = 0,
) -> None:
    context.obj = Environment.read(os.environ)
    show_logs(verbose)
    if context.invoked_subcommand is None:
        print(context.get_help())


def run() -> None:
    """Run the command of this process. SIGTERM unwinds like an error, so that temporary files are removed."""

    def terminate(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, terminate)
    try:
        raise_on_interrupt()
        app(prog_name="edgetts")
    except KeyboardInterrupt:  # before `main` could catch it
        sys.exit(EXIT_INTERRUPTED)
    finally:
        forget_interrupt()
        exit_on_interrupt()  # for a second Ctrl-C while memory is freed
