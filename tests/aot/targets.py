"""Accelerators to compile for, none of which need be there.

TPUs need `libtpu`, GPUs `jax-cuda13-plugin`, `nvidia-nvvm` and `nvidia-cuda-nvcc`: the extra `aot`.
The numbers are those of public data sheets and of CUDA's occupancy tables.
"""

import importlib.util
import os
from typing import Any

QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # else two processes fight over a lock file
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
TPUS = {"v5e": "v5e:2x4", "v6e": "v6e:2x4"}


def _gpu(name: str, major: int, cores: int, bandwidth: float, clock: float, memory: int) -> str:
    """The text that XLA takes for a description of a GPU."""
    return f"""gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: {cores} fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  memory_bandwidth: {bandwidth:.0f} l2_cache_size: 52428800 clock_rate_ghz: {clock}
  device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} minor: 0 feature_extension: ACCELERATED_FEATURES }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  device_address_bits: 64
  runtime_version: "13.0.0" driver_version: "13.0.0" compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""


GPUS = {"h100": _gpu("NVIDIA H100 80GB HBM3", 9, 132, 3.35232e12, 1.98, 84942979072)}
NEEDS = {"tpu": ("libtpu",), "cuda": ("jax_cuda13_plugin", "nvidia")}


def platform(target: str) -> str:
    """`tpu` or `cuda`."""
    return "tpu" if target in TPUS else "cuda"


def missing(target: str) -> list[str]:
    """The packages without which this target cannot be compiled for."""
    return [n for n in NEEDS[platform(target)] if importlib.util.find_spec(n) is None]


def device(target: str) -> Any:
    """One device of a topology of eight."""
    from jax.experimental import topologies

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if target in TPUS:
        found = topologies.get_topology_desc(platform="tpu", topology_name=TPUS[target])
    else:
        config = {"target_config": GPUS[target], "topology": "1x1x8"}
        found = topologies.get_topology_desc(platform="cuda", **config)
    return found.devices[0]
