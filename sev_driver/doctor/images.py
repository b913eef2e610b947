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

"""Images that ask for encryption: could any guest of them boot?"""

from __future__ import annotations

from collections.abc import Iterator

from sev_driver import asked
from sev_driver.doctor.cloud_facts import Cloud, Image, Unread
from sev_driver.doctor.finding import Finding, Verdict
from sev_driver.doctor.pairing import SILENT, asks, violations
from sev_driver.doctor.subject import Subject

READS = "the images' properties, of the image API"


def check(cloud: Cloud) -> Iterator[Finding]:
    """Yield what is to be said of the images; nothing of those that do not ask."""
    if isinstance(cloud.images, Unread):
        yield Subject("image", "images", READS).unread(cloud.images)
        return
    for image in cloud.images:
        yield from _judge(image, cloud)


def _judge(image: Image, cloud: Cloud) -> Iterator[Finding]:
    subject = Subject("image", image.name or image.id, READS)
    request, found = violations(SILENT, image.asked, cloud.nova)
    if request is None:
        yield from _half_asking(image, subject)
        return
    told = asks(request)
    if found:
        yield from subject.violated(found, told)
        return
    lacking = subject.not_offered(request, cloud, told)
    yield from lacking or [subject.finding("fits", Verdict.PASS, told)]


def _half_asking(image: Image, subject: Subject) -> Iterator[Finding]:
    """It looks as if it asked, and its guests run in the clear."""
    named = image.properties.get("hw_mem_encryption_model")
    if named is None or asked.is_true(image.properties.get(asked.IMAGE_KEY)):
        return
    yield subject.finding(
        "half",
        Verdict.WARN,
        f"has hw_mem_encryption_model={named}, but does not ask for encryption: its "
        f"guests run in the clear unless their flavor asks",
        f"set {asked.IMAGE_KEY}=true as well, or unset it",
    )
