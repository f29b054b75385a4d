# SPDX-License-Identifier: Apache-2.0
"""What the command line accepts, checked before anything slow is imported."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from familyseer import __version__, networks
from familyseer.errors import InvalidInputError
from familyseer.families.keys import DEFAULT_POLICY, POLICY_NAMES, PolicyName
from familyseer.networks import Network
from familyseer.records import NetworkRecord, canonical_json, parse_json

__all__ = ["describe_network", "load_network", "log_path", "parser", "target_of"]

_FILES = (".onnx", ".pt2")
_EXIT_CODES = "exit codes: 0 done, 1 something failed, 2 bad input, 130 interrupted"
_TUNE_EXAMPLES = """\
examples:
  familyseer tune resnet18                          log in resnet18.json, 64 trials per task
  familyseer tune bert_base --option seq_len=64 --trials 2000 --log bert.json
  familyseer tune model.onnx --option 'image=[1,3,224,224]'
  familyseer tune resnet50 --target '{"kind": "cuda", "arch": "sm_90"}'

An interrupted run goes on from its log: give the same command again.
"""
_FAMILIES_EXAMPLES = """\
examples:
  familyseer families resnet18.json
  familyseer families resnet18.json --figure families.svg
"""
_APPLY_EXAMPLES = """\
examples:
  familyseer apply resnet18.json                    the network that the log tells of
  familyseer apply bert.json bert_base --option seq_len=64 --output bert.so
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See '{self.prog} --help'.\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="familyseer",
        description="Tune neural networks with Apache TVM.",
        epilog="'familyseer COMMAND --help' tells more of a command. " + _EXIT_CODES,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"familyseer {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    _add_tune(_command(commands, "tune", "tune a network and check what came of it", _TUNE_EXAMPLES))
    show = _command(commands, "show", "show what a tuning log holds", "")
    show.add_argument("log", type=Path, metavar="LOG", help="a log of 'familyseer tune'")
    _add_verbose(show)
    families = _command(commands, "families", "show which tasks of a log are families, and why", _FAMILIES_EXAMPLES)
    families.add_argument("log", type=Path, metavar="LOG", help="a log of 'familyseer tune'")
    families.add_argument("--figure", type=Path, metavar="FILE", help="heat map to draw: FILE.svg, .png or .pdf")
    _add_verbose(families)
    _add_apply(_command(commands, "apply", "compile a network with the best records of a log", _APPLY_EXAMPLES))
    return top


def _command(commands: Any, name: str, what: str, examples: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=examples + ("\n" if examples else "") + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return command


def _add_tune(tune: argparse.ArgumentParser) -> None:
    _add_network(tune)
    add = tune.add_argument
    add("--trials", type=_whole(1), metavar="N", help="candidates to measure in all (default: 64 per task)")
    add("--per-round", type=_whole(1), default=64, metavar="N", help="candidates of a round, at most (default: 64)")
    add("--policy", type=_policy, default=DEFAULT_POLICY, help=f"{', '.join(POLICY_NAMES)} (default: {DEFAULT_POLICY})")
    add("--log", type=Path, help="log to write and to resume from (default: NETWORK.json in this folder)")
    add("--store", type=Path, metavar="DIR", help="start from what earlier runs with this store learnt, and add to it")
    add("--seed", type=_whole(0), default=0, metavar="N", help="seed of everything random (default: 0)")
    add("--early-stopping", type=_whole(1), metavar="N", help="stop when so many trials improved nothing")
    add(
        "--min-gain", type=_share, default=0.0, metavar="SHARE",
        help="stop when twice the trials are expected to gain less, such as 0.01 (default: 0, never)",
    )  # fmt: skip
    add("--min-repeat-ms", type=_whole(0), default=100, metavar="MS", help="shortest timing (default: 100)")
    add("--timeout", type=_seconds, default=15.0, metavar="S", help="to build or run a candidate (default: 15)")
    add("--threads", type=_whole(0), default=0, metavar="N", help="threads of a kernel (default: 0, num-cores)")
    add("--cache-flush", action="store_true", help="flush the CPU's caches before each timing")
    _add_no_check(tune)
    _add_verbose(tune)


def _add_apply(apply: argparse.ArgumentParser) -> None:
    apply.add_argument("log", type=Path, metavar="LOG", help="a log of 'familyseer tune'")
    _add_network(apply, nargs="?")
    apply.add_argument("--output", type=Path, metavar="FILE.so", help="library to write")
    _add_no_check(apply)
    _add_verbose(apply)


def _add_network(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    known, default = ", ".join(networks.names()), " (default: as the log says)" if nargs else ""
    command.add_argument(
        "network", nargs=nargs, metavar="NETWORK", help=f"{known}, or a file model.onnx or model.pt2{default}"
    )
    command.add_argument(
        "--target", help=f"llvm (this machine), a tag, or JSON{default or ' (default: llvm)'}", metavar="TARGET"
    )
    command.add_argument("--size", choices=networks.sizes(), help="of a built-in network (default: full)")
    command.add_argument("--batch", type=_whole(1), metavar="N", help="of a built-in network (default: 1)")
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of a built-in network: depth, width, seq_len, image_size, classes; of an ONNX file: shape of an input",
    )


def _add_no_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--no-check", action="store_true", help="do not run and compare tuned and untuned network")


def _add_verbose(command: argparse.ArgumentParser) -> None:
    command.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: debug")


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be an integer ≥ {least}; got {text!r}")
        return value

    return parse


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1; got {text!r}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a number of seconds > 0; got {text!r}")
    return value


def _policy(text: str) -> str:
    try:
        PolicyName.parse(text)
    except InvalidInputError as err:
        raise argparse.ArgumentTypeError(str(err).rstrip(".")) from err
    return text


def log_path(options: argparse.Namespace) -> Path:
    """Return the log of ``tune``: the one given, else the network's name in this folder."""
    return options.log or Path(f"{Path(options.network).stem}.json")


def target_of(text: str | None) -> Any:
    """Return the `tvm.target.Target` that ``--target`` means."""
    from familyseer.meta_schedule.target import resolve_target

    return resolve_target(parse_json(text) if text and text.lstrip().startswith("{") else text or "llvm")


def describe_network(options: argparse.Namespace, target: str) -> NetworkRecord:
    """Check what the command line says of the network, and return it in the form that the log keeps.

    Raises
    ------
    InvalidInputError
        There is no such network or file, or it has no such option.
    """
    settings, suffix = _settings(options.option), Path(options.network).suffix
    if suffix in _FILES:
        if options.size or options.batch or (settings and suffix == ".pt2"):
            what = "`--size` and `--batch`" if suffix == ".onnx" else "`--size`, `--batch` and `--option`"
            raise InvalidInputError(f"{what} are for built-in networks; {options.network!r} is a file")
        name = str(Path(options.network).absolute())
        return NetworkRecord(network=name, target=target, options=canonical_json(settings))
    if options.network not in networks.names():
        known = ", ".join(networks.names())
        raise InvalidInputError(
            f"`NETWORK` must be {known}, or a file model.onnx or model.pt2; got {options.network!r}"
        )
    settings = {key.replace("-", "_"): value for key, value in settings.items()}
    size, batch = options.size or "full", options.batch or 1
    networks.configuration(options.network, size=size, **settings)
    return NetworkRecord(
        network=options.network, target=target, size=size, batch=batch, options=canonical_json(settings)
    )


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InvalidInputError(f"`--option` must be KEY=VALUE; got {pair!r}")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def load_network(record: NetworkRecord) -> Network:
    """Build or read the network that a record describes."""
    settings, suffix = parse_json(record.options), Path(record.network).suffix
    if suffix not in _FILES:
        return networks.build(record.network, batch=record.batch, size=record.size, **settings)
    from familyseer.meta_schedule import frontends

    if suffix == ".pt2":
        return frontends.from_torch_export(record.network)
    shapes = {name: tuple(shape) if isinstance(shape, list) else (shape,) for name, shape in settings.items()}
    return frontends.from_onnx(record.network, shapes=shapes)
