"""Check named arrays, and raise one error that names every problem and its remedy.

Named arrays are the neutral form through which every state passes: a flat dict with `"count"`, an
integer scalar, and one array for each moment of each parameter under a key such as
`"mu/dense/kernel"`: the moment's name, a slash, and the parameter's path.
"""

import difflib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from numpy.typing import NDArray

NamedArrays: TypeAlias = dict[str, NDArray[Any]]
ArrayOrShape: TypeAlias = jax.Array | jax.ShapeDtypeStruct | NDArray[Any]

COUNT = "count"
CONVERT_EXTRA, TORCH_EXTRA = "'adam-optax[convert]'", "'adam-optax[torch]'"
"""What is installed for files: of this library and of Keras; of PyTorch."""
_SHOWN_NAMES, _SHOWN_PROBLEMS = 5, 20
_LONGEST_NAME, _LONGEST_MESSAGE = 100, 10_000
"""How much of a name and of a message is shown, in characters."""
_COMPARED_NAMES = 1000
"""Among so many names the closest is looked for: comparing two names is slow."""
_SQUARES = frozenset({"nu", "nu_max"})

_NOT_FINITE_HINT = "go back to a checkpoint from before they came up"
_NEGATIVE_HINT = "squares have none: are two entries or two parameters swapped?"
_UNLIKE_HINT = "they are of one parameter: are entries of two parameters mixed up?"
_TRANSPOSED_HINT = "permute its axes in names, as in ('dense/kernel', (1, 0))"
_COMPLEX_HINT = (
    "the parameter is of the other kind, or PyTorch's: it keeps the squares of real and imaginary "
    "parts apart, and no optimiser here does"
)
_EXTRA_HINTS = {
    "nu_max": "the source has AMSGrad's maximum; make the template with ao.amsgrad(raw_max=True)",
    "product": "the source is NAdam with a schedule of its momentum; make the template with "
    "ao.conventions.scheduled_nadam",
}
_MISSING_HINTS = {
    "nu_max": "the template has AMSGrad's maximum and the source has none; make the template with "
    "ao.adam, or the source with amsgrad=True",
    "product": "the template is scheduled_nadam and the source is not NAdam; make the template "
    "with ao.adam, say",
}


class ConversionError(ValueError):
    """Report that a state, a mapping of names or a file cannot be converted.

    The message names the parameter, the entry or the file, says what is wrong with it, and says
    what to write instead.

    Args:
        message: these sentences. What is too long, and what a terminal would obey, is left out.
    """

    def __init__(self, message: str) -> None:
        # A name from a file can be megabytes long, and have characters that steer a terminal.
        shown = _shorten(message, _LONGEST_MESSAGE)
        super().__init__(
            "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in shown)
        )


def _shorten(text: str, most: int) -> str:
    """Leave out the middle of a long text."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text) - 2 * half} characters more) ... {text[-half:]}"


def raise_problems(problems: list[str]) -> None:
    """Raise one error that lists all problems; return if there are none.

    Raises:
        ConversionError: if there is a problem, with one numbered line for each of several.
    """
    if len(problems) == 1:
        raise ConversionError(problems[0])
    if problems:
        shown = [_shorten(text, _LONGEST_NAME * 10) for text in problems[:_SHOWN_PROBLEMS]]
        lines = "".join(f"\n  {number}. {text}" for number, text in enumerate(shown, 1))
        more = len(problems) - len(shown)
        rest = f"\n  and {more} more" if more else ""
        raise ConversionError(f"{len(problems)} things do not fit:{lines}{rest}")


def join_names(names: Iterable[str]) -> str:
    """Join the first few names for a message, and say how many more there are."""
    every = list(names)
    more = f" and {len(every) - _SHOWN_NAMES} more" if len(every) > _SHOWN_NAMES else ""
    return ", ".join(_shorten(name, _LONGEST_NAME) for name in every[:_SHOWN_NAMES]) + more


def suggest_name(name: str, known: Collection[str]) -> str:
    """Suggest the known name that is closest to an unknown one, or else list the known names."""
    alike = [n for n in itertools.islice(known, _COMPARED_NAMES) if len(n) <= _LONGEST_NAME]
    if len(name) <= _LONGEST_NAME and (close := difflib.get_close_matches(name, alike, n=1)):
        return f"did you mean {close[0]!r}?"
    return f"there is {join_names(map(repr, known))}" if known else "there is none"


@contextmanager
def require_package(package: str, install: str) -> Iterator[None]:
    """Run the body, and turn a failed import into the command that installs the package.

    Raises:
        ConversionError: if the body fails to import a module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        text = f"this needs {package}: pip install {install} ({error})"
        raise ConversionError(text) from error


def join_key(moment: str, path: str) -> str:
    """Return the key of a parameter's moment, such as `"mu/dense/kernel"`.

    A tree that is a single array has the empty path; the key is then the moment's name alone.
    """
    return f"{moment}/{path}" if path else moment


def split_key(key: str) -> tuple[str, str]:
    """Split a key into the moment's name and the parameter's path."""
    moment, _, path = key.partition("/")
    return moment, path


def to_numpy(x: Any, name: str) -> NDArray[Any]:
    """Copy an array of any framework to NumPy, without importing the framework.

    The result is a copy because the owner of `x` may go on to change `x` in place. A bfloat16
    tensor of PyTorch, which PyTorch cannot hand over, is returned as float32.

    Raises:
        ConversionError: if `x` is sharded over processes, sparse, or no array at all.
    """
    if hasattr(x, "full_tensor"):
        raise ConversionError(
            f"{name} is sharded over processes; gather the state first, with torch.distributed."
            "checkpoint.state_dict.get_optimizer_state_dict and full_state_dict=True"
        )
    if np.ma.is_masked(x):
        raise ConversionError(
            f"{name} has masked elements, which a moment cannot have; fill them, x.filled(0)"
        )
    try:
        value = np.array(_tensor_to_numpy(x) if hasattr(x, "detach") else x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConversionError(f"{name} cannot be read as an array: {error}") from error
    if value.dtype.hasobject:
        raise ConversionError(f"{name} is not an array but {type(x).__name__}")
    return _in_native_order(value)


def _in_native_order(x: NDArray[Any]) -> NDArray[Any]:
    """Return an array whose bytes are in this machine's order: JAX and files take no other."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _tensor_to_numpy(x: Any) -> Any:
    """Return a tensor of PyTorch as a NumPy array."""
    x = x.detach().cpu()
    for resolve in ("resolve_conj", "resolve_neg"):
        x = getattr(x, resolve, lambda x=x: x)()
    try:
        return x.numpy()
    except TypeError:
        # Halves of complex numbers have no dtype in NumPy, and `float` would drop imaginary parts.
        return (x.cfloat() if x.is_complex() else x.float()).numpy()


def to_named_arrays(named: Any) -> NamedArrays:
    """Return a dict of NumPy arrays, from a mapping whose arrays may be another library's.

    Raises:
        ConversionError: if `named` is no mapping from names to arrays.
    """
    if not isinstance(named, Mapping) or not all(isinstance(key, str) for key in named):
        raise ConversionError(
            "named arrays are a dict such as {'count': ..., 'mu/dense/kernel': ...}, not "
            f"{type(named).__name__}"
        )
    return {
        # The exact class: a subclass of arrays may mean something else, as masked arrays do.
        key: _in_native_order(x) if type(x) is np.ndarray else to_numpy(x, key)
        for key, x in named.items()
    }


def find_value_problems(named: NamedArrays) -> list[str]:
    """Describe the problems that named arrays have whatever they are converted to."""
    problems = _find_count_problems(named[COUNT]) if COUNT in named else [f"{COUNT} is missing"]
    for key, x in named.items():
        if key != COUNT:
            problems += _find_moment_problems(key, x)
    return problems


def check_without_template(named: NamedArrays) -> None:
    """Check named arrays by themselves: their values, and that a parameter's moments are a set.

    Raises:
        ConversionError: if a value or the shapes of two moments of one parameter do not fit.
    """
    raise_problems(find_value_problems(named) or _find_unlike_shapes(named))


def _find_unlike_shapes(named: NamedArrays) -> list[str]:
    """Describe moments of one parameter whose shapes differ.

    A moment but mu may be one number for all of a parameter, as NovoGrad's nu and NAdam's product.
    """
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    problems = []
    for key, x in named.items():
        moment, path = split_key(key)
        if key == COUNT or (x.shape == () and moment != "mu"):
            continue
        first, shape = shapes.setdefault(path, (key, x.shape))
        if shape != x.shape:
            problems.append(f"{first} has shape {shape}, but {key} {x.shape}; {_UNLIKE_HINT}")
    return problems


def _find_count_problems(count: NDArray[Any]) -> list[str]:
    """Describe why an array cannot be a count of steps."""
    if count.shape != () or not np.issubdtype(count.dtype, np.integer):
        return [f"{COUNT} must be an integer scalar, not {_describe(count)}"]
    return [f"{COUNT} is {count}: a number of steps is not negative"] if count < 0 else []


def _find_moment_problems(key: str, x: NDArray[Any]) -> list[str]:
    """Describe why an array cannot be the moment of this key."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return [f"{key} must be a floating array, not {_describe(x)}"]
    if wrong := int(np.sum(~np.isfinite(x))):
        return [f"{key} has {wrong} of {x.size} values that are not finite; {_NOT_FINITE_HINT}"]
    is_square = split_key(key)[0] in _SQUARES and not np.iscomplexobj(x)
    if is_square and (wrong := int(np.sum(x < 0))):
        return [f"{key} has {wrong} of {x.size} negative values; {_NEGATIVE_HINT}"]
    return []


def find_template_problems(
    named: NamedArrays, template: Mapping[str, ArrayOrShape], count_limit: int
) -> list[str]:
    """Describe where named arrays do not fit the moments of a template.

    Args:
        named: the arrays, with their count.
        template: the template's moments by key.
        count_limit: the largest count that the template can hold.
    """
    missing = sorted(template.keys() - named.keys())
    extra = sorted(named.keys() - {COUNT} - template.keys())
    problems = _find_one_sided(missing, named.keys(), "missing", _MISSING_HINTS)
    problems += _find_one_sided(extra, template.keys(), "extra", _EXTRA_HINTS)
    for key in (k for k in template if k in named):
        problems += find_shape_problems(key, named[key], template[key])
    if COUNT in named and not _find_count_problems(named[COUNT]) and named[COUNT] > count_limit:
        problems.append(
            f"{COUNT} is {named[COUNT]}, more than the template can hold ({count_limit})"
        )
    return problems


def _find_one_sided(
    keys: list[str], others: Iterable[str], what: str, hints: Mapping[str, str]
) -> list[str]:
    """Describe keys that only one side has: one text for each hinted moment, one for the rest.

    A moment gets its hint if the other side does not have it for any parameter.
    """
    moments_of_others = {split_key(key)[0] for key in others}
    of_moments: dict[str, list[str]] = {}
    for key in keys:
        of_moments.setdefault(split_key(key)[0], []).append(key)
    problems, rest = [], []
    for moment, of_moment in of_moments.items():
        if moment in hints and moment not in moments_of_others:
            problems.append(f"{what} {join_names(of_moment)}: {hints[moment]}")
        else:
            rest += of_moment
    if rest:
        problems.append(f"{what} {join_names(rest)}: {_one_sided_hint(rest, others, what)}")
    return problems


def _one_sided_hint(keys: list[str], others: Iterable[str], what: str) -> str:
    """Say what to do about keys that only one side has."""
    if what == "missing":
        return "the template has them, the source or its names do not; map a name to each"
    known = sorted({split_key(key)[1] for key in others if key != COUNT})
    if (path := split_key(keys[0])[1]) in known:
        return "the template keeps no such moments; make it with the optimiser of the source"
    return (
        f"the template has no parameter {path!r} ({suggest_name(path, known)}); map its name to "
        "None to leave it out"
    )


def find_shape_problems(key: str, x: NDArray[Any], like: ArrayOrShape) -> list[str]:
    """Describe why an array cannot take the place of another: shape, kind or range of its dtype."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return []  # `find_value_problems` has reported it already.
    if x.shape != tuple(like.shape):
        hint = _TRANSPOSED_HINT if sorted(x.shape) == sorted(like.shape) else "check names"
        return [f"{key} has shape {x.shape} in the source, but {tuple(like.shape)} here; {hint}"]
    if np.iscomplexobj(x) != jnp.issubdtype(like.dtype, jnp.complexfloating):
        return [f"{key} is {x.dtype} in the source, but {like.dtype} here; {_COMPLEX_HINT}"]
    if np.all(np.isfinite(x)) and not np.all(np.isfinite(cast(x, like.dtype))):
        return [f"{key} overflows {like.dtype}, in which it is kept here; keep it in a wider one"]
    return []


def cast(x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Cast an array; values too large for the dtype become infinite, without a warning."""
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(dtype)


def _describe(x: NDArray[Any]) -> str:
    """Return an array's dtype and shape as text, such as `float32[2, 3]`."""
    return f"{x.dtype}{list(x.shape)}"
