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
PLATFORMS = {
    "x86_64-linux-gnu": "x86_64",
    "aarch64-linux-gnu": "generic",
    "x86_64-macos": "x86_64",
    "aarch64-macos": "apple_m1",
}
FLAGS = (
    *("-std=c11", "-ffreestanding", "-O2", "-g0"),
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
    text = re.sub(r"(alloca ptr, i64 .*), align (8|16)", r"\1", text)  # the platform's own
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def compiled(target: str, processor: str) -> str:
    """Return `runtime.c` as generic IR, made for a platform."""
    with tempfile.TemporaryDirectory() as folder:
        made = pathlib.Path(folder) / "runtime.ll"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-I", jax.ffi.include_dir()]
        command += ["-target", target, f"-mcpu={processor}", "-o", str(made), str(SOURCE)]
        subprocess.run(command, check=True)
        return generic(made.read_text())


def main() -> None:
    """Compile `runtime.c` for every platform, and write the IR, the same for all, beside it."""
    texts = {compiled(target, processor) for target, processor in PLATFORMS.items()}
    if len(texts) > 1:
        sys.exit("runtime.c depends on the platform: runtime.ll would not be right for all")
    SOURCE.with_suffix(".ll").write_text(f"{first_line()}\n\n{texts.pop()}\n")


if __name__ == "__main__":
    main()
