"""List faults of the site: what its gates are for."""

from tests.faults.anchor import Fault

FAULTS = [
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
