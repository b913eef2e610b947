# SPDX-License-Identifier: Apache-2.0
"""Run one service: ``python -m devcloud.services NAME STATE --listen --report``.

The options are the numbers of file descriptors that init leaves open for it.
"""

import argparse
import gc
import importlib
import os
import socket
import sys
import traceback

from devcloud.endpoints import Ports
from devcloud.layout import Layout
from devcloud.reports import Reporter
from devcloud.services import Service
from devcloud.settings import CloudSettings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("state")
    parser.add_argument("--listen", type=int, action="append", required=True)
    parser.add_argument("--report", type=int, required=True)
    args = parser.parse_args()
    # What a service imports stays: to look at it again and again takes a seventh of
    # its start.
    gc.set_threshold(20_000, 20, 20)
    # Some of the services read our arguments as theirs.
    sys.argv = [args.name]
    os.set_inheritable(args.report, False)
    layout = Layout(args.state)
    service = Service(
        settings=CloudSettings.read(layout.settings),
        layout=layout,
        ports=Ports.read(layout.ports),
        listeners=[socket.socket(fileno=number) for number in args.listen],
        report=Reporter(args.report, args.name),
    )
    try:
        importlib.import_module(f"devcloud.services.{args.name}").run(service)
    except SystemExit as exc:
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    # At once: threads of a service that has half started would keep it.
    sys.stderr.flush()
    os._exit(1)


main()
