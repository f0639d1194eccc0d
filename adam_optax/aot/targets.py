"""Describe the accelerators to compile for, none of which need be there.

Compiling for TPUs needs `libtpu`; compiling for GPUs needs `jax-cuda13-plugin`, `nvidia-nvvm` and
`nvidia-cuda-nvcc`. The extra `aot` contains all of them. The numbers are from public data sheets
and from CUDA's occupancy tables.
"""

import functools
import importlib.util
import os

import jax

QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # else two processes fight over a lock file
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
"""Environment variables under which `libtpu` neither looks for a TPU nor logs."""
TPUS = {"v5e": "v5e:2x4", "v6e": "v6e:2x4", "v5p": "v5p:2x2x2"}
"""Topologies of eight devices, by target."""


def _gpu(
    name: str, major: int, cores: int, bandwidth: float, clock: float, memory: int, shared: int
) -> str:
    """Return the text that XLA reads as the description of a GPU.

    Args:
        name: Name of the GPU.
        major: Major number of its compute capability.
        cores: Number of cores (streaming multiprocessors).
        bandwidth: Memory bandwidth, in bytes per second.
        clock: Clock rate, in GHz.
        memory: Memory, in bytes.
        shared: Shared memory of each core, in bytes.
    """
    feature = "ACCELERATED_FEATURES" if major >= 9 else "NONE"
    return f"""gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: {shared}
  shared_memory_per_block_optin: {shared - 1024}
  threads_per_core_limit: 2048 core_count: {cores} fpus_per_core: {128 if major >= 9 else 64}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  memory_bandwidth: {bandwidth:.0f} l2_cache_size: {41943040 if major < 9 else 52428800}
  clock_rate_ghz: {clock} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} minor: 0 feature_extension: {feature} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  device_address_bits: 64
  runtime_version: "13.0.0" driver_version: "13.0.0" compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""


GPUS = {
    "a100": _gpu("NVIDIA A100-SXM4-80GB", 8, 108, 2.03904e12, 1.41, 85100068864, 167936),
    "h100": _gpu("NVIDIA H100 80GB HBM3", 9, 132, 3.35232e12, 1.98, 84942979072, 233472),
    "b200": _gpu("NVIDIA B200", 10, 148, 7.67232e12, 1.965, 191514411008, 233472),
}
"""Descriptions of GPUs, by target."""
NEEDS = {"tpu": ("libtpu",), "cuda": ("jax_cuda13_plugin", "nvidia"), "cpu": ()}
"""Packages that must be installed to compile for a platform."""
INSTALL = "pip install 'adam-optax[aot]'"
TARGETS = (*TPUS, *GPUS, "cpu")
"""All targets; `cpu` is this machine."""


def platform(target: str) -> str:
    """Return the platform of a target: `tpu`, `cuda` or `cpu`.

    Raises:
        ValueError: If there is no such target.

    >>> platform("v5e"), platform("h100")
    ('tpu', 'cuda')
    """
    if target not in TARGETS:
        raise ValueError(f"target {target!r} is none of {', '.join(TARGETS)}")
    return "tpu" if target in TPUS else "cuda" if target in GPUS else "cpu"


def missing(target: str) -> list[str]:
    """Return the missing packages without which no step can be compiled for a target.

    The extra `aot` contains these packages.

    >>> missing("cpu")
    []
    """
    return [n for n in NEEDS[platform(target)] if importlib.util.find_spec(n) is None]


@functools.cache
def topology(name: str, slices: int = 1) -> tuple[jax.Device, ...]:
    """Return the chips of TPUs that need not be there, by the name of their topology.

    Args:
        name: Kind and shape, such as `v5e:16x16`.
        slices: Number of pods of that shape.
    """
    from jax.experimental import topologies

    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    many = {"num_slices": slices} if slices > 1 else {}
    return tuple(topologies.get_topology_desc(platform="tpu", topology_name=name, **many).devices)


@functools.cache
def nodes(target: str, count: int) -> tuple[jax.Device, ...]:
    """Return the GPUs of nodes that need not be there, eight in each.

    Args:
        target: Kind of GPU, such as `h100`.
        count: Number of nodes.
    """
    from jax.experimental import topologies

    config = {"target_config": GPUS[target], "topology": f"1x{count}x8"}
    try:
        return tuple(topologies.get_topology_desc(platform="cuda", **config).devices)
    except NotImplementedError as error:  # JAX was used before, and its plugin found no GPU
        raise RuntimeError("set JAX_PLATFORMS=cpu before JAX is used") from error


@functools.cache
def devices(target: str) -> tuple[jax.Device, ...]:
    """Return the devices of a target: eight of an accelerator, or this machine's for `cpu`."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if platform(target) == "cpu":
        return tuple(jax.devices("cpu"))
    return topology(TPUS[target]) if target in TPUS else nodes(target, 1)


def device(target: str) -> jax.Device:
    """Return the first device of a target."""
    return devices(target)[0]
