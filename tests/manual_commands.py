# SPDX-License-Identifier: Apache-2.0
"""Which of the manual's commands are run by a test, and why the others are not."""

#: Pages whose commands are run in their order, and what in.
#: "cloud": a one-machine cloud (tests/e2e/test_guides.py), one for all of them.
#: "two hosts": a cloud with two (the same file).
#: "installation": Nova and the wheel, apart or together (tests/packaging).
SCENES = {
    "first-guest.rst": "cloud",
    "flavors-and-images.rst": "cloud",
    "host-preparation.rst": "cloud",
    "install/verify.rst": "cloud",
    "admin/slots.rst": "cloud",
    "admin/memory.rst": "cloud",
    "admin/detection.rst": "cloud",
    "admin/troubleshooting.rst": "cloud",
    "admin/doctor-cloud.rst": "cloud",
    "admin/upgrade.rst": "cloud",
    "admin/maintenance.rst": "two hosts",
    "install/virtualenv.rst": "installation",
    "install/packages.rst": "installation",
    "install/remove.rst": "installation",
}

TEMPEST = (
    "Tempest takes minutes and is installed from an index; make tempest makes the same "
    "flavors, images and tempest.conf on a cloud with two hosts"
)

OWNER = (
    "it needs a guest with SEV-SNP, and files of its owner; "
    "tests/unit/cmd/test_owner.py runs sev-owner with the same options"
)

LAUNCH_INPUTS = (
    "it needs a guest with SEV-SNP; tests/functional/test_launch_inputs.py::"
    "test_user_data creates such a server"
)

HARDWARE = "what it shows is a real processor's, its firmware's and its kernel's"

OWNERS_GUEST = "tests/e2e/test_guest_owner.py has a guest, and takes its report"

SIMULATED = (
    "it looks at the host that it runs on: tests/e2e/test_broken_hosts.py runs it on "
    "simulated ones, doc/doctor_screen.py on recorded ones for the manual, and "
    "tests/unit/cmd/test_doctor.py::test_a_save_is_read_alike_elsewhere on this one"
)

WORKSTATION = (
    "it fetches what it installs; tests/unit/cmd/test_output.py takes each module away "
    "and holds the list of them"
)

EVACUATION = (
    "it takes a host that is gone; tests/functional/test_encryption_record.py "
    "evacuates such a server"
)

CINDER = "it takes a cloud with Cinder, as tests/volumes/test_volumes.py has it"
NEUTRON = "it takes a cloud with Neutron, as tests/network/test_ports.py has it"

#: Commands that are not run as they are written, and why.
NOT_RUN = {
    "python3 -m venv owner": WORKSTATION,
    (
        "owner/bin/pip install lxml os-traits oslo.config openstacksdk "
        "sev-snp-measure cryptography"
    ): WORKSTATION,
    "owner/bin/pip install --no-deps sev_driver-*.whl": WORKSTATION,
    "openstack server show db -c properties": OWNER,
    "sev-owner expect --firmware OVMF.fd --vcpus 2 --cpu EPYC-v4": OWNER,
    (
        "sev-owner expect --firmware OVMF.fd --vcpus 2 --cpu EPYC-v4 -f value > digest"
    ): OWNER,
    "sev-owner show db --firmware OVMF.fd --vcpus 2 --cpu EPYC-v4": OWNER,
    "sev-owner inputs --user-data init.yaml --policy 0x30000 > inputs.txt": OWNER,
    "openssl ecparam -name secp384r1 -genkey -noout -out id.pem": OWNER,
    (
        "sev-owner inputs --digest $(cat digest) --id-key id.pem "
        "--user-data init.yaml > inputs.txt"
    ): OWNER,
    (
        "openstack server create db --flavor m1.snp --image db --user-data init.yaml "
        "$(cat inputs.txt)"
    ): OWNER,
    (
        "openstack server create db --flavor m1.snp --image db --user-data init.yaml "
        "--property sev:host_data=user_data --property sev:policy=0x30000"
    ): LAUNCH_INPUTS,
    "snpguest report report.bin nonce.bin": HARDWARE,
    "snpguest fetch ca pem certs milan": HARDWARE,
    "snpguest fetch vcek pem certs report.bin": HARDWARE,
    "snpguest verify certs certs": HARDWARE,
    "snpguest verify attestation certs report.bin": HARDWARE,
    (
        "check -in report.bin -product Milan -product_key_path cert_chain "
        "-guest_policy 0x30000 -measurement $(cat digest) "
        "-host_data $(sha256sum init.yaml | cut -c1-64) "
        "-report_data $(xxd -p -c 64 nonce.bin)"
    ): HARDWARE,
    (
        "openstack image set db --property trait:CUSTOM_SEV_FIRMWARE_"
        "$(sha256sum OVMF.fd | cut -c1-12 | tr a-f A-F)=required"
    ): "tests/functional/test_firmware_trait.py has images with the trait",
    "openssl rand -out nonce.bin 64": OWNERS_GUEST,
    (
        "sudo .venv/bin/python -m devcloud report SERVER "
        "--nonce $(xxd -p -c 64 nonce.bin)"
    ): OWNERS_GUEST,
    "sudo sev-doctor": SIMULATED,
    "sudo sev-doctor --model amd-sev-snp --verbose": SIMULATED,
    "python3 -m venv sev-tools": WORKSTATION,
    "sev-tools/bin/pip install lxml os-traits oslo.config openstacksdk": WORKSTATION,
    "sev-tools/bin/pip install --no-deps sev_driver-*.whl": WORKSTATION,
    "sev-tools/bin/sev-doctor --version": WORKSTATION,
    "sudo sev-doctor --save host.json.gz": SIMULATED,
    "sev-doctor --from host.json.gz": SIMULATED,
    "make cloud": (
        "tests/e2e/test_guides.py starts the same cloud by devcloud.testing"
    ),
    "make cloud VOLUMES=cinder": CINDER,
    "make cloud NETWORK=neutron": NEUTRON,
    "openstack network create net": NEUTRON,
    "openstack subnet create addresses --network net "
    "--subnet-range 192.0.2.0/24": NEUTRON,
    "openstack server create ... --network net first": NEUTRON,
    "sudo .cloud/lib/open-vswitch/bin/ovs-vsctl show": NEUTRON,
    "openstack volume create data --size 1 --type nfs1": CINDER,
    "openstack server add volume first data": CINDER,
    "openstack volume set data --type nfs2 --retype-policy on-demand": CINDER,
    "make cloud-down": "the cloud of the tests ends with the tests",
    "python3 -m pip wheel --no-deps --wheel-dir dist .": (
        "it fetches what builds it; the fixture `wheel` of tests/packaging builds the "
        "same without"
    ),
    "rm -f dist/sev_driver-*.whl": "of an earlier build; the tests have one wheel",
    "ls dist": "lists what the command above has made",
    "make demo": (
        "tests/e2e/test_demo.py::test_demo_shows_it_all_and_leaves_nothing runs the "
        "same"
    ),
    "make test": "it runs this test, too",
    "make bench REMARK=quiet": (
        "tests/e2e/test_benchmarks.py runs the same with less to do"
    ),
    "nova-manage image_property set <server> --property hw_mem_encryption=true "
    "--property hw_firmware_type=uefi --property hw_machine_type=q35": EVACUATION,
    "openstack server evacuate <server>": EVACUATION,
    "nova-manage image_property set SERVER --property "
    "hw_mem_encryption_model=amd-sev-es": (
        "it takes a server of Nova 31 after the upgrade to 32, and its own database"
    ),
    "ovs-vsctl set Open_vSwitch . other_config:vhost-iommu-support=true": (
        "the cloud of the tests has no Open vSwitch"
    ),
    "systemctl restart openvswitch-switch": "the same",
    "make acceptance": "tests/devcloud/test_acceptance.py runs it without its tests",
    "ls acceptance-*": "it shows what the line before has written",
    "sudo sev-doctor --verbose": SIMULATED,
    "zless host.json.gz": "it shows a file page by page",
    "sudo modprobe sev-guest": "in a guest on real hardware",
    "ls /dev/sev-guest": "in a guest on real hardware",
    "make deb": "tests/packaging/test_deb.py tries the package that it builds",
    "sudo apt-get install ./python3-sev-driver_*_all.deb": (
        "tests/packaging/test_deb.py installs it with dpkg beside Debian's own Nova"
    ),
    "make machine": "make test runs a part of it, tests/functional/machine",
    "make machine EXAMPLES=20 STEPS=40 SHRINK=no": "the same, with more to do",
    "openstack flavor create tempest.sev1 --ram 512 --vcpus 1 --disk 1": TEMPEST,
    "openstack flavor create tempest.sev2 --ram 768 --vcpus 1 --disk 2": TEMPEST,
    "openstack flavor set tempest.sev1 --property hw:mem_encryption=true": TEMPEST,
    "openstack flavor set tempest.sev2 --property hw:mem_encryption=true": TEMPEST,
    "python3 -m venv tempest-venv": TEMPEST,
    "tempest-venv/bin/pip install tempest": TEMPEST,
    "tempest-venv/bin/tempest init sev": TEMPEST,
    "cd sev": TEMPEST,
    "../tempest-venv/bin/tempest run --regex '^tempest\\.api\\.compute' "
    "--concurrency 1": TEMPEST,
    "openstack flavor delete tempest.sev1 tempest.sev2": TEMPEST,
    "make tempest": TEMPEST,
    "make soak": "tests/e2e/test_soak.py runs a short pass",
    "sudo dmesg | grep 'Memory Encryption Features'": "in a guest on real hardware",
    "grep . /sys/module/kvm_amd/parameters/{sev,ciphertext}*": (
        "the simulated host's are shown to Nova and libvirt alone"
    ),
    "sev-doctor --model sev": SIMULATED,
    "sev-doctor cloud --json | jq '.slots.all[] | {model, usable}'": (
        "jq is no part of the set-up"
    ),
    "node_exporter --collector.textfile.directory=/var/lib/node_exporter": (
        "another program, which stays in the foreground"
    ),
    "/opt/nova/bin/pip install prometheus_client": "it fetches from an index",
    "grep -o -w -E 'sme|sev|sev_es|sev_snp' /proc/cpuinfo | sort | uniq -c": HARDWARE,
    "sudo cpuid -1 -l 0x8000001f": HARDWARE,
    "sudo dmesg | grep -i -E 'ccp.*(sev|snp)'": HARDWARE,
    "ls -l /dev/sev": HARDWARE,
    "cat /proc/cmdline": HARDWARE,
    "sudo dmesg | grep -E 'AMD-Vi|SEV-SNP|RMP'": HARDWARE,
    "grep . /sys/module/kvm_amd/parameters/sev*": HARDWARE,
    "sudo dmesg | grep kvm_amd": HARDWARE,
    "grep -l amd-sev-snp /usr/share/qemu/firmware/*.json /etc/qemu/firmware/*.json": (
        "whether there is one differs from machine to machine"
    ),
    "sudo cpuid -1 -r -l 0x8000001f > cpuid.txt": "a real processor's answer",
    "cat /sys/fs/cgroup/misc.capacity > misc.txt": "only a host with SEV has it",
    "sudo systemctl set-property machine.slice MemoryMax=251904M": (
        "it limits all guests of the machine; the cloud's are in no machine.slice"
    ),
    "sudo systemctl set-property machine.slice MemoryMax=infinity": "the same",
    "systemctl show machine.slice -p MemoryMax -p MemoryCurrent": "the same",
    "cat /sys/fs/cgroup/machine.slice/memory.max": "the same",
    "docker build --build-arg BASE=registry.example/nova-compute:2026.2 "
    "--tag registry.example/nova-compute:2026.2-sev .": (
        "it needs a container engine and an image of Kolla's; its pip line is that of "
        "install/virtualenv.rst, which is run"
    ),
    "docker run --rm registry.example/nova-compute:2026.2-sev "
    "/var/lib/kolla/venv/bin/sev-driver-link --check": "the same",
}

#: Commands for which a test does what they would do, because a cloud in namespaces
#: has neither systemd nor a power switch.
STAND_INS = {
    "systemctl restart nova-compute": "ends it and starts it, with nova.conf as it is",
    "reboot": "cuts the host's power and gives it back",
}

#: Commands that show a refusal, and their exit status.
REFUSED = {
    "openstack server suspend first": 1,
    # On a cloud without SEV-ES.
    "sev-doctor plan --flavor m1.sev --image debian "
    "--property hw:mem_encryption_model=amd-sev-es": 1,
    "openstack server create second --flavor m1.sev --image usb --nic none --wait": 1,
    "openstack server create contradiction --flavor m1.asks --image denies "
    "--nic none": 1,
    "openstack server create nofirmware --flavor m1.asks --image bios --nic none": 1,
    "openstack server create oldpc --flavor m1.asks --image onpc --nic none": 1,
    "openstack server create elsewhere --flavor m1.plain --image bios --nic none "
    "--wait": 1,
}
