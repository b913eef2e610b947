# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings."""

import html
import importlib.metadata
import pathlib
import re
import sys

from docutils import nodes
from reno.config import Config

HERE = pathlib.Path(__file__).resolve().parent
# The manual's own extensions, and the driver, whose code reckons its tables.
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

project = "sev_driver"
copyright = "sev_driver contributors"
release = version = importlib.metadata.version("sev_driver")
extensions = [
    "matplotlib.sphinxext.plot_directive",
    "doctor_screen",
    "oslo_config.sphinxext",
    "computed",
    "reno.sphinxext",
]
master_doc = "index"
# Quotes only: in the man pages, --option must not become a dash.
smartquotes_action = "q"
# Most blocks without a language are messages and tables: no language is theirs.
highlight_language = "none"

plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False

html_theme = "alabaster"
html_title = "sev_driver"
html_static_path = ["_static"]
html_css_files = ["sev_driver.css"]
html_show_sourcelink = False
html_theme_options = {
    "description": "OpenStack Nova guests with memory encrypted by AMD SEV. "
    f"Version {version}",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "250px",
    "sidebar_collapse": True,
    "font_family": "'DejaVu Sans', Verdana, sans-serif",
    "head_font_family": "'DejaVu Sans', Verdana, sans-serif",
    "font_size": "15px",
    "link": "#0b5394",
    "pre_bg": "#f5f5f2",
    "show_powered_by": False,
}

man_pages = [
    (
        "man/sev-capabilities",
        "sev-capabilities",
        "what sev_driver would detect on another host",
        "",
        1,
    ),
    (
        "man/sev-doctor",
        "sev-doctor",
        "find out why encrypted guests do not run, and what to do",
        "",
        1,
    ),
    (
        "man/sev-driver-link",
        "sev-driver-link",
        "make sev_driver loadable for nova-compute",
        "",
        1,
    ),
    (
        "man/sev-owner",
        "sev-owner",
        "launch digests and inputs of SEV-SNP guests, for their owner",
        "",
        1,
    ),
]


def link_pages(app, path, docname, content):
    """Make links of the pages that README.rst names as files."""
    content[0] = re.sub(r"``doc/source/([\w/-]+)\.rst``", r":doc:`/\1`", content[0])


def name_first_release(app, doctree):
    """Give the notes the title of reno's configuration if the clone has no tag.

    reno then calls the version 0.0.0, and uses its title only for later commits.
    """
    unreleased = Config(str(HERE.parents[1])).unreleased_version_title
    for title in doctree.findall(nodes.title):
        if title.astext() == "0.0.0":
            title.children = [nodes.Text(unreleased)]


def break_long_names(app, doctree, docname):
    """Let a browser break long names, such as of tests, between their words.

    In the narrow columns of tables, names of options and keys are long, too.
    """
    if app.builder.format != "html":
        return
    in_tables = {id(n) for e in doctree.findall(nodes.entry) for n in e.findall()}
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        limit = 12 if id(literal) in in_tables else 40
        if len(name) > limit and " " not in name:
            breakable = re.sub(r"(?<=[/:_.=])(?=[^/:_.=])", "<wbr>", html.escape(name))
            code = f'<code class="docutils literal notranslate">{breakable}</code>'
            literal.replace_self(nodes.raw("", code, format="html"))


def setup(app):
    """Connect what is changed while the manual is built."""
    app.connect("include-read", link_pages)
    app.connect("doctree-read", name_first_release)
    app.connect("doctree-resolved", break_long_names)
