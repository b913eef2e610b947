# SPDX-License-Identifier: Apache-2.0
"""The QEMU wrapper's monitor: what it answers, what it passes on."""

import array
import json
import os
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcloud.simhost.sevsim.answers import Answers
from devcloud.simhost.sevsim.command_line import CommandLine
from devcloud.simhost.sevsim.platform import Platform
from devcloud.simhost.sevsim.proxy import Proxy

SEV_OBJECT = '{"qom-type":"sev-guest","cbitpos":51,"reduced-phys-bits":1,"policy":%d}'
SNP_OBJECT = '{"qom-type":"sev-snp-guest","cbitpos":51,"policy":196608}'
NO_MIGRATION = "SEV: Migration is not implemented"


def answers(*objects, platform=None, accel="kvm"):
    options = [word for value in objects for word in ("-object", value)]
    command = CommandLine(["-S", "-accel", accel, *options])
    return Answers(platform or Platform(), command)


def ask(subject, execute, **arguments):
    return subject.to({"execute": execute, "arguments": arguments})


PLAIN = answers()
SEV = answers(SEV_OBJECT % 0x33)
SNP = answers(SNP_OBJECT)


def test_there_are_no_capabilities_without_the_device():
    subject = answers(platform=Platform(device="/nonexistent"))
    reply = ask(subject, "query-sev-capabilities")
    assert "Failed to open /dev/sev 'No such file" in reply["error"]["desc"]


def test_capabilities_are_the_platforms():
    platform = Platform(cbitpos=47, reduced_phys_bits=5)
    reply = ask(answers(platform=platform), "query-sev-capabilities")["return"]
    assert (reply["cbitpos"], reply["reduced-phys-bits"]) == (47, 5)


def test_capabilities_without_sev():
    reply = ask(answers(platform=Platform(sev=False)), "query-sev-capabilities")
    assert reply["error"]["desc"] == "SEV is not enabled in KVM"


@pytest.mark.parametrize(
    ("subject", "execute", "reply"),
    [
        (PLAIN, "query-kvm", {"enabled": True, "present": True}),
        (
            PLAIN,
            "query-accelerators",
            {"enabled": "kvm", "present": ["kvm", "tcg"]},
        ),
        (answers(accel="tcg"), "query-kvm", None),
        (PLAIN, "query-sev", None),
        (PLAIN, "query-migrate", None),
        (PLAIN, "migrate", None),
        (SEV, "query-status", None),
        (SEV, "query-migrate", {"blocked-reasons": [NO_MIGRATION]}),
        (SEV, "query-sev-launch-measure", {"data": "A" * 64}),
        (SEV, "sev-inject-launch-secret", {}),
    ],
)
def test_replies(subject, execute, reply):
    expected = None if reply is None else {"return": reply}
    assert ask(subject, execute) == expected


@pytest.mark.parametrize(
    ("subject", "execute", "message"),
    [
        (SEV, "migrate", NO_MIGRATION),
        (SEV, "snapshot-save", NO_MIGRATION),
        (SEV, "snapshot-load", NO_MIGRATION),
        (SNP, "migrate", "SEV-SNP: Migration is not implemented"),
        (SNP, "query-sev-launch-measure", "SEV launch measurement is not available"),
        (SNP, "sev-inject-launch-secret", "Not in correct state"),
    ],
)
def test_refusals(subject, execute, message):
    assert message in ask(subject, execute)["error"]["desc"]


@pytest.mark.parametrize("line", ["savevm a", "loadvm a", "migrate -d tcp:x"])
def test_human_commands_that_save_memory_are_refused(line):
    reply = ask(SEV, "human-monitor-command", **{"command-line": line})
    assert reply == {"return": f"Error: {NO_MIGRATION}\r\n"}


@pytest.mark.parametrize("line", ["info status", "", "drive_add 0 savevm"])
def test_other_human_commands_are_qemus(line):
    reply = ask(SEV, "human-monitor-command", **{"command-line": line})
    assert reply is None


def test_the_state_follows_the_guest():
    subject = answers(SEV_OBJECT % 0x33)
    info = ask(subject, "query-sev")["return"]
    assert (info["state"], info["policy"]) == ("launch-secret", 0x33)
    assert subject.to({"execute": "cont"}) is None
    assert ask(subject, "query-sev")["return"]["state"] == "running"
    assert "error" in ask(subject, "sev-inject-launch-secret")


def test_the_first_cont_ends_a_launch():
    subject, ends = answers(SNP_OBJECT), []
    subject.at_first_cont = lambda: ends.append(subject.running)
    for _ in range(2):
        assert subject.to({"execute": "cont"}) is None
    assert ends == [False]


def test_snp_reports_its_own_policy():
    info = ask(SNP, "query-sev")["return"]
    assert (info["sev-type"], info["snp-policy"]) == ("sev-snp", 0x30000)
    assert "policy" not in info


def test_the_host_cpu_model_is_asked_for_by_the_name_it_has_here():
    message = {
        "execute": "query-cpu-model-expansion",
        "arguments": {"type": "full", "model": {"name": "host"}},
    }
    assert PLAIN.to(message) is None
    assert message["arguments"]["model"]["name"] == "max"


@pytest.mark.parametrize(("policy", "becomes"), [(0x33, "reset"), (0x37, "shutdown")])
def test_libvirt_cannot_make_an_es_guest_survive_a_reset(policy, becomes):
    message = {"execute": "set-action", "arguments": {"reboot": "reset"}}
    assert answers(SEV_OBJECT % policy).to(message) is None
    assert message["arguments"]["reboot"] == becomes


class Monitor:
    """A proxy with us as both libvirt and QEMU."""

    def __init__(self, folder):
        self.libvirts, self.qemus = (
            self._listen(folder / "a"),
            self._listen(folder / "b"),
        )
        gone, self.alive = os.pipe()
        proxy = Proxy(SEV, self.libvirts, str(folder / "b"), gone)
        self.thread = threading.Thread(target=proxy.serve, daemon=True)
        self.thread.start()

    @staticmethod
    def _listen(path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        return listener

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.libvirts.getsockname())
        qemu, _ = self.qemus.accept()
        qemu.settimeout(10)
        return client, qemu


@pytest.fixture
def monitor(tmp_path):
    monitor = Monitor(tmp_path)
    yield monitor
    os.close(monitor.alive)
    monitor.thread.join(10)
    assert not monitor.thread.is_alive()


def line(connection):
    return json.loads(connection.makefile("rb").readline())


def test_the_proxy_answers_or_passes_on(monitor):
    client, qemu = monitor.connect()
    with client, qemu:
        client.sendall(b'{"execute":"query-migrate","id":"a"}\r\n')
        reply = line(client)
        assert (reply["id"], "blocked-reasons" in reply["return"]) == ("a", True)
        client.sendall(b'{"execute":"query-status","id":"b"}\r\n')
        assert line(qemu) == {"execute": "query-status", "id": "b"}


def test_an_answer_does_not_fall_into_a_message_of_qemus(monitor):
    client, qemu = monitor.connect()
    with client, qemu:
        qemu.sendall(b'{"event":"ST')
        client.sendall(b'{"execute":"query-migrate"}\n')
        reader = client.makefile("rb")
        assert "return" in json.loads(reader.readline())
        qemu.sendall(b'OP"}\r\n')
        assert json.loads(reader.readline()) == {"event": "STOP"}


def test_file_descriptors_are_handed_on(monitor):
    client, qemu = monitor.connect()
    with client, qemu, open(os.devnull) as file:
        message = b'{"execute":"getfd","arguments":{"fdname":"x"}}\n'
        socket.send_fds(client, [message], [file.fileno()])
        data, fds, _, _ = socket.recv_fds(qemu, 4096, 4)
        assert json.loads(data)["execute"] == "getfd"
        assert len(array.array("i", fds)) == 1
        os.close(fds[0])


def test_a_new_libvirtd_finds_the_guest(monitor):
    for _ in range(2):
        client, qemu = monitor.connect()
        with qemu:
            qemu.sendall(b'{"QMP": {}}\r\n')
            assert line(client) == {"QMP": {}}
            client.close()
            assert qemu.recv(1) == b""


def test_the_last_words_of_a_qemu_get_through(monitor):
    client, qemu = monitor.connect()
    with client:
        with qemu:
            qemu.sendall(b'{"event":"SHUTDOWN"}\r\n')
        assert line(client) == {"event": "SHUTDOWN"}
        assert client.recv(1) == b""


@given(st.dictionaries(st.text(), st.none() | st.text() | st.integers()))
def test_any_other_command_is_passed_on_as_it_came(arguments):
    message = {"execute": "object-add", "arguments": arguments}
    assert SEV.to(message) is None
    assert message == {"execute": "object-add", "arguments": arguments}
