"""Run the command `adam-optax convert`, which converts states from file to file."""

import itertools
import json
import os
import reprlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich_click import Choice

from adam_optax.cli import parameter_types as types
from adam_optax.cli.commands import Arguments, Command, argument, option
from adam_optax.convert import (
    ConversionError,
    keras_to_named,
    named_to_keras,
    named_to_torch,
    torch_to_named,
)
from adam_optax.convert._checks import NamedArrays, join_names
from adam_optax.convert._coded import RULE, encode_named
from adam_optax.convert._containers import read_bytes
from adam_optax.convert._files import read_arrays, read_named, write_arrays, write_named
from adam_optax.convert._keras_files import read_keras, write_keras
from adam_optax.convert._torch_files import read_torch, write_torch
from adam_optax.convert._torch_groups import (
    Order,
    describe_groups,
    group_hyperparams,
    recorded_names,
    split_state_dict,
)
from adam_optax.convert._torch_model import describe_rule, model_to_named

_NAMES_HELP = """\
names.json maps the other framework's names of parameters to paths here. A pair permutes axes, \
null leaves a parameter out:
  {"fc.weight": ["dense/kernel", [1, 0]], "fc.bias": "dense/bias", "old_head.weight": null}

Keras's files and most of PyTorch's hold no names. names.json is then read in the order of \
model.trainable_variables, or in the order of the PyTorch optimizer's parameter groups, which is \
seldom that of model.named_parameters() if there are several groups:
  names = {p: name for name, p in model.named_parameters()}
  order = [names[p] for group in optimizer.param_groups for p in group["params"]]
Of PyTorch's parameters, a table is printed before anything is written; with several groups and no \
recorded names, --confirm-order says that the table is right.

Every file with checksums is verified; .weights.h5 has none. Reading a file of PyTorch's needs no \
PyTorch, and writing one does.

The result is read with adam_optax.convert.load("state.safetensors", tx.init(params), tx=tx, \
params=params), in whatever storage tx has; parameters with adam_optax.convert.load_params.
"""
_KINDS = {".pt": "torch", ".pth": "torch", ".keras": "keras", ".h5": "keras"}
_OURS = ".safetensors"
_MOST_NAMES_BYTES = 2**26
"""What names.json may have: 64 MiB are the names of more than 100,000 parameters."""
_SHOWN = reprlib.Repr()
_SHOWN.maxlevel = 2
"""How hyper-parameters are shown, of which a file can have lists of lists of lists."""


def _run(args: Arguments) -> int:
    """Convert a file and print the paths of the new files.

    Raises:
        ConversionError: If arguments, files, names or states do not fit; nothing is written then.
    """
    try:
        _convert(args)
    except (RecursionError, MemoryError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else "needs more memory"
        raise ConversionError(f"{args.source}, or a file named with it, {why}") from error
    print("Wrote", args.out, flush=True)
    return 0


def _convert(args: Arguments) -> None:
    """Convert a file."""
    template = _template(args)
    _check_arguments(args, template)
    if template is not None and template.suffix == ".h5":
        print(f"{template} has no checksums: a wrong number in it would not be seen", flush=True)
    if args.to is not None:
        _write_theirs(args, read_named(args.source), _read_names(args.names))
    elif args.source.suffix == _OURS:
        _, facts = read_arrays(args.source)
        _write_ours(args, read_named(args.source), facts.get(RULE))
    else:
        names = _read_names(args.names)
        model = None if args.model is None else _read_model(args.model)
        named, rule = _read_theirs(args, names, model)
        weights = None if args.params is None else model_to_named(model or {}, names)
        _write_ours(args, named, rule)
        if weights is not None:
            write_arrays(args.params, weights, {})
            print("Wrote", args.params, flush=True)


def _template(args: Arguments) -> Path | None:
    """Return the file of the other framework's; None if there is none."""
    if args.to is not None:
        like: Path | None = args.like
        return like
    source: Path = args.source
    return None if source.suffix == _OURS else source


def _check_arguments(args: Arguments, template: Path | None) -> None:
    ours = args.source.suffix == _OURS
    if args.to is None and ours and args.storage is None:
        raise ConversionError(
            f"{args.source} is a state of this library's; say --to what, or --storage what"
        )
    if args.to is None and args.like is not None:
        raise ConversionError("--like goes with --to; leave it out")
    if args.to is not None and not ours:
        raise ConversionError(f"--to takes a {_OURS} file of this library's, not {args.source}")
    if args.to is not None and template is None:
        raise ConversionError(f"--to {args.to} needs --like, a file of the fresh optimiser's")
    kind = None if template is None else _kind(template)
    if args.to not in (None, kind):
        raise ConversionError(f"--like {template} is a file of {kind}'s, not of {args.to}'s")
    _check_options(args, kind)
    suffixes = [_OURS] if args.to is None else [s for s in _KINDS if _KINDS[s] == kind]
    if kind == "keras" and args.to and template is not None:
        suffixes = [template.suffix]
    inputs = [args.source, *(path for path in (template, args.names) if path is not None)]
    _check_out("--out", args.out, suffixes, inputs)
    if args.params is not None:
        _check_out("--params", args.params, [_OURS], [*inputs, args.out])
        if args.params == args.out:
            raise ConversionError("--params and --out are one file; name two")


def _check_options(args: Arguments, kind: str | None) -> None:
    """Refuse options that would change nothing."""
    if kind is not None and args.names is None:
        raise ConversionError("the following arguments are required: --names")
    if kind is None and args.names is not None:
        raise ConversionError("--names goes with a file of PyTorch's or Keras's; leave it out")
    for name in ("key", "confirm_order"):
        if getattr(args, name) and kind != "torch":
            option = name.replace("_", "-")
            raise ConversionError(f"--{option} goes with a file of PyTorch's; leave it out")
    if args.model is not None and (kind != "torch" or args.to is not None):
        raise ConversionError("--model goes with a file of PyTorch's as SOURCE; leave it out")
    if args.params is not None and args.model is None:
        raise ConversionError("--params needs --model, whose parameters it writes")
    if args.storage is not None and args.to is not None:
        raise ConversionError(f"--storage is of {_OURS} files alone; leave it out")
    if args.rule is not None and args.storage is None:
        raise ConversionError("--rule goes with --storage; leave it out")


def _kind(path: Path) -> str:
    if path.suffix not in _KINDS:
        raise ConversionError(f"{path} is none of {', '.join(_KINDS)}")
    return _KINDS[path.suffix]


def _check_out(option: str, out: Path, suffixes: list[str], inputs: list[Path]) -> None:
    if out.suffix not in suffixes:
        raise ConversionError(f"{option} {out} must end in {' or '.join(suffixes)}")
    # `os.path` says no where `Path` raises an error: of names that are too long, or have a NUL.
    there = [path for path in inputs if os.path.exists(out) and os.path.exists(path)]
    if any(os.path.samefile(out, path) for path in there):
        raise ConversionError(f"{option} {out} is an input, which is not overwritten")
    if os.path.isdir(out):
        raise ConversionError(f"cannot write {out}: it is a directory")
    if not os.path.isdir(out.parent):
        raise ConversionError(f"cannot write {out}: there is no directory {out.parent}")


def _read_names(path: Path) -> dict[str, Any]:
    content = read_bytes(path, _MOST_NAMES_BYTES)
    try:
        names = json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path} is not JSON of names: {error}") from error
    if not isinstance(names, dict):
        raise ConversionError(f'{path} must hold an object, such as {{"fc.bias": "dense/bias"}}')
    return names


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    if twice := sorted(key for key, times in counts.items() if times > 1):
        raise ValueError(f"{join_names(map(repr, twice))} is there twice")
    return dict(pairs)


def _read_theirs(
    args: Arguments, names: dict[str, Any], model: Any
) -> tuple[NamedArrays, str | None]:
    """Return the named arrays of another framework's file, and the rule whose moments they are."""
    path: Path = args.source
    if _kind(path) == "keras":
        return keras_to_named(read_keras(path, list(names)), names), None
    state_dict = _read_optimizer(path, args.key)
    order = _confirmed_order(state_dict, names, args.confirm_order)
    named = torch_to_named(state_dict, names, order=order, model=model)
    return named, describe_rule(state_dict)


def _write_ours(args: Arguments, named: NamedArrays, known: str | None) -> None:
    """Write named arrays to a file of this library's, in the storage that is asked for."""
    rule: str | None = args.rule or known
    if args.storage in (None, "dense", "dense()"):
        write_named(args.out, named, rule)
        return
    if rule is None:
        raise ConversionError(
            "--storage must know whose moments they are, and the file does not say; add --rule, "
            "such as --rule 'adam(b1=0.9, b2=0.999)' with the numbers of the run"
        )
    write_arrays(args.out, *encode_named(named, args.storage, rule))


def _write_theirs(args: Arguments, named: NamedArrays, names: dict[str, Any]) -> None:
    if args.to == "keras":
        variables = read_keras(args.like, list(names))
        write_keras(args.like, args.out, named_to_keras(named, names, variables))
    else:
        like = _read_optimizer(args.like, args.key)
        order = _confirmed_order(like, names, args.confirm_order)
        write_torch(args.out, named_to_torch(named, names, like, order=order))


def _confirmed_order(state_dict: Any, names: dict[str, Any], confirmed: bool) -> Order | None:
    """Print whose moments are whose, and return the names by group; None if they are recorded.

    Raises:
        ConversionError: if there are several groups without names, and the order is not confirmed.
    """
    groups, states = split_state_dict(state_dict)
    sizes = [len(group["params"]) for group in groups]
    recorded = recorded_names(groups)
    known = list(names) if recorded is None else recorded
    if len(known) == sum(sizes):
        print(describe_groups(groups, known, states))
        for number, group in enumerate(groups):
            numbers = (f"{n} {_show(v)}" for n, v in group_hyperparams(group).items())
            print(f"group {number}: {', '.join(numbers)}", flush=True)
    if recorded is not None or len(known) != sum(sizes):
        return None if recorded is not None else known
    if sum(map(bool, sizes)) > 1 and not confirmed:
        raise ConversionError(
            f"the optimizer has {len(groups)} parameter groups and the file no names: names.json "
            "must be in the order of the groups, which is seldom that of "
            "model.named_parameters(); if the table above is right, add --confirm-order"
        )
    left = iter(known)
    return [list(itertools.islice(left, size)) for size in sizes]


def _show(value: object) -> str:
    """Return a hyper-parameter as text."""
    return str(value) if isinstance(value, int | float) else _SHOWN.repr(value)


def _read_optimizer(path: Path, key: str | None) -> Any:
    """Read the optimiser's part of a file of PyTorch's."""
    found = _read_part(path, key, "--key")
    if isinstance(found, Mapping) and not {"state", "param_groups"} <= found.keys():
        raise ConversionError(
            f"{path} has {join_names(map(str, found))} where a state_dict of an optimizer has "
            "state and param_groups; say where it is in the file, as with --key optimizer"
        )
    return found


def _read_model(text: str) -> Any:
    """Read the `state_dict` of a model, of a file or of what is behind a colon in the file."""
    path, _, key = (text, "", "") if os.path.exists(text) else text.rpartition(":")
    model = _read_part(Path(path or text), key if path else None, "--model")
    if not isinstance(model, Mapping) or not all(hasattr(x, "shape") for x in model.values()):
        what = join_names(map(str, model)) if isinstance(model, Mapping) else type(model).__name__
        raise ConversionError(
            f"--model {text} is no model.state_dict(), but has {what}; say where it is, "
            "as in checkpoint.pt:model"
        )
    return model


def _read_part(path: Path, key: str | None, option: str) -> Any:
    """Read a file of PyTorch's, or what is in it at the keys that slashes separate."""
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
            raise ConversionError(f"{path} has no {part!r} of {option} {key}; there is {keys}")
    return found


CONVERT = Command(
    "convert",
    "take an optimiser's state from a file of PyTorch's or Keras's, or back",
    "; no code from the file is run.",
    [
        argument(
            "source",
            f".pt, .pth, .keras, .weights.h5, or {_OURS} with --to or --storage",
            type=types.path,
        ),
        option("--names", type=types.path, metavar="FILE", help="see below"),
        option("--out", type=types.path, metavar="FILE", required=True, help="the new file"),
        option("--to", type=Choice(["torch", "keras"]), help=f"what to make of {_OURS}"),
        option(
            "--like",
            type=types.path,
            metavar="FILE",
            help="a file of the optimiser's that goes on, which is not changed: of PyTorch's, the "
            "new file has the state_dict alone; of Keras's, it is a copy with the new state",
        ),
        option(
            "--key",
            metavar="KEY",
            help="where in a checkpoint the optimiser's state_dict is, such as optimizer or "
            "optimizers/0",
        ),
        option(
            "--model",
            metavar="FILE[:KEY]",
            help="a file with model.state_dict(), and where in it that is, such as "
            "checkpoint.pt:model: every shape is checked by name",
        ),
        option(
            "--params",
            type=types.path,
            metavar="FILE",
            help="write the parameters of --model to this file, too",
        ),
        option(
            "--confirm-order",
            is_flag=True,
            help="names.json is in the order of the parameter groups, as the table says",
        ),
        option(
            "--storage",
            metavar="S",
            help="write the moments in this storage format, such as pair, 'pair(3)' or stochastic; "
            "dense makes floats of them",
        ),
        option(
            "--rule",
            metavar="RULE",
            help="whose moments they are, which --storage must know, such as 'adam(b1=0.9, "
            "b2=0.999)'; by default as the file says, where it does",
        ),
    ],
    _run,
    examples="""\
  adam-optax convert optimizer.pt --names names.json --out state.safetensors
  adam-optax convert checkpoint.pt --key optimizer --model checkpoint.pt:model \\
    --names names.json --out state.safetensors --params params.safetensors
  adam-optax convert optimizer.pt --names names.json --out state.safetensors --storage pair
  adam-optax convert state.safetensors --out small.safetensors --storage 'pair(3)'
  adam-optax convert model.keras --names names.json --out state.safetensors
  adam-optax convert state.safetensors --to torch --like fresh.pt --names names.json --out new.pt
  adam-optax convert state.safetensors --to keras --like model.keras --names names.json \\
    --out new.keras
""",
    epilog=lambda: _NAMES_HELP,
    refusals=(ConversionError,),
)
