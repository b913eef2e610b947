# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings."""

import importlib.metadata
import pathlib
import re
import sys

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
        "what sev_driver would conclude of a host that is far away",
        "",
        1,
    ),
    (
        "man/sev-doctor",
        "sev-doctor",
        "what keeps encrypted guests from running, and how to mend it",
        "",
        1,
    ),
    (
        "man/sev-driver-link",
        "sev-driver-link",
        "have nova-compute find sev_driver",
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


def setup(app):
    """Have the included README.rst link to this manual."""
    app.connect("include-read", link_pages)
