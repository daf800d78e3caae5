"""The `edgetts` command: its verbs, and what happens when one of them fails.

Misuse ends with exit code 2 and one sentence, every `EdgeTTSError` with its own code and sentence, Ctrl-C
with 130. Tracebacks are for mistakes in this program only.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from edgetts import __version__
from edgetts.cli import bench, convert, download, info, quantize, serve, validate, voices, warmup
from edgetts.cli.common import EXIT_TERMINATED, Environment, print_error
from edgetts.cli.interrupt import EXIT_INTERRUPTED, end_quietly, forget, unwind
from edgetts.cli.logs import show_logs
from edgetts.cli.say import verb as say
from edgetts.errors import EdgeTTSError

# Typer carries its own copy of click since 0.2x and imports the real one before: take the class from there.
PARSE_ERRORS: tuple[type[Exception], ...] = tuple(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException" and issubclass(c, Exception)
)

HELP = """Speech in any voice, on this machine: IndexTTS-2 for small computers.

Enroll a voice once, then let it speak:

    edgetts voices add me recording.wav

    edgetts say "Hello, world." --voice me -o hello.wav
"""


class SentenceGroup(TyperGroup):
    """A command group whose errors are one sentence on stderr and an exit code."""

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
            code = EXIT_INTERRUPTED  # without a word: whoever pressed the keys knows
        except BrokenPipeError:
            _drop_stdout()
            code = 1
        except OSError as error:  # a full disk behind stdout, a terminal that went away
            where = f" ({error.filename})" if error.filename else ""
            print_error(f"Reading or writing failed: {error.strerror or error}{where}.")
            code = 1
        except (MemoryError, RuntimeError) as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # which came while a lock was being taken back
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
    """torch says it in its own words, and torch is not imported here."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _drop_stdout() -> None:
    """The reader of our output is gone: let the interpreter's last flush go nowhere instead of failing."""
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
    version: Annotated[  # noqa: ARG001  # its callback prints and leaves
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log to stderr what is done; -vv logs details, too.")
    ] = 0,
) -> None:
    context.obj = Environment.read(os.environ)
    show_logs(verbose)
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("say")(say.say)
app.add_typer(voices.app, name="voices")
app.command("download")(download.download)
app.command("convert")(convert.convert)
app.command("quantize")(quantize.quantize)
app.command("info")(info.info)
app.command("validate")(validate.validate)
app.command("serve")(serve.serve)
app.command("bench")(bench.bench)
app.command("warmup")(warmup.warmup)


def run() -> None:
    """Run the command of this process. SIGTERM unwinds like an error, so that nothing half-made stays."""

    def terminate(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, terminate)
    try:
        unwind()
        app(prog_name="edgetts")
    except KeyboardInterrupt:  # before the application was there to catch it
        sys.exit(EXIT_INTERRUPTED)
    finally:
        forget()
        end_quietly()  # letting go of what was loaded takes a while, and a second Ctrl-C may come then
