"""Sphinx's settings for the site that `make docs` builds. The pages are plain Markdown and read well without it."""

project = "edgekd"
author = "the edgekd authors"
project_copyright = "the edgekd authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# A link to a heading that does not exist is a warning, and `make docs` takes warnings for errors.
myst_heading_anchors = 3

# Docstrings: one pair of backquotes is code.
default_role = "code"
add_module_names = False
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
smartquotes = False  # they would change code in docstrings

# Nothing is fetched while reading: furo brings its own style and no fonts; the search index is a script.
html_theme = "furo"
html_title = "edgekd"
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # browsers fetch no pages from files
