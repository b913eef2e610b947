# SPDX-License-Identifier: Apache-2.0
"""A Placement of its own with many hosts, asked for allocation candidates.

``python -m benchmarks.placement_service DATABASE TREE HOSTS``: TREE the providers of
one host, in JSON. Then each line of its input is a query, and each of its output
says how long the answer took, in seconds, and how many candidates it had.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any

import placement.conf
import webob
from oslo_config import cfg
from placement import db_api, deploy
from placement.db.sqlalchemy import models

VERSION = "placement 1.36"


def application(database: str) -> Any:
    """Placement's own application, with the database made."""
    config = cfg.ConfigOpts()
    placement.conf.register_opts(config)
    config.set_override("auth_strategy", "noauth2", group="api")
    group = "placement_database"
    config.set_override("connection", f"sqlite:///{database}", group=group)
    config.set_override("sync_on_startup", True, group=group)
    config([], project="placement", default_config_files=[])
    return deploy.loadapp(config)


def fill(tree: list[dict[str, Any]], hosts: int) -> None:
    """Put that many hosts into Placement's database, each like the tree."""
    with db_api.placement_context_manager.writer.using(db_api.DbContext()) as session:
        classes = {row.name: row.id for row in session.query(models.ResourceClass)}
        traits = {row.name: row.id for row in session.query(models.Trait)}
        for name in sorted({t for provider in tree for t in provider["traits"]}):
            if name not in traits:
                row = models.Trait(name=name)
                session.add(row)
                session.flush()
                traits[name] = row.id
        rows = _rows(tree, hosts, classes, traits)
        for model, values in rows.items():
            session.bulk_insert_mappings(model, values)


def _rows(
    tree: list[dict[str, Any]],
    hosts: int,
    classes: dict[str, int],
    traits: dict[str, int],
) -> dict[Any, list[dict[str, Any]]]:
    providers, inventories, held = [], [], []
    number = 0
    for host in range(hosts):
        ids: dict[str, int] = {}
        for provider in tree:
            number += 1
            ids[provider["name"]] = number
            parent = ids.get(provider["parent"] or "")
            providers.append(
                {
                    "id": number,
                    "uuid": str(uuid.uuid4()),
                    "name": f"{host}-{provider['name']}",
                    "root_provider_id": ids[tree[0]["name"]],
                    "parent_provider_id": parent,
                }
            )
            inventories += [
                {
                    "resource_provider_id": number,
                    "resource_class_id": classes[name],
                    **values,
                }
                for name, values in provider["inventory"].items()
            ]
            held += [
                {"resource_provider_id": number, "trait_id": traits[name]}
                for name in provider["traits"]
            ]
    return {
        models.ResourceProvider: providers,
        models.Inventory: inventories,
        models.ResourceProviderTrait: held,
    }


def ask(service: Any, query: str) -> tuple[float, int]:
    """Seconds, and how many candidates there are."""
    request = webob.Request.blank(f"/allocation_candidates?{query}")
    request.headers["x-auth-token"] = "admin"
    request.headers["openstack-api-version"] = VERSION
    before = time.perf_counter()
    answer = request.get_response(service)
    seconds = time.perf_counter() - before
    if answer.status_code != 200:
        raise RuntimeError(f"Placement: {answer.status}: {answer.text}")
    return seconds, len(answer.json["allocation_requests"])


def main(database: str, tree: str, hosts: str) -> None:
    service = application(database)
    fill(json.loads(tree), int(hosts))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(ask(service, line.strip())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
