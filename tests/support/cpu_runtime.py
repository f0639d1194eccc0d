"""Write `runtime.ll` anew after a change of `runtime.c`: `python -m tests.support.cpu_runtime`.

Wants `pip install ziglang==0.15.1`: its clang is of LLVM 20, as is the oldest llvmlite, which must
read the text.
"""

import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

import jax

SOURCE = pathlib.Path(__file__).parents[2] / "adam_optax/_engine/kernels/cpu/runtime.c"
FLAGS = (
    *("-target", "x86_64-linux-gnu", "-mcpu=x86_64", "-std=c11", "-ffreestanding", "-O2", "-g0"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-unused-command-line-argument"),
    *("-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops"),  # for any processor
    *("-fno-strict-aliasing", "-fno-stack-protector", "-fno-sanitize=all", "-fno-stack-check"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    *("-S", "-emit-llvm"),
)


def first_line() -> str:
    """Return what `runtime.ll` begins with if it was made of this `runtime.c`."""
    return f"; sha256 of runtime.c: {hashlib.sha256(SOURCE.read_bytes()).hexdigest()}"


def generic(text: str) -> str:
    """Return the IR without what ties it to a platform, a processor or a place on disk."""
    kept = [
        line
        for line in text.splitlines()
        if not re.match(r"; (ModuleID|Function Attrs)|source_filename|target |attributes |!", line)
        and "@llvm.lifetime." not in line  # of other arguments from LLVM 22 on
    ]
    text = re.sub(r", !llvm\.loop !\d+| #\d+| nocapture|\s+; preds = .*", "", "\n".join(kept))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def main() -> None:
    """Compile `runtime.c`, and write its IR beside it."""
    with tempfile.TemporaryDirectory() as folder:
        made = pathlib.Path(folder) / "runtime.ll"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-I", jax.ffi.include_dir()]
        subprocess.run([*command, "-o", str(made), str(SOURCE)], check=True)
        text = generic(made.read_text())
    SOURCE.with_suffix(".ll").write_text(f"{first_line()}\n\n{text}\n")


if __name__ == "__main__":
    main()
