"""List faults around the optimiser: converters, watching, rows, compiling ahead of time."""

from tests.faults.anchor import Fault

FAULTS = [
    Fault(
        "mu and nu swapped on the way from PyTorch",
        "_ADAM",
        '{"exp_avg": "mu", "exp_avg_sq": "nu"}',
        '{"exp_avg": "nu", "exp_avg_sq": "mu"}',
        "test_moments_and_step_arrive_with_our_axes[named]",
    ),
    Fault(
        "axes permuted by the inverse",
        "ParamMapping.to_ours",
        "self._permute(x, self.axes)",
        "self.to_theirs(x)",
        "test_convolutions_and_groups_and_names_as_indices",
    ),
    Fault(
        "a schedule's count left behind",
        "_map_state.replace",
        "node._replace(count=new_count(node.count), **rest)",
        "node._replace(**rest)",
        "test_all_moments_and_counts_survive_a_round_trip[schedules]",
    ),
    Fault(
        "watched gradients are lost",
        "_Layers.grads_after",
        "jnp.where(one, g, jnp.zeros_like(g))",
        "jnp.where(one, jnp.zeros_like(g), g)",
        "test_the_updates_and_the_state_are_those_of_what_is_watched",
    ),
    Fault(
        "watched moments not corrected for their bias",
        "_with_readings",
        "with_moment(x, name, moment, moments[name], scalars)",
        "x._replace(current=x.current | {name: moments[name]}, hat=x.hat | {name: moments[name]})",
        "test_a_record_is_what_float64_says[ours]",
    ),
    Fault(
        "eps rules where it does not",
        "sampled_metrics",
        "2 * view.root_nu",
        "view.root_nu",
        "test_a_record_is_what_float64_says[ours]",
    ),
    Fault(
        "every record in the same place",
        "append_record",
        "state.count // every % len(state.steps)",
        "state.count // every * 0",
        "test_a_record_is_what_float64_says[ours]",
    ),
    Fault(
        "1e30 counted as not finite",
        "full_metrics",
        "~jnp.isfinite(g)",
        "~(abs(g) < 1e19)",
        "test_gradients_that_are_not_finite_are_counted",
    ),
    Fault(
        "bytes on the chip counted", "_main", "not chip", "True", "test_what_is_read_off_a_module"
    ),
    Fault("undonated parameters", "compile_update", "(0, 1)", "(1,)", "test_a_function_s_model"),
    Fault(
        "rows drift a step late",
        "Drift.unit_readings",
        "count + ages.astype(np.int32)",
        "count + 1 + ages.astype(np.int32)",
        "test_a_row_after_a_gap_is_where_its_steps_would_have_led[1]",
    ),
    Fault(
        "rows stand still between gradients",
        "RowOptimizer._drift_at",
        "not self.exact or not moments",
        "True",
        "test_a_row_after_a_gap_is_where_its_steps_would_have_led[1]",
    ),
    Fault(
        "rows' moments do not fade",
        "decay_over_gap",
        "x * factor.reshape(n.shape + (1,) * (x.ndim - n.ndim))",
        "x * jnp.ones_like(factor).reshape(n.shape + (1,) * (x.ndim - n.ndim))",
        "test_a_row_after_a_gap_is_where_its_steps_would_have_led[1]",
    ),
    Fault(
        "rows' decay between gradients forgotten",
        "shrink",
        "jnp.expm1(-fade)",
        "0 * fade",
        "test_rows_that_are_never_touched_decay",
    ),
    Fault(
        "too many ids read as others",
        "_ids_or_lost",
        "fits",
        "fits | True",
        "test_inside_jit_ids_that_do_not_fit_make_the_loss_nan_and_write_nothing",
    ),
]
