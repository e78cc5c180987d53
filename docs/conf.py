"""Build the documentation site: `python3 dev.py docs` runs Sphinx with this file."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from pathlib import Path

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parent.parent

project = "rkernel"
author = "rkernel's contributors"
copyright = author
version = release = version_of("rkernel")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # as on GitHub, and links to them are checked
nitpick_ignore = [("py:class", "Any")]  # Python's own documentation is not fetched
autodoc_typehints = "description"

html_theme = "furo"
html_title = "rkernel"
html_show_sourcelink = False

# These pages lie at the root, where GitHub looks for them. The site includes them.
_AT_THE_ROOT = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh-cn.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(?<=\]\()(?:\.\./|docs/)?([\w.-]+)(?=[)#])")
_PATH = re.compile(r"(?:rkernel_launcher|board_agent|kernelspecs|tests|benchmarks|docs)/[\w./-]*")

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Connect what follows to Sphinx."""
    app.connect("source-read", lambda app, docname, source: _resolve_links(source))
    app.connect("include-read", lambda app, path, docname, source: _resolve_links(source))
    app.connect("doctree-read", lambda app, doctree: _check_paths(doctree))
    app.connect("sphinx-click-process-options", _restore_metavars)


def _resolve_links(source: list[str]) -> None:
    """Turn links between the root and docs/ into links within the site."""
    source[0] = _LINK.sub(lambda match: _AT_THE_ROOT.get(match[1], match[1]), source[0])


def _check_paths(doctree: nodes.document) -> None:
    """Warn of each path in the text to which the repository has no file."""
    for literal in doctree.findall(nodes.literal):
        text = literal.astext()
        if _PATH.fullmatch(text) and not (ROOT / text).exists():
            log.warning("%s does not exist", text, location=literal)


def _restore_metavars(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Put back the brackets that sphinx-click cuts off a value such as [USER@]HOST[:PORT]."""
    for metavar in filter(None, (parameter.metavar for parameter in context.command.params)):
        cut = metavar.strip("[]")
        lines[:] = [line.replace(f"<{cut}>", f"<{metavar}>") for line in lines]
