"""Planted faults: what the suite must catch. `python -m tests.faults` measures that again.

Each fault is put into a copy of the package, and the quick tests are run on the copy.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A change of one place in the package that breaks a promise."""

    name: str
    file: str
    right: str
    wrong: str


NONE = Fault(
    "no fault", "numerics.py", "Arithmetic that the rules share", "Arithmetic that the rules share"
)
"""A control: the copy itself passes."""

FAULTS = [
    Fault("no bias correction", "moments.py", "if nesterov else m / now", "if nesterov else m"),
    Fault("eps inside the root", "directions.py", "return root(v if", "return root(eps + v if"),
    Fault("eps_root ignored", "directions.py", "else v + eps_root) + eps", "else v) + eps"),
    Fault("nesterov ignored", "moments.py", "/ now if nesterov else", "/ now if False else"),
    Fault("mask ignored", "transform.py", "if fade is False:", "if False:"),
    Fault("count stuck", "numerics.py", "count + 1, count)", "count, count)"),
    Fault(
        "squares in the gradient's dtype",
        "execute.py",
        "x = Leaf(jnp.astype(g, dtype)",
        "x = Leaf(jnp.astype(g * g, dtype) / jnp.astype(g, dtype)",
    ),
    Fault("decay ignored", "couplings.py", "return amount * p", "return 0 * p"),
    Fault(
        "b rounded to float32",
        "numerics.py",
        "if not is_exact(b) or b < 0.5:",
        "if True:",
    ),
    Fault(
        "bias factor by subtraction",
        "numerics.py",
        "return saturation(t * -math.log(b)) if b > 0",
        "return 1 - b**t if b > 0",
    ),
    Fault(
        "schedule one step late",
        "transform.py",
        "self.rule.numbers(count)",
        "self.rule.numbers(count + 1)",
    ),
    Fault(
        "codes divided at their lower end",
        "storage/bits.py",
        "jnp.float32) + 0.5) * share",
        "jnp.float32)) * share",
    ),
    Fault(
        "codes of a leaf without gradient left behind",
        "transform.py",
        "if codec.clocked else kept",
        "if False else kept",
    ),
    Fault(
        "every leaf by the first codec's clocks",
        "transform.py",
        "time = clocks[id(codec)]",
        "time = clocks[next(iter(clocks))]",
    ),
    Fault(
        "moments in the parameter's dtype",
        "transform.py",
        "dtype = compute_dtype(p)",
        "dtype = p.dtype",
    ),
    Fault("complex squared", "numerics.py", "if jnp.isrealobj(x) else", "if True else"),
    Fault("infinite derivative", "numerics.py", "positive = v > 0", "positive = v >= 0"),
    Fault("trust ratio ignored", "tail.py", "else rule.finish(step, x)", "else step"),
    Fault("radam's rho cancels", "rules/rectified.py", "jnp.where(x < 0.5, young, old)", "old"),
    Fault(
        "independent decay times the rate",
        "tail.py",
        "if term is not None and coupling.power > 0:",
        "if term is not None:",
    ),
    Fault(
        "AdamC with one rate", "couplings.py", "decay * rate if self.power == 2", "decay if True"
    ),
    Fault(
        "last axes factored",
        "storage/factored.py",
        "np.argsort(shape, stable=True)",
        "range(len(shape))",
    ),
    Fault("fresh nu for the stored", "storage/factored.py", "stored: ClassVar[bool] = True", ""),
    Fault("average a step late", "rules/average.py", "return x.p + x.g", "return x.p"),
    Fault(
        "replaced part lost",
        "rule.py",
        "if not self._replaced():\n            return self.make",
        "if True:\n            return self.make",
    ),
    Fault(
        "mu and nu swapped on the way from PyTorch",
        "convert/torch_layout.py",
        '_ADAM = {"exp_avg": "mu", "exp_avg_sq": "nu"}',
        '_ADAM = {"exp_avg": "nu", "exp_avg_sq": "mu"}',
    ),
    Fault(
        "axes permuted by the inverse",
        "convert/names.py",
        "return self._permuted(x, self.axes)",
        "return self.to_theirs(x)",
    ),
    Fault(
        "a schedule's count left behind",
        "convert/slots.py",
        "return node._replace(count=new, **{n: walk",
        "return node._replace(**{n: walk",
    ),
    Fault(
        "nu of int8 rounded to zero",
        "storage/int8.py",
        "jnp.where(share > 0, jnp.maximum(code, 1), 0)",
        "code",
    ),
    Fault(
        "nu of float8 rounded to zero", "storage/float8.py", "- BASE, 1, 255)", "- BASE, 0, 255)"
    ),
    Fault(
        "codes read as if they were of this step",
        "execute.py",
        "for t in (before, count)",
        "for t in (count, count)",
    ),
    Fault(
        "mu read by another root than kept",
        "storage/pair_element.py",
        "share * self._scale(value, stamp)",
        "share * jnp.sqrt(value) * stamp.tick.root",
    ),
    Fault("dither taken off twice", "storage/ratio.py", "(0.5 - unit(u))", "2 * (0.5 - unit(u))"),
    Fault(
        "units of the block before",
        "storage/blocks.py",
        "shared[..., None]",
        "jnp.roll(shared, 1, -1)[..., None]",
    ),
    Fault("not guarded", "execute.py", "if codec.guarded else None", "if False else None"),
    Fault(
        "a state made op by op",
        "kept.py",
        'numbers), place)\n\n    return jax.jit(run, static_argnames="shape")',
        "numbers), place)\n\n    return run",
    ),
    Fault(
        "a clock for every leaf",
        "storage/resolve.py",
        "[same[codec] for codec in chosen]",
        "chosen",
    ),
    Fault("storage ignored", "storage/resolve.py", "| short | given", "| short"),
    Fault(
        "rounded to nearest, not at random",
        "precision/stochastic.py",
        "rounded(wanted, p.dtype, dither(p.shape, count, key))",
        "rounded(wanted, p.dtype, np.uint32(1 << 31))",
    ),
    Fault("the same dither at every step", "dither.py", "t * GOLDEN", "t * np.uint32(0)"),
    Fault(
        "an update rounded to the parameter's dtype",
        "precision/landing.py",
        "still, target - wide)",
        "still, (target - wide).astype(p.dtype).astype(jnp.float32))",
    ),
    Fault(
        "compensation dropped",
        "precision/compensated.py",
        "dropped = y - (landed - wide)",
        "dropped = y - y",
    ),
    Fault(
        "remainder dropped",
        "precision/master.py",
        "in_place_of(given, update), rest",
        "in_place_of(given, update), rest * np.uint16(0)",
    ),
    Fault(
        "a rounded-up parameter taken for the upper half",
        "precision/master.py",
        "where(moved, rest >> np.uint32(15), 0)",
        "where(False, rest, 0)",
    ),
    Fault(
        "every rule is taken for elementwise",
        "kernels/elementwise.py",
        "if inner := list(jaxprs_in_params(equation.params)):",
        "if inner := jaxprs_in_params(equation.params):",
    ),
    Fault(
        "a tile dithered as if it were the leaf's first",
        "dither.py",
        "index = index + corner.start[axis].astype(jnp.uint32)",
        "index = index + 0 * corner.start[axis].astype(jnp.uint32)",
    ),
    Fault(
        "a block's header beside the next one's codes",
        "kernels/mosaic.py",
        "jnp.where(lane == j, _wide(x), old)",
        "jnp.where(lane == j + 1, _wide(x), old)",
    ),
    Fault(
        "links before the last one skipped",
        "step.py",
        "zip(chain[:-1], state[:-1], strict=True)",
        "zip(chain[:0], state[:0], strict=True)",
    ),
    Fault(
        "an entry's last leaf for all of it",
        "footprint.py",
        "by_entry.get(name, 0) + _bytes(leaf)",
        "_bytes(leaf)",
    ),
    Fault(
        "watched gradients are lost",
        "watch/layers.py",
        "jnp.where(one, g, jnp.zeros_like(g))",
        "jnp.where(one, jnp.zeros_like(g), g)",
    ),
    Fault(
        "watched moments not corrected for their bias",
        "watch/views.py",
        "moment.read(moments[name], x, clock.warm[name])",
        "moments[name]",
    ),
    Fault(
        "eps rules where it does not",
        "watch/record.py",
        "view.denominator > 2 * view.root_nu",
        "view.denominator > view.root_nu",
    ),
    Fault("every record in the same place", "watch/state.py", "% len(state.steps)", "* 0"),
    Fault(
        "1e30 counted as not finite",
        "watch/record.py",
        "jnp.mean(~jnp.isfinite(g), dtype=jnp.float32)",
        "jnp.mean(~(abs(g) < 1e19), dtype=jnp.float32)",
    ),
    Fault(
        "a state on every device in full",
        "placement.py",
        "return jnp.where(like == like, x, x)",
        "return x",
    ),
    Fault(
        "a format's own arrays under explicit sharding",
        "transform.py",
        "if placement.is_explicit(g):",
        "if False:",
    ),
    Fault(
        "bytes on the chip counted",
        "aot/hlo.py",
        "in _arrays(kind) if not chip",
        "in _arrays(kind)",
    ),
    Fault("undonated parameters", "aot/compiled.py", "donated = (0, 1) if", "donated = (1,) if"),
    Fault("rows drift a step late", "rows/gap.py", "t = (count + ages", "t = (count + 1 + ages"),
    Fault(
        "rows stand still between gradients",
        "rows/table.py",
        "if not self.exact or not moments:",
        "if True:",
    ),
    Fault(
        "rows' moments do not fade",
        "rows/gap.py",
        "x = x * factor.reshape",
        "x = x * jnp.ones_like(factor).reshape",
    ),
    Fault(
        "rows' decay between gradients forgotten",
        "rows/state.py",
        "jnp.expm1(-fade), jnp.exp(-fade))",
        "0 * fade, jnp.exp(-fade))",
    ),
    Fault(
        "too many ids read as others",
        "rows/ids.py",
        "return jnp.where(sound, found,",
        "return jnp.where(sound | True, found,",
    ),
]


def plant(fault: Fault, into: pathlib.Path) -> None:
    """Copy the package and the tests to a folder, with the fault in the package."""
    for part in ("adam_optax", "tests"):
        shutil.copytree(ROOT / part, into / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, into)
    path = into / "adam_optax" / fault.file
    text = path.read_text()
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.name}: {fault.right!r} is in {fault.file} not exactly once")
    path.write_text(text.replace(fault.right, fault.wrong))


NEAR = {
    "aot": "tests/aot",
    "convert": "tests/convert",
    "couplings.py": "tests/test_couplings.py",
    "directions.py": "tests/test_variants.py tests/test_robust.py",
    "dither.py": "tests/test_precision_training.py tests/kernels",
    "execute.py": "tests/test_dtypes.py tests/test_codecs.py tests/test_streams.py",
    "footprint.py": "tests/test_memory.py",
    "kernels": "tests/kernels",
    "kept.py": "tests/test_codecs.py",
    "moments.py": "tests/test_variants.py",
    "numerics.py": "tests/test_numerics.py tests/test_dtypes.py tests/test_jax_transforms.py "
    "tests/rows/test_table.py",
    "placement.py": "tests/sharding",
    "precision": "tests/test_precision_landing.py tests/test_precision_training.py",
    "rows": "tests/rows",
    "rule.py": "tests/test_wrappers.py",
    "rules": "tests/test_variants.py tests/test_family.py tests/test_temporal_average.py",
    "step.py": "tests/test_step.py",
    "storage": "tests/storage tests/test_factored.py tests/test_streams.py tests/test_codecs.py",
    "tail.py": "tests/test_couplings.py tests/test_family.py",
    "transform.py": "tests/test_trees.py tests/test_couplings.py tests/test_variants.py "
    "tests/convert/test_files.py tests/sharding tests/test_codecs.py",
    "watch": "tests/test_watch.py",
}
"""The tests of a file or folder, which are tried first, and then all; of others all at once."""


def caught(fault: Fault, cache: pathlib.Path) -> str:
    """The first failing test, or an empty string if the quick tests pass.

    Args:
        fault: what to plant.
        cache: a folder for compiled programs, which the faults share.
    """
    near = NEAR.get(fault.file.split("/")[0], "").split()
    with tempfile.TemporaryDirectory() as folder:
        plant(fault, pathlib.Path(folder))
        return (near and _failed(fault, folder, cache, near)) or _failed(
            fault, folder, cache, ["tests"]
        )


def _failed(fault: Fault, folder: str, cache: pathlib.Path, paths: list[str]) -> str:
    arguments = ["-m", "quick", "-x", "-q", "-p", "no:cacheprovider", "--ignore=tests/lab"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *paths],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | _cached(cache),
        capture_output=True,
        text=True,
        check=False,
    )
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode == 1 and failed:
        return failed[0]
    if run.returncode == 0:
        return ""
    raise RuntimeError(f"{fault.name}: the tests did not run:\n{run.stdout}{run.stderr}")


def _cached(cache: pathlib.Path) -> dict[str, str]:
    """What a fault leaves as it was is compiled for the first one alone: a program is its key."""
    every = {"MIN_COMPILE_TIME_SECS": "0", "MIN_ENTRY_SIZE_BYTES": "-1"}
    keeps = {f"JAX_PERSISTENT_CACHE_{name}": value for name, value in every.items()}
    return {"JAX_COMPILATION_CACHE_DIR": str(cache)} | keeps


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        for one in (NONE, *FAULTS):
            print(f"{one.name}: {caught(one, pathlib.Path(cache)) or 'not caught'}", flush=True)
