"""The command line: parse, call a command, print its result or what is wrong. Nothing else prints, but for
`walk.progress.Bars`.

stdout gets the film's path (or what else was asked for) and nothing else; what is for the eye goes
to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from typing import NoReturn

from walk import Error, __version__, commands, flags

M_ARENA_MAX = -8  # as malloc.h of glibc numbers it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit status: 0, 1 if what was to be checked is wrong, 2 for
    what the user can mend, 130 if stopped."""
    arguments = _without_comment(sys.argv[1:] if arguments is None else list(arguments))
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    name = arguments[0] if arguments and arguments[0] in commands.COMMANDS else ""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(flags.help_text(name))
        return 0
    if "--version" in arguments or arguments == ["version"]:
        print(f"walk {__version__}")
        return 0
    _prepare_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
        # Into a file, write UTF-8, as prompt files are; Windows would use a code page of its own.
        told = sys.stdout.isatty() or "PYTHONIOENCODING" in os.environ
        sys.stdout.reconfigure(encoding=None if told else "utf-8", errors="backslashreplace")
    ours = threading.current_thread() is threading.main_thread()  # which alone hears signals
    for number in ("SIGTERM", "SIGHUP", "SIGBREAK") * ours:  # a kill, a closed terminal, Ctrl-Break: all like Ctrl-C
        if hasattr(signal, number) and signal.getsignal(getattr(signal, number)) != signal.SIG_IGN:  # as nohup wants
            signal.signal(getattr(signal, number), signal.default_int_handler)
    try:
        _check_temporary()
        import fire
        from fire.decorators import SetParseFns

        parse = SetParseFns(**{name: flag.parse for name, flag in flags.COMMANDS[name].flags.items()})
        checked = flags.checked(arguments[1:] if name else arguments, name)
        result = fire.Fire(parse(commands.COMMANDS[name]), command=checked, name="walk")
    except Error as error:
        print(f"walk: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nwalk: stopped; {str(stop) or 'nothing was begun, and nothing is lost'}", file=sys.stderr)
        return 130
    return int(isinstance(result, commands.Wrong))


def _without_comment(arguments: list[str]) -> list[str]:
    """The arguments before a comment, which zsh (macOS' own shell) and cmd hand over."""
    end = arguments.index("#") if "#" in arguments else len(arguments)
    return arguments if any(word.startswith("--") for word in arguments[end:]) else arguments[:end]


def process() -> NoReturn:
    """`main`, and then its end. Python would take two seconds to put torch away; but an interactive session goes on, as
    after a notebook's `%run -m walk`."""
    try:
        status = main()
        if sys.stdout is not None:  # as it is where it was closed
            sys.stdout.flush()
    except OSError as error:
        # Whoever was to read has gone, as `head` does. Windows calls that an invalid argument.
        gone = isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)
        if error.filename or not (gone or error.errno == errno.ENOSPC):  # of a file that has a name, others tell
            raise
        status = 128 + 13
        if not gone:
            print("walk: the result cannot be written: the disk is full", file=sys.stderr)
            status = 2
    sys.stderr.flush()
    if hasattr(sys, "ps1"):
        sys.exit(status)
    os._exit(status)


def _check_temporary() -> None:
    """Raise Error where there is no room for temporary files. torch would need one when it is imported."""
    try:
        tempfile.gettempdir()
    except OSError:
        raise Error(
            "there is no room for temporary files: the disk is full, or may not be written; free some of it, or let "
            "TMPDIR name a folder on another"
        ) from None


def _prepare_libraries() -> None:
    """What heavy libraries are to know before they are imported, in the environment as they read it."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")  # their warnings are for developers
    commands.share_processors()
    # Each thread would keep memory of its own, and a long film's would grow by a fifteenth. (Only glibc knows this.)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    # Bars of any library would make a lock for processes, too, of which Python 3.14 then tells that it was left behind.
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
