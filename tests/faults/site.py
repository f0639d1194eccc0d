"""List faults of the site: what its gates are for."""

from tests.faults.anchor import Fault

FAULTS = [
    Fault(
        "a table of clusters that a hand has changed",
        "docs/measured/clusters.md",
        "Of 1,920 steps ",
        "Of 1,920 steps all ",
        "test_the_page_has_the_table_of_the_file",
    ),
    Fault(
        "ZeRO-1 compiled with whole moments",
        "benchmarks/cluster_cells.py",
        "{ZERO: BOTH, ZERO_WHOLE: FSDP}",
        "{ZERO: BOTH}",
        "test_zero_1_spreads_the_moments_over_all_chips[ZeRO-1]",
    ),
    Fault(
        "a killed run's half line taken for a whole one",
        "benchmarks/cluster_results.py",
        'if lines and not lines[-1].endswith("\\n"):',
        "if not lines:",
        "test_a_run_goes_on_where_it_was_killed",
    ),
    Fault(
        "a page with a link that leads nowhere",
        "docs/choose/index.md",
        "(../learn/comparing.md)",
        "(../learn/compare.md)",
        "test_links_lead_somewhere",
    ),
    Fault(
        "a page with a misspelt word",
        "docs/choose/index.md",
        "The four are independent",
        "The four are independant",
        "test_words_are_spelt_right",
    ),
    Fault(
        "a docstring with an American word",
        "adam_optax/_wrappers/citation.py",
        "Return BibTeX of the papers that an optimiser is made of",
        "Return BibTeX of the papers that characterize an optimiser",
        "test_words_are_spelt_right",
    ),
    Fault(
        "a public module without pages",
        "docs/_reference/inventory.py",
        '    "rows",\n',
        "",
        "test_every_public_name_has_a_page",
    ),
    Fault(
        "a block of a page that raises",
        "docs/index.md",
        ".per_parameter < 8",
        ".per_parameter < 1",
        "test_code_runs[index]",
    ),
    Fault(
        "a feature that no guide names",
        "docs/move/index.md",
        "`conventions.PAPER`, ",
        "",
        "test_every_feature_is_in_a_guide",
    ),
    Fault(
        "an address with one slash",
        "docs/start/install.md",
        "https://docs.jax.dev",
        "https:/docs.jax.dev",
        "test_addresses_are_well_formed",
    ),
    Fault(
        "a paper with the number of another",
        "docs/learn/adabelief.md",
        "arxiv.org/abs/1308.0850",
        "arxiv.org/abs/1308.0851",
        "test_a_paper_has_one_identifier",
    ),
    Fault(
        "the oldest release as the stable one",
        "docs/versions.py",
        "key=_key, reverse=True",
        "key=_key",
        "test_the_newest_release_is_stable_and_all_know_all",
    ),
]
