# SPDX-License-Identifier: Apache-2.0
"""Reads the tables that the openstack client prints for people."""


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a list command's table, by column."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def fields(table: str) -> dict[str, str]:
    """The fields of a show command's table."""
    return {row["Field"]: row["Value"] for row in rows(table)}
