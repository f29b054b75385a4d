# SPDX-License-Identifier: Apache-2.0
"""Run a command: exit codes, messages and signals."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from rich.console import Console

from familyseer.cli.arguments import log_path, parser
from familyseer.cli.commands import apply, families, show, tune
from familyseer.errors import EnvironmentFailure, FamilySeerError

__all__ = ["main"]

_FAILED, _BAD_INPUT, _INTERRUPTED = 1, 2, 130
_COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "tune": tune,
    "show": show,
    "families": families,
    "apply": apply,
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done; 1: something failed, or the tuned network computes something else; 2: bad input; 130: interrupted.
    Results go to standard output, messages to standard error.
    """
    options = parser().parse_args(argv)
    _log_to_stderr(options.verbose)
    stop = _Stop()
    try:
        return _COMMANDS[options.command](options, Console(highlight=False, markup=False, emoji=False, soft_wrap=True))
    except FamilySeerError as err:
        if stop.wanted:
            return _interrupted(options)
        _say(str(err))
        return _FAILED if isinstance(err, EnvironmentFailure) else _BAD_INPUT
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except BaseException:  # an interrupt that went through TVM's C++ comes back as another error
        if not stop.wanted:
            raise
        return _interrupted(options)
    finally:
        stop.restore()


class _Stop:
    """Turns the first signal that ends processes into `KeyboardInterrupt`; the second one ends this at once."""

    def __init__(self) -> None:
        self.wanted = False
        ignored = {number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN}  # as nohup does
        self._before = {number: signal.signal(number, self._stop) for number in _SIGNALS if number not in ignored}

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)
        with contextlib.suppress(OSError):  # not print: the signal may have come in the middle of one
            os.write(2, b"familyseer: stopping (once more to stop at once)\n")
        raise KeyboardInterrupt

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _interrupted(options: argparse.Namespace) -> int:
    path = log_path(options) if options.command == "tune" else None
    if path is not None and path.exists():
        _say(f"interrupted. All that was measured is in {path}; run the same command again to go on from there.")
    else:
        _say("interrupted")
    return _INTERRUPTED


def _say(text: str) -> None:
    print(f"familyseer: {text}", file=sys.stderr, flush=True)


class _StderrHandler(logging.Handler):
    """Writes whole lines to what is standard error at that moment: a live bar takes its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(f"{record.levelname.lower()}: {self.format(record)}")


def _log_to_stderr(verbose: int) -> None:
    logger = logging.getLogger("familyseer")
    logger.handlers = [_StderrHandler()]
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
