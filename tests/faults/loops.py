"""List faults in the loops of CPUs: instructions, conversions, places, and which path is taken."""

from tests.faults.anchor import Fault

FAULTS = [
    Fault(
        "products of a loop always fused into sums",
        "Writer.__init__",
        "'contract ' if contract else ''",
        "'contract '",
        "test_products_are_rounded_before_they_are_added_unless_contracted",
    ),
    Fault(
        "NaN equal to nothing, not even unequal",
        "instructions:FLOAT_COMPARISONS",
        "'une'",
        "'one'",
        "test_functions_of_two_floats[ne]",
    ),
    Fault(
        "NaN lost in a loop's maximum",
        "instructions:_extreme",
        "f'{name}imum'",
        "f'{name}num'",
        "test_functions_of_two_floats[max]",
    ),
    Fault(
        "shifts by all bits left to the processor",
        "instructions:_shift",
        "f'icmp ule {kind} {b}, {most}'",
        "f'icmp ule {kind} {b}, {b}'",
        "test_shifts_by_as_many_bits_as_there_are_and_more[uint32]",
    ),
    Fault(
        "bfloat16 cut off instead of rounded in a loop",
        "conversions:_to_bfloat16",
        "number(0x7FFF)",
        "number(0)",
        "test_functions_of_a_float[bfloat16]",
    ),
    Fault(
        "subnormal numbers of float8 halved in a loop",
        "conversions:_to_float8",
        "2.0**14",
        "2.0**13",
        "test_functions_of_a_float[float8]",
    ),
    Fault(
        "integers out of range in a loop",
        "conversions:_to_integer",
        "2**31 - 1",
        "2**31 - 2",
        "test_functions_of_a_float[int32]",
    ),
    Fault(
        "-0 for the largest number of a block",
        "_Module._write_accumulation",
        "2**31 - 1",
        "-1",
        "test_the_largest_and_least_number_of_each_block[300-64]",
    ),
    Fault(
        "what lies beyond the end of a row taken for the block's",
        "_Module._write_accumulation",
        "w.select(True, within, integers, bits, f'splat (i32 {neutral})')",
        "w.select(True, 'splat (i1 true)', integers, bits, f'splat (i32 {neutral})')",
        "test_the_largest_and_least_number_of_each_block[300-64]",
    ),
    Fault(
        "a short vector's results left in its buffer",
        "_Module._write_copies",
        "(buffer, here) if side == 'in' else (here, buffer)",
        "(buffer, here)",
        "test_functions_of_a_float[neg]",
    ),
    Fault(
        "a loop's results in other places",
        "looped_step:looped",
        "(first, *kept)",
        "(first, *reversed(kept))",
        "test_blocks_of_two_sizes_are_xla_s",
    ),
    Fault(
        "a loop dithered as if it began a unit later",
        "looped_step:_traced",
        "*[jnp.zeros((), jnp.uint32)] * (rank - 1), start",
        "*[jnp.zeros((), jnp.uint32)] * (rank - 1), start + jnp.uint32(64)",
        "test_beside_xla_s_compiled_step[pair()]",
    ),
    Fault(
        "a loop in an exported program",
        "cpu.primitive:_lowered",
        "not exported",
        "True",
        "test_an_exported_step_calls_nothing_that_another_process_does_not_know",
    ),
    Fault(
        "a rule that reads the leaf's size made a loop",
        "_is_for",
        "unstored is None",
        "True",
        "test_a_rule_of_ones_own_that_reads_the_leaf_s_size_is_no_loop[its size-shape0]",
    ),
]
