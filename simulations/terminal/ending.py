"""How a command ends: an exit code that means something, and one line for every end that is not a good one.

0 done, 1 a run failed, 2 bad input, 130 stopped by Ctrl-C, 143 stopped by SIGTERM.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from .stopping import Stopped, ignore_signals, watch_signals

#: What a disk says when it is not the command that is wrong.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}


def end_with(command: Callable[[], object]) -> None:
    """Carry a command out and end the process with its code: every error that we raise on purpose is one line on standard
    error, and so is whatever was stopped. Nothing that was started is left running."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        watch_signals()
        code, said = _outcome(command)
        ignore_signals()
    except Stopped as stop:
        ignore_signals()
        code, said = stop.code, f"stopped by {stop}: {stop.left or 'nothing was begun, nothing is left'}"
    if said:
        from .printing import complain

        complain(said)
    if code:
        sys.exit(code)


def _outcome(command: Callable[[], object]) -> tuple[int, str]:
    """The exit code of a command, and what to say of it; nothing, if it is done."""
    import click

    from shared.errors import EbbtideError, InputError

    from .printing import ready_streams

    ready_streams()
    try:
        returned = command()
        sys.stdout.flush()
        return (returned if isinstance(returned, int) else 0), ""
    except InputError as error:
        return 2, str(error)
    except EbbtideError as error:
        return 1, " ".join(str(error).split("\n"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1, "expected somebody to read what is printed, but the pipe is closed"
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return (1 if error.errno in _OF_THE_DISK else 2), f"{error.strerror or error}{where}"
    except MemoryError:
        return 1, "expected more memory than there is"
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        more = f" (see {context.command_path} --help)" if context else ""
        return error.exit_code, f"{error.format_message()}{more}"
    except click.exceptions.Abort:
        return 130, "stopped: nothing is left"
