"""Configure Sphinx; `python -m sphinx -W --keep-going docs docs/_build/html` builds the site."""

import importlib.util
import os
import pathlib
import sys

DOCS = pathlib.Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import adam_optax  # noqa: E402

project = "adam_optax"
author = "the authors of adam_optax"
project_copyright = author
# What the version switcher calls this build: `latest` on the branch main, else the release.
release = version = os.environ.get("DOCS_VERSION") or adam_optax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "docs._reference.extension",
]
exclude_patterns = ["_build", "_reference", "_static", "_templates", "**/README.md"]
templates_path = ["_templates"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

# A site that is read without a network, and tracks nobody: MathJax is a file of the site.
html_static_path = ["_static"]
html_css_files = ["site.css"]
_mathjax = importlib.util.find_spec("mathjax")  # of the package django-static-mathjax; no Django
if _mathjax is None or _mathjax.origin is None:
    raise ImportError("MathJax is not installed: pip install 'adam-optax[docs]'")
html_static_path.append(str(pathlib.Path(_mathjax.origin).parent / "static/mathjax/es5/tex-svg.js"))
mathjax_path = "tex-svg.js"
mathjax3_config = {"svg": {"fontCache": "global"}, "options": {"enableMenu": False}}

# The code of pages and notebooks is run by the tests; the site shows what is committed.
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show how it is drawn"  # only drawing is folded away
nb_code_prompt_hide = "Hide how it is drawn"
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False


# Names of our own must lead somewhere; types of other projects, and private ones, are only named.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(?!adam_optax\.).*")]

python_maximum_signature_line_length = 88
python_display_short_literal_types = True
toc_object_entries = False
add_module_names = False
pygments_style = "friendly"

# The sections of the site by folder, in order, with pages that belong to them and lie elsewhere.
# The order within a section is that of the links on its own page; a page without a link comes last.
site_sections = {
    "start": "",
    "choose": "",
    "move": "",
    "how_to": "errors",
    "learn": "questions",
    "notebooks": "",
    "reference": "",
    "measured": "attacked",
    "develop": "cpu_loops",
}

html_theme = "sphinx_book_theme"
html_title = f"adam_optax {release}"
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "text": html_title,
    },
    # No host is fixed: the file lies beside each version's own pages (docs/versions.py).
    "switcher": {"json_url": "_static/switcher.json", "version_match": release},
    "check_switcher": False,  # the build itself makes the file
    "show_version_warning_banner": True,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # one search field, beside the contents, is enough
    "collapse_navbar": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "search_bar_text": "Search: adamw, bfloat16, checkpoint ...",
    "pygments_light_style": "friendly",
    "pygments_dark_style": "monokai",
}
html_sidebars = {
    "**": [
        "navbar-logo.html",
        "version-switcher.html",
        "search-button-field.html",
        "sbt-sidebar-nav.html",
    ]
}
html_context = {"default_mode": "auto"}
html_favicon = "_static/logo.svg"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None

# `python -m sphinx -b linkcheck docs docs/_build/links` asks other hosts for the pages that ours
# link to; the workflow `docs` does so each week.
linkcheck_timeout = 30
linkcheck_retries = 3
linkcheck_workers = 4
linkcheck_report_timeouts_as_broken = False
linkcheck_allow_unauthorized = True
linkcheck_anchors = False  # many pages make their anchors by JavaScript

# Links into other projects need their inventories: only where there is a network, and asked for.
if os.environ.get("DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "optax": ("https://optax.readthedocs.io/en/latest", None),
        "flax": ("https://flax.readthedocs.io/en/latest", None),
    }
