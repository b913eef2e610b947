# Everything here sets itself up first: see tools/bootstrap.py.
# The system's comes first: a distribution builds it with all optimizations, and what a
# user has compiled may be a quarter slower.
SYSTEM_PYTHON := /usr/bin/python3
PYTHON ?= $(shell $(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null && echo $(SYSTEM_PYTHON) || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# RabbitMQ and MariaDB: only for clouds with several hosts, and their tests.
MULTINODE := $(VENV)/ready-multinode
# VOLUMES=cinder adds a service for volumes. It needs what a cloud of several hosts has.
VOLUMES ?=
# NETWORK=neutron adds one for networks, which needs the same.
# VHOST_USER=yes has its switch read and write the memory of guests, which share it.
NETWORK ?=
VHOST_USER ?=
NODES ?= $(if $(VOLUMES)$(NETWORK),2,1)
CINDER := $(VENV)/ready-volumes
# Neutron's packages, and its switch.
NEUTRON := $(VENV)/ready-network $(VENV)/open-vswitch/ready
# OpenStack's test suite, in an environment of its own.
TEMPEST := $(VENV)/tempest/ready
# A libvirt and QEMU that know SEV-SNP, for hosts that have all generations.
TRIXIE := $(VENV)/rootfs/trixie/ready
# The disk of a guest with Linux.
LINUX := $(VENV)/linux-guest/ready
# A program that verifies attestation reports, for the tests of a guest's owner.
GO_SEV_GUEST := $(VENV)/go-sev-guest/ready
# HOST=split: of 15 slots, SEV-ES and SEV-SNP share 5. Here SEV-ES gets 2 of them.
HOST ?=
SPLIT := $(if $(filter split,$(HOST)),--host simulated --es-slots 5 --snp \
           --distribution trixie --nova sev.num_sev_es_guests=2 \
           --nova DEFAULT.update_resources_interval=1)
# The cloud mounts and makes namespaces, so it runs as root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# As root, leave nothing in the tree that the user cannot delete.
# sudo or su may leave /usr/sbin out of PATH.
AS_ROOT := $(SUDO) env PATH="$(CURDIR)/$(BIN):$$PATH:/usr/sbin:/sbin" \
           $(if $(SUDO),PYTHONDONTWRITEBYTECODE=1)
PYTEST := $(BIN)/python -u -m pytest $(if $(SUDO),-p no:cacheprovider)
DEVCLOUD := $(AS_ROOT) $(BIN)/python -m devcloud
PYTHON_FILES := sev_driver nova devcloud fuzz soak benchmarks tests tools doc

.DEFAULT_GOAL := help
.PHONY: help setup setup-multinode setup-trixie setup-linux setup-go-sev-guest setup-volumes setup-tempest volumes setup-network network demo cloud cloud-down cloud-status test lint unit \
        functional machine matrix packaging e2e acceptance faults fuzz soak tempest audit test-releases bench \
        sample completion deb docs clean

help:  ## show these lines
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY)  ## make .venv and install the system packages it needs

$(READY): bindep.txt constraints/nova-34.txt setup.cfg setup.py pyproject.toml \
          requirements.txt tools/bootstrap.py
	@$(PYTHON) -B tools/bootstrap.py

setup-multinode: $(MULTINODE)  ## the same for a cloud with several hosts

$(MULTINODE): $(READY) bindep.txt
	@$(PYTHON) -B tools/bootstrap.py multinode

setup-volumes: $(CINDER)  ## the same for a cloud with Cinder

$(CINDER): $(READY) setup.cfg constraints/nova-34.txt
	@$(PYTHON) -B tools/bootstrap.py volumes

setup-network: $(NEUTRON)  ## the same for a cloud with Neutron, with an unpacked Open vSwitch

$(VENV)/ready-network: $(READY) setup.cfg constraints/nova-34.txt
	@$(PYTHON) -B tools/bootstrap.py network

.PHONY: $(if $(DEBIAN_MIRROR),$(shell grep -l -s . $(VENV)/open-vswitch/ready))
$(VENV)/open-vswitch/ready: tools/open_vswitch.py tools/rootfs.py | $(READY)
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -B tools/open_vswitch.py

setup-trixie: $(TRIXIE)  ## unpack Debian 13's libvirt and QEMU, for SEV-SNP

# Its file says so where nothing was unpacked: it is made again once a mirror is named.
.PHONY: $(if $(DEBIAN_MIRROR),$(shell grep -l -s . $(TRIXIE) $(LINUX)))
$(TRIXIE): tools/rootfs.py | $(READY)
	@$(PYTHON) -B tools/rootfs.py trixie

setup-linux: $(LINUX)  ## make a disk with Linux for guests, from Debian 13's packages

$(LINUX): tools/linux_guest.py tools/rootfs.py devcloud/boot_disk.py \
          $(wildcard devcloud/linux_guest/image.py devcloud/linux_guest/root/etc/*) | $(READY)
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -B tools/linux_guest.py

setup-go-sev-guest: $(GO_SEV_GUEST)  ## build go-sev-guest's check from Debian 13's packages

.PHONY: $(if $(DEBIAN_MIRROR),$(shell grep -l -s . $(GO_SEV_GUEST)))
$(GO_SEV_GUEST): tools/go_sev_guest.py tools/rootfs.py | $(READY)
	@$(BIN)/python -B tools/go_sev_guest.py

setup-tempest: $(TEMPEST)  ## install OpenStack's Tempest, in an environment of its own

$(TEMPEST): constraints/tempest.txt constraints/nova-34.txt tools/tempest_venv.py | $(READY)
	@$(BIN)/python -B tools/tempest_venv.py

demo: $(READY) $(LINUX) $(if $(SPLIT),$(TRIXIE))  ## start a cloud, boot an encrypted guest in it, show it, stop
	@$(DEVCLOUD) demo $(SPLIT)

cloud: $(READY) $(LINUX) $(if $(filter-out 1,$(NODES)),$(MULTINODE)) $(if $(SPLIT)$(VHOST_USER),$(TRIXIE)) $(if $(VOLUMES),$(CINDER)) $(if $(NETWORK),$(NEUTRON))  ## start the same cloud and leave it running; NODES=2 HOST=split VOLUMES=cinder NETWORK=neutron
	@$(DEVCLOUD) up --nodes $(NODES) $(if $(VOLUMES),--volumes $(VOLUMES)) \
	    $(if $(NETWORK),--network $(NETWORK)) \
	    $(if $(VHOST_USER),--vhost-user $(if $(SPLIT),,--distribution trixie)) $(SPLIT)

cloud-down: $(READY)  ## stop it
	@$(DEVCLOUD) down

cloud-status: $(READY)  ## say whether it runs, and where its logs are
	@$(DEVCLOUD) status

test: lint $(MULTINODE) $(TRIXIE) $(LINUX) $(GO_SEV_GUEST)  ## all tests; in the newest Nova, some also in older ones
	@$(BIN)/python -B tools/tempest_venv.py --if-possible
	@$(BIN)/python -B tools/all_tests.py $(AS_ROOT) $(BIN)/python -u -m pytest

lint: $(READY)  ## ruff, mypy, bandit, spelling and the words of the manual
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml \
	    sev_driver nova devcloud tools fuzz soak
	$(BIN)/codespell
	$(BIN)/sphinx-lint *.rst doc/source
	$(BIN)/python tools/check_words.py
	@# What no longer can be imported shows here, and not after half an hour.
	$(BIN)/python -W ignore -m pytest -q --collect-only -p no:cacheprovider tests > $(VENV)/collected || \
	    { tail -30 $(VENV)/collected; exit 1; }

unit: $(READY)  ## the driver's core, no root needed
	$(BIN)/python -m pytest tests/unit

functional: $(READY)  ## real Nova code with our driver in it, no root needed
	$(BIN)/python -m pytest tests/functional

packaging: $(READY)  ## the wheel, the sample, the set-up; no root needed
	$(BIN)/python -m pytest tests/packaging

e2e: $(MULTINODE) $(TRIXIE) $(LINUX) $(GO_SEV_GUEST)  ## the one-machine cloud
	$(AS_ROOT) $(PYTEST) tests/e2e

acceptance: real-sev $(READY)  ## on a host with real SEV: its end-to-end tests, with a report to send
	@$(AS_ROOT) $(BIN)/python -B tools/acceptance.py $(PYTEST)

# Before anything is installed.
.PHONY: real-sev
real-sev:
	@$(AS_ROOT) $(PYTHON) -B tools/acceptance.py --check

# What else breaks there has its tests beside those of the same matter.
FAULTS := tests/faults $(addprefix tests/e2e/,test_sev_lost.py test_behind_novas_back.py \
            test_guests_of_others.py test_host_boot.py)
faults: $(MULTINODE)  ## programs of a real cloud killed, its disks filled
	$(AS_ROOT) $(PYTEST) $(FAULTS)

# INPUTS=10000 puts so many before all of them; .fuzz/ keeps what it has learnt.
INPUTS ?= 1000000
fuzz: $(READY)  ## a million hostile inputs, a share for each parser
	@$(BIN)/python -W ignore -m fuzz --inputs $(INPUTS)

# STEPS=40 makes each of the EXAMPLES longer; SHRINK=no ends with the first failure.
EXAMPLES ?= 200
STEPS ?= 25
machine: $(READY)  ## any steps in any order on three hosts, all promises checked after each
	EXAMPLES=$(EXAMPLES) STEPS=$(STEPS) SHRINK=$(or $(SHRINK),yes) \
	    $(BIN)/python -u -m pytest -W ignore tests/functional/machine

# RELEASES="31 33" takes only these; make test-releases makes their environments.
matrix: $(MULTINODE) $(TRIXIE)  ## a host from Nova 27 to the newest and back, and to stock Nova at each
	$(AS_ROOT) UPGRADE_MATRIX="$(or $(RELEASES),27 31 33 34)" $(PYTEST) tests/e2e/test_upgrade_matrix.py

# SEED=123456 asks for the same again, as far as Nova answers alike; it prints the seed
# that it has taken.
MINUTES ?= 10
soak: $(MULTINODE) $(TRIXIE)  ## ten minutes of creates and deletes on two hosts, all slots counted
	@$(AS_ROOT) $(BIN)/python -m soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

volumes: $(MULTINODE) $(TRIXIE) $(LINUX) $(CINDER)  ## encrypted guests with real volumes, of Cinder
	$(AS_ROOT) $(PYTEST) tests/volumes

network: $(MULTINODE) $(TRIXIE) $(LINUX) $(NEUTRON)  ## encrypted guests with real ports, of Neutron
	$(AS_ROOT) $(PYTEST) tests/network

# TESTS=all takes the whole compute API, another word is a regular expression of tests.
# DRIVER=stock is Nova's own driver, LIBVIRT=trixie is that of Debian 13.
TESTS ?= short
DRIVER ?= ours
LIBVIRT ?=
tempest: $(MULTINODE) $(TEMPEST) $(LINUX) $(if $(VOLUMES),$(CINDER)) $(if $(NETWORK),$(NEUTRON)) $(if $(LIBVIRT),$(TRIXIE))  ## OpenStack's Tempest on two hosts, plain and encrypted, with a table
	@$(AS_ROOT) PYTHONPATH="$(CURDIR)" $(BIN)/python -B tools/tempest_run.py '$(TESTS)' \
	    --driver $(DRIVER) $(if $(LIBVIRT),--distribution $(LIBVIRT)) $(if $(VOLUMES),--volumes $(VOLUMES)) \
	    $(if $(NETWORK),--network $(NETWORK))

audit: $(READY)  ## known vulnerabilities of what the driver needs
	@$(BIN)/python -B tools/audit.py

# RELEASES="27 31" takes these and no others; STAGES=unit only that column of the table.
test-releases: $(MULTINODE) $(TRIXIE)  ## the tests in every Nova release, a table at the end
	@$(BIN)/python -B tools/releases.py $(RELEASES) $(if $(STAGES),--stages $(STAGES))

# REMARK="quiet" says so of the machine; SIZES=short is for a busy machine, SIZES=quick
# for a look whether it works.
bench: $(READY)  ## what the driver costs beside stock Nova: a table and a plot
	@$(AS_ROOT) $(BIN)/python -m benchmarks $(if $(SIZES),--sizes $(SIZES)) \
	    $(if $(REMARK),--remark "$(REMARK)")

sample: $(READY)  ## write etc/nova.conf.sample from the options
	$(BIN)/oslo-config-generator --config-file etc/sev_driver-config-generator.conf

completion: $(READY)  ## write etc/bash_completion.d from the scripts' options
	$(BIN)/python tools/completion.py

deb: $(READY)  ## the Debian package, into dist/, tried beside Debian 13's own nova-compute
	@$(BIN)/python -B tools/deb.py
	@$(BIN)/python -m pytest -q tests/packaging/test_deb.py

docs: $(READY)  ## the manual, into doc/build/html and doc/build/man
	$(BIN)/sphinx-build -W --keep-going -q -d doc/build/trees -b html doc/source doc/build/html
	$(BIN)/sphinx-build -W --keep-going -q -d doc/build/trees -b man doc/source doc/build/man

clean:  ## stop the cloud; remove .venv and all that was built
	@test ! -d .cloud || ! test -e $(READY) || $(DEVCLOUD) down
	$(SUDO) rm -rf .cloud .fuzz $(VENV) build dist doc/build *.egg-info .eggs \
	    .pytest_cache .mypy_cache .ruff_cache .hypothesis .tox AUTHORS ChangeLog
	find . -name __pycache__ -type d -prune -exec $(SUDO) rm -rf {} +
