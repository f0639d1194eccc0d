"""Run the command `adam-optax convert`, which converts states from file to file."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adam_optax.cli.parser import Command
from adam_optax.convert import (
    ConversionError,
    keras_to_named,
    named_to_keras,
    named_to_torch,
    torch_to_named,
)
from adam_optax.convert._checks import NamedArrays, join_names
from adam_optax.convert._files import (
    read_bytes,
    read_named,
    read_torch,
    write_named,
    write_torch,
)
from adam_optax.convert._keras_files import read_keras, write_keras
from adam_optax.convert._torch_groups import split_state_dict

_NAMES_HELP = """\
names.json maps the other framework's names of parameters to paths here, in the order of
model.named_parameters() or model.trainable_variables: Keras's files and some of PyTorch's hold no
names, and are read in that order. A pair permutes axes, null leaves a parameter out:
  {"fc.weight": ["dense/kernel", [1, 0]], "fc.bias": "dense/bias", "old_head.weight": null}

The result is read with adam_optax.convert.load("state.safetensors", tx.init(params)).
"""
_KINDS = {".pt": "torch", ".pth": "torch", ".keras": "keras", ".h5": "keras"}
_OURS = ".safetensors"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = f".pt, .pth, .keras, .weights.h5, or {_OURS} with --to"
    parser.add_argument("source", metavar="SOURCE", type=Path, help=kinds)
    parser.add_argument("--names", type=Path, metavar="FILE", required=True, help="see below")
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the new file")
    parser.add_argument("--to", choices=["torch", "keras"], help=f"what to make of {_OURS}")
    like = (
        "a file of the optimiser's that goes on, which is not changed: of PyTorch's, the new file "
        "has the state_dict alone; of Keras's, it is a copy with the new state"
    )
    parser.add_argument("--like", type=Path, metavar="FILE", help=like)
    key = "where in a checkpoint the optimiser's state_dict is, such as optimizer or optimizers/0"
    parser.add_argument("--key", metavar="KEY", help=key)


def _run(args: argparse.Namespace) -> int:
    """Convert a file and print the path of the new file.

    Raises:
        ConversionError: If arguments, files, names or states do not fit; nothing is written then.
    """
    template = args.source if args.to is None else args.like
    _check_arguments(args, template)
    names = _read_names(args.names)
    if args.to is None:
        write_named(args.out, _read_theirs(args.source, names, args.key))
    else:
        _write_theirs(args, read_named(args.source), names)
    print("Wrote", args.out, flush=True)
    return 0


def _check_arguments(args: argparse.Namespace, template: Path | None) -> None:
    if args.to is None and args.source.suffix == _OURS:
        raise ConversionError(f"{args.source} is a state of this library's; say --to what")
    if args.to is None and args.like is not None:
        raise ConversionError("--like goes with --to; leave it out")
    if args.to is not None and args.source.suffix != _OURS:
        raise ConversionError(f"--to takes a {_OURS} file of this library's, not {args.source}")
    if template is None:
        raise ConversionError(f"--to {args.to} needs --like, a file of the fresh optimiser's")
    kind = _kind(template)
    if args.to not in (None, kind):
        raise ConversionError(f"--like {template} is a file of {kind}'s, not of {args.to}'s")
    if args.key is not None and kind != "torch":
        raise ConversionError("--key goes with a file of PyTorch's; leave it out")
    suffixes = [_OURS] if args.to is None else [s for s in _KINDS if _KINDS[s] == kind]
    if kind == "keras" and args.to:
        suffixes = [template.suffix]
    _check_out(args.out, suffixes, [args.source, template, args.names])


def _kind(path: Path) -> str:
    if path.suffix not in _KINDS:
        raise ConversionError(f"{path} is none of {', '.join(_KINDS)}")
    return _KINDS[path.suffix]


def _check_out(out: Path, suffixes: list[str], inputs: list[Path]) -> None:
    if out.suffix not in suffixes:
        raise ConversionError(f"--out {out} must end in {' or '.join(suffixes)}")
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise ConversionError(f"--out {out} is an input, which is not overwritten")
    if out.is_dir():
        raise ConversionError(f"cannot write {out}: it is a directory")
    if not out.parent.is_dir():
        raise ConversionError(f"cannot write {out}: there is no directory {out.parent}")


def _read_names(path: Path) -> dict[str, Any]:
    try:
        names = json.loads(read_bytes(path), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path} is not JSON of names: {error}") from error
    if not isinstance(names, dict):
        raise ConversionError(f'{path} must hold an object, such as {{"fc.bias": "dense/bias"}}')
    return names


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"{join_names(map(repr, sorted(twice)))} is there twice")
    return dict(pairs)


def _read_theirs(path: Path, names: dict[str, Any], key: str | None) -> NamedArrays:
    if _kind(path) == "keras":
        return keras_to_named(read_keras(path, list(names)), names)
    state_dict = _torch(path, key)
    return torch_to_named(state_dict, names, order=_order(state_dict, names))


def _write_theirs(args: argparse.Namespace, named: NamedArrays, names: dict[str, Any]) -> None:
    if args.to == "keras":
        variables = read_keras(args.like, list(names))
        write_keras(args.like, args.out, named_to_keras(named, names, variables))
    else:
        like = _torch(args.like, args.key)
        write_torch(args.out, named_to_torch(named, names, like, order=_order(like, names)))


def _order(state_dict: Any, names: dict[str, Any]) -> list[str] | None:
    """Return the order of the names file, or `None` if PyTorch has recorded the order itself."""
    groups, _ = split_state_dict(state_dict)
    by_name = any(isinstance(i, str) for group in groups for i in group["params"])
    recorded = by_name or any("param_names" in group for group in groups)
    return None if recorded else list(names)


def _torch(path: Path, key: str | None) -> Any:
    """Read the optimiser's part of a file of PyTorch's."""
    found: Any = read_torch(path)
    for part in key.split("/") if key else ():
        if isinstance(found, list | tuple) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            keys = (
                join_names(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            )
            raise ConversionError(f"{path} has no {part!r} of --key {key}; there is {keys}")
    return found


CONVERT = Command(
    name="convert",
    summary="take an optimiser's state from a file of PyTorch's or Keras's, or back",
    details="; no code from the file is run.",
    examples="""\
  adam-optax convert optimizer.pt --names names.json --out state.safetensors
  adam-optax convert checkpoint.pt --key optimizer --names names.json --out state.safetensors
  adam-optax convert model.keras --names names.json --out state.safetensors
  adam-optax convert state.safetensors --to torch --like fresh.pt --names names.json --out new.pt
  adam-optax convert state.safetensors --to keras --like model.keras --names names.json \\
    --out new.keras
""",
    epilog=lambda: _NAMES_HELP,
    add_arguments=_add_arguments,
    run=_run,
)
