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
"""archive: what is packed is unpacked, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sev_driver.doctor import archive
from sev_driver.doctor.archive import Failure, MalformedArchive

ANSWERS = st.dictionaries(
    st.text(min_size=1, max_size=40).filter(
        lambda name: name != archive.MANIFEST and "\0" not in name
    ),
    st.binary(max_size=200)
    | st.builds(Failure, st.text(max_size=20), st.none() | st.integers(0, 133)),
    max_size=8,
)


@given(data=st.binary(max_size=400))
def test_any_bytes_are_an_archive_or_our_own_error(data: bytes) -> None:
    with pytest.raises(MalformedArchive):
        archive.unpack(data)
