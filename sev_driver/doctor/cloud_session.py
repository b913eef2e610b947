#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""A cloud's API, asked by openstacksdk with its user's credentials."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from sev_driver.doctor.cloud_facts import Unread, nova_releases

#: Seconds for one answer.
TIMEOUT = 60

Part = TypeVar("Part")

#: What Placement begins each refusal with.
_PREAMBLE = (
    "The server could not comply with the request since it is either malformed or "
    "otherwise incorrect."
)


class Unreachable(Exception):
    """There is no cloud to ask: no library, no credentials, or nobody answers."""


class CloudSession:
    """The APIs of one cloud.

    :param cloud: a name in clouds.yaml; None: OS_CLOUD's, or that of OS_* variables.
    :raises Unreachable: it cannot be asked at all.
    """

    def __init__(self, cloud: str | None) -> None:
        try:
            import openstack
            from keystoneauth1.exceptions import ClientException
            from openstack.exceptions import SDKException
        except ImportError:
            raise Unreachable(
                "the cloud is asked by openstacksdk, and that is not installed here: "
                "pip install openstacksdk"
            ) from None
        self._errors = (ClientException, SDKException)
        # It warns of its own use of itself.
        warnings.filterwarnings("ignore", module="openstack")
        try:
            self._connection = openstack.connect(
                cloud=cloud, app_name="sev-doctor", api_timeout=TIMEOUT
            )
            self._connection.authorize()
        except self._errors as error:
            raise Unreachable(
                f"the cloud cannot be asked: {_words(error)}: name one of clouds.yaml "
                f"by --os-cloud, or set the OS_* variables"
            ) from error

    def releases(self) -> tuple[int, ...]:
        """Return the Nova releases that the compute API may be of.

        :raises Unreachable: there is no compute API that answers.
        """
        try:
            data = self._connection.compute.get_endpoint_data()
        except self._errors as error:
            told = f"the compute API cannot be asked: {_words(error)}"
            raise Unreachable(told) from error
        if data is None or not data.max_microversion:
            raise Unreachable("the compute API does not tell its version")
        return nova_releases(int(data.max_microversion[1]))

    def get(
        self, service: str, path: str, version: str | None = None, **query: Any
    ) -> dict[str, Any] | None:
        """Return an answer; None where there is no such thing.

        :param version: the microversion to ask with.
        """
        from openstack.exceptions import raise_from_response

        adapter = getattr(self._connection, service)
        answer = adapter.get(path, params=query, microversion=version)
        if answer.status_code == 404:
            return None
        raise_from_response(answer)
        body: dict[str, Any] = answer.json()
        return body

    def part(self, title: str, read: Callable[[], Part]) -> Part | Unread:
        """Return what ``read`` does, or why it cannot."""
        try:
            return read()
        except self._errors as error:
            status = getattr(error, "status_code", getattr(error, "http_status", None))
            if status in (401, 403):
                return Unread(
                    f"{title} cannot be read with these credentials (HTTP {status}): "
                    f"that takes an administrator's",
                    refused=True,
                )
            if status == 400:
                return Unread(
                    f"{title} refuses what it is asked: {_words(error)}",
                    remedy="Nova asks the same: mend the trait and resources keys",
                )
            return Unread(f"{title} cannot be read: {_words(error)}")


def _words(error: Exception) -> str:
    """Return what an error says, without the stop; of a service's, its own words."""
    response: Any = getattr(error, "response", None)
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
        # As the API working group has it, and Placement does.
        detail = str(response.json()["errors"][0]["detail"])
        return " ".join(detail.split()).removeprefix(_PREAMBLE).strip(". ")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")
