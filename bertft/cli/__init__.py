"""The command line: arguments in, one call, an exit code out. Imports nothing heavy before a command runs."""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
from collections.abc import Sequence

from bertft.errors import BertftError, OutputError, printable

INTERRUPTED, BUG = 130, 70
_COLLECTED_AFTER = 100_000
"""New objects, after which garbage is looked for. At Python's 700 that takes a tenth of the start-up, for nothing: what
is imported stays."""
_NO_MEMORY = "there is not enough memory\n   help: a smaller encoder, smaller batches or shorter windows need less"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `bertft` with `arguments` (default: the process's) and return the exit code; every failure is one message."""
    import typer
    import typer._click as click

    from bertft import console, signals
    from bertft.cli.app import app

    if arguments is None:  # a process of its own
        gc.set_threshold(_COLLECTED_AFTER)
    # of several processes that `--processes` starts, each is given what they share
    given = json.loads(os.environ.get("BERTFT_COMMAND", "null")) or (sys.argv[1:] if arguments is None else arguments)
    console.set_command(given)
    try:
        with signals.ending():
            result = app(arguments, standalone_mode=False, prog_name="bertft")
            sys.stdout.flush()
        if result == INTERRUPTED:  # typer makes an exit code of a KeyboardInterrupt
            return _fail("interrupted", None, INTERRUPTED)
        return result if isinstance(result, int) else 0
    except click.exceptions.UsageError as error:
        return _fail(_usage(error), None, 2)
    except click.exceptions.ClickException as error:
        return _fail(error.format_message(), None, 2)
    except typer.Abort:
        return _fail("interrupted", None, INTERRUPTED)
    except BertftError as error:
        return _fail(str(error), error, error.exit_code)
    except BrokenPipeError:
        # the reader has gone (`| head`): nothing is wrong, and stdout must not complain at exit
        console.drop_stdout()
        return 0
    except (KeyboardInterrupt, signals.Interrupted) as interrupted:
        if arguments is None:  # a process of its own
            signals.ignore()
        return _fail("interrupted", None, getattr(interrupted, "exit_code", INTERRUPTED))
    except MemoryError as error:
        return _fail(_NO_MEMORY, error, 4)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return _fail(_NO_MEMORY, error, 4)
        if OutputError.is_said_by(error):
            if error.filename is None:
                console.drop_stdout()
            return _fail(str(OutputError.of(error, error.filename or "<stdout>")), error, OutputError.exit_code)
        place = f"\n  --> {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{place}", error, BUG)
    except Exception as error:
        advice = "this is a bug; `-v` shows where, please report it with the command"
        return _fail(f"{type(error).__name__}: {error}\n   help: {advice}", error, BUG)


def _fail(message: str, error: BaseException | None, code: int) -> int:
    from bertft.console import VERBOSE, level

    if error is not None and level() >= VERBOSE:
        import traceback

        print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)  # the live line of training
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


def _usage(error: object) -> str:
    """Return a usage error in the project's form: the fact, then the way out."""
    message = str(getattr(error, "format_message")())  # noqa: B009  (typer's own click has no types)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "bertft"
    return f"{message.rstrip('.')}\n   help: `{command} --help` shows how it is used"
