"""How Sphinx builds these pages: ``python -m sphinx -E -W -b html docs …``."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "Flask-Logout"
author = "The Flask-Logout authors"
project_copyright = author
version = release = version_of(project)

extensions = ["sphinx.ext.autodoc", "pallets_sphinx_themes"]
exclude_patterns = ["_build"]
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 72

html_theme = "flask"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["localtoc.html", "relations.html", "searchbox.html"]}
html_static_path = ["_static"]
html_css_files = ["flask-logout.css"]
