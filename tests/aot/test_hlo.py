"""Read collectives off a module's text: each once, in however many parts it is written down."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from adam_optax.aot import facts, hlo, targets
from adam_optax.aot.compiled import Compiled

GATHERED = "f32[64,128]{1,0}"
GROUP = "channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}"
SYNC = f"""\
HloModule m, num_partitions=4

ENTRY %main (p: f32[16,128]) -> f32[64,128] {{
  %p = f32[16,128]{{1,0}} parameter(0)
  ROOT %g = {GATHERED} all-gather(%p), {GROUP}
}}
"""
IN_TWO = f"""\
HloModule m, num_partitions=4

ENTRY %main (p: f32[16,128]) -> f32[64,128] {{
  %p = f32[16,128]{{1,0}} parameter(0)
  %s = (f32[16,128]{{1,0}}, {GATHERED}) all-gather-start(%p), {GROUP}
  ROOT %g = {GATHERED} all-gather-done(%s)
}}
"""
WRAPPED = f"""\
HloModule m, num_partitions=4

%wrapped (q: f32[16,128]) -> f32[64,128] {{
  %q = f32[16,128]{{1,0}} parameter(0)
  ROOT %a = {GATHERED} all-gather(%q), {GROUP}
}}

ENTRY %main (p: f32[16,128]) -> f32[64,128] {{
  %p = f32[16,128]{{1,0}} parameter(0)
  %s = ((f32[16,128]{{1,0}}), {GATHERED}, u32[]) async-start(%p), calls=%wrapped
  %u = ((f32[16,128]{{1,0}}), {GATHERED}, u32[]) async-update(%s)
  ROOT %g = {GATHERED} async-done(%u)
}}
"""
FUSED = f"""\
HloModule m, num_partitions=4

%first (q: f32[16,128]) -> (f32[16,128], f32[64,128], u32[]) {{
  %q = f32[16,128]{{1,0}} parameter(0)
  %a = {GATHERED} all-gather(%q), {GROUP}, frontend_attributes={{chain_id="0"}}
  ROOT %c = (f32[16,128]{{1,0}}, {GATHERED}) custom-call(%a), custom_call_target="AsyncCollectiveStart"
}}

%middle (q.1: f32[16,128], r.1: f32[64,128]) -> (f32[16,128], f32[64,128]) {{
  %q.1 = f32[16,128]{{1,0}} parameter(0)
  %r.1 = {GATHERED} parameter(1)
  %a.1 = {GATHERED} all-gather(%q.1), {GROUP}, frontend_attributes={{chain_id="0"}}
  ROOT %t.1 = (f32[16,128]{{1,0}}, {GATHERED}) tuple(%q.1, %a.1)
}}

%last (q.2: f32[16,128], r.2: f32[64,128]) -> f32[64,128] {{
  %q.2 = f32[16,128]{{1,0}} parameter(0)
  %r.2 = {GATHERED} parameter(1)
  %a.2 = {GATHERED} all-gather(%q.2), {GROUP}, frontend_attributes={{chain_id="0"}}
  ROOT %c.2 = {GATHERED} custom-call(%a.2), custom_call_target="AsyncCollectiveDone"
}}

ENTRY %main (p: f32[16,128]) -> f32[64,128] {{
  %p = f32[16,128]{{1,0}} parameter(0)
  %s = (f32[16,128]{{1,0}}, {GATHERED}) fusion(%p), kind=kCustom, output_to_operand_aliasing={{{{0}}: (0, {{}})}}, calls=%first
  %s.0 = f32[16,128]{{1,0}} get-tuple-element(%s), index=0
  %s.1 = {GATHERED} get-tuple-element(%s), index=1
  %m = (f32[16,128]{{1,0}}, {GATHERED}) fusion(%s.0, %s.1), kind=kOutput, output_to_operand_aliasing={{{{0}}: (0, {{}}), {{1}}: (1, {{}})}}, calls=%middle
  %m.0 = f32[16,128]{{1,0}} get-tuple-element(%m), index=0
  %m.1 = {GATHERED} get-tuple-element(%m), index=1
  ROOT %g = {GATHERED} fusion(%m.0, %m.1), kind=kCustom, output_to_operand_aliasing={{{{}}: (1, {{}})}}, calls=%last
}}
"""  # noqa: E501  # XLA breaks no lines


@pytest.mark.quick
@pytest.mark.parametrize("text", [SYNC, IN_TWO, WRAPPED, FUSED], ids=["1", "2", "wrapped", "fused"])
def test_a_collective_in_parts_counts_once(text: str) -> None:
    part = 16 * 128 * 4
    assert hlo.collectives(text) == {"all-gather": 1}
    assert hlo.received(text) == {"all-gather": 3 * part}, "three parts of four come from others"
    assert hlo.moved(text) == part + 4 * part, "the operand is read, the result is written"


@pytest.mark.parametrize("text", [SYNC, IN_TWO, WRAPPED], ids=["1", "2", "wrapped"])
def test_a_collective_is_one_kernel(text: str) -> None:
    assert hlo.kernels(text) == 1


@pytest.mark.quick
@pytest.mark.parametrize(
    ("operation", "received"),
    [
        ("f32[100] all-reduce(%p), replica_groups={}", 2 * 400 * 7 / 8),
        ("f32[100] all-reduce(%p), replica_groups={{0,1},{2,3},{4,5},{6,7}}", 400),
        ("(f32[100], s32[50]) all-reduce(%p, %q), replica_groups=[4,2]<=[8]", 600),
        ("f32[25] reduce-scatter(%p), replica_groups=[2,4]<=[4,2]T(1,0)", 300),
        ("bf16[100] all-to-all(%p), replica_groups=mesh['a'=2,'b'=4] {'b'}", 150),
        ("bf16[100] all-gather(%p), replica_groups=mesh['a'=2,'b'=4] {'a','b'}", 175),
        ("bf16[100] all-gather(%p), replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}", 100),
        ("u8[100] collective-permute(%p), source_target_pairs={{0,1},{1,0}}", 100),
        ("f32[] add(%p, %q)", 0),
    ],
)
def test_what_a_device_receives(operation: str, received: float) -> None:
    text = f"HloModule m, num_partitions=8\n  %x = {operation}"
    assert sum(hlo.received(text).values()) == received


@pytest.mark.quick
def test_a_permute_that_starts_has_two_arrays_and_moves_one() -> None:
    text = """\
  %s = (f32[8], f32[8], u32[], u32[]) collective-permute-start(%p), channel_id=2
  %d = f32[8] collective-permute-done(%s), metadata={op_name="a"}
  %s.1 = (f32[8], f32[8], u32[], u32[]) collective-permute-start(%d), channel_id=3
  %d.1 = f32[8] collective-permute-done(%s.1)
"""
    assert hlo.collectives(text) == {"collective-permute": 2}
    assert hlo.received(text) == {"collective-permute": 2 * 32}


@functools.cache
def gathered(target: str) -> tuple[Compiled, str]:
    """Compile two layers whose weights are spread over the rows, and gathered before the use."""
    if absent := targets.missing(target):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    mesh = Mesh(np.array(targets.devices(target)[:8]), ("x",))
    rows, whole = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())

    def layers(x: Any, weights: Any) -> Any:
        for w in weights:
            x = jnp.tanh(x @ jax.lax.with_sharding_constraint(w, whole))
        return x

    def shape(*size: int) -> Any:
        return jax.ShapeDtypeStruct(size, jnp.bfloat16, sharding=rows)

    lowered = jax.jit(layers).trace(shape(4096, 1024), [shape(1024, 1024)] * 2)
    done = lowered.lower(lowering_platforms=(targets.platform(target),)).compile()
    return facts(done, 2 * 1024**2), done.as_text() or ""


@pytest.mark.heavy
@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_weights_that_are_spread_arrive_once_a_step(target: str) -> None:
    found, text = gathered(target)
    assert "all-gather-start" in text or "AsyncCollectiveStart" in text, "in parts, or try another"
    assert sum(found.received.values()) == 2 * 1024**2 * 2 * 7 / 8
