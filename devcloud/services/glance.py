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
"""glance: images."""

import os
import sys

from devcloud.services import Service, forked, sqlite, web


def run(service: Service) -> None:
    etc = service.layout.etc("glance")
    sqlite.create([service.layout.database("glance")])
    sqlite.take_turns()

    from glance.cmd import manage

    def db_sync() -> object:
        sys.argv = [
            "glance-manage",
            "--config-file",
            f"{etc}/glance-api.conf",
            "db_sync",
        ]
        return manage.main()

    service.report.progress("creating the database")
    forked.run("glance-manage db_sync", db_sync)

    os.environ["OS_GLANCE_CONFIG_DIR"] = str(etc)
    from glance.wsgi.api import application

    web.serve(service, application)
