# SPDX-License-Identifier: Apache-2.0
"""Neutron, or a stand-in, as much of it as guests without a network need.

Nova asks the stand-in for security groups and for a server's ports even then. It
gets empty lists. Of a server whose request names no network, as in API 2.1, it asks
for the project's quota of ports: there is no limit.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from devcloud.services import Service, neutron_api, web


def run(service: Service) -> None:
    if service.settings.network:
        neutron_api.run(service)
        return
    web.serve(service, Network(service.ports.url("neutron")), threads=2)


class Network:
    """A network service in which there is nothing."""

    def __init__(self, url: str) -> None:
        self.versions = {
            "versions": [
                {
                    "id": "v2.0",
                    "status": "CURRENT",
                    "links": [{"rel": "self", "href": f"{url}/v2.0/"}],
                }
            ]
        }

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        status, body = self.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    def answer(self, method: str, path: str) -> tuple[str, Any]:
        parts = path.strip("/").split("/")
        if method == "GET" and parts == [""]:
            return "200 OK", self.versions
        if method == "GET" and parts[0] == "v2.0" and len(parts) == 2:
            return "200 OK", {parts[1].removesuffix(".json").replace("-", "_"): []}
        if method == "GET" and parts[:2] == ["v2.0", "quotas"] and len(parts) == 3:
            return "200 OK", {"quota": {}}
        return "404 Not Found", {
            "NeutronError": {
                "type": "NotFound",
                "message": f"{method} {path}: this cloud has no networks",
                "detail": "",
            }
        }
