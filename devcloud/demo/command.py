# SPDX-License-Identifier: Apache-2.0
"""``python -m devcloud demo``: a cloud, the scenario in it, and its end."""

import shlex

from devcloud import interrupts
from devcloud.client import Client
from devcloud.cloud import Cloud, CloudError
from devcloud.demo.generations import Generations
from devcloud.demo.scenario import Scenario
from devcloud.demo.stage import Stage, StepFailed
from devcloud.progress import Progress
from devcloud.settings import CloudSettings

SIMULATED = """\
Note: this machine's SEV host is SIMULATED. libvirtd, QEMU and OpenStack are real;
what only the processor could answer is made up. NOTHING IS ENCRYPTED here."""

REAL = "This machine has AMD SEV: the guest's memory is encrypted by the processor."


def run(cloud: Cloud, settings: CloudSettings) -> None:
    """Play the demo; leave nothing running, however it goes."""
    progress = Progress()
    note = SIMULATED if settings.host == "simulated" else REAL
    print(note, end="\n\n")
    progress.say(f"starting a cloud of its own in {cloud.layout.state}")
    try:
        cloud.start(settings, held=True, on_report=progress.report)
        progress.say("the cloud is up")
        client = Client(cloud.environment)
        stage = Stage(client, cloud.shell_environment, progress)
        print(f"  $ source {shlex.quote(str(cloud.layout.openrc))}")
        _scenario(settings)(cloud, stage).play()
    except StepFailed as exc:
        raise CloudError(_explain(cloud, exc)) from exc
    finally:
        _stop(cloud, progress)
    print()
    progress.say("all of it is so, and nothing is left running")
    print(note)


def _scenario(settings: CloudSettings) -> type[Scenario]:
    """The steps that this host can show."""
    return Generations if settings.nodes[0].sev_snp else Scenario


def _stop(cloud: Cloud, progress: Progress) -> None:
    # Stopping takes a moment and must be done: a second Ctrl-C changes nothing.
    interrupts.ignore()
    print()
    progress.say("stopping the cloud")
    cloud.stop()


def _explain(cloud: Cloud, failure: StepFailed) -> str:
    """Which step, why, what Nova said last, and where to read on."""
    log = cloud.layout.log("nova")
    errors = [line for line in log.read_text().splitlines() if " ERROR " in line]
    said = "\n".join(f"  {line[:300]}" for line in errors[-5:])
    return (
        f"{failure}\n"
        + (f"The last errors in {log}:\n{said}\n" if said else "")
        + f"All logs: {cloud.layout.logs}"
    )
