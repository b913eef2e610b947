# SPDX-License-Identifier: Apache-2.0
#
# plugin.sh - DevStack runs nova-compute with sev_driver.
#
# DevStack sources this file as "plugin.sh <mode> [phase]".

# Save trace setting
_XTRACE_SEV_DRIVER=$(set +o | grep xtrace)
set +o xtrace

SEV_DRIVER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# check_sev_driver - End where DevStack would not run Nova's libvirt driver with KVM.
function check_sev_driver {
    if [[ "$VIRT_DRIVER" != "libvirt" ]]; then
        die $LINENO "sev_driver needs VIRT_DRIVER=libvirt in local.conf, not $VIRT_DRIVER"
    fi
    if [[ "$LIBVIRT_TYPE" != "kvm" ]]; then
        die $LINENO "sev_driver needs LIBVIRT_TYPE=kvm in local.conf, not $LIBVIRT_TYPE"
    fi
}

# install_sev_driver - Install it into the Python that runs nova-compute.
function install_sev_driver {
    # Not setup_develop: pip would not install the file that Nova looks for.
    setup_install "$SEV_DRIVER_DIR"
    # DevStack runs Nova from its clone. Nova searches that folder only.
    "$NOVA_BIN_DIR/sev-driver-link"
}

# configure_sev_driver - Write its options; start_nova_compute copies this file.
function configure_sev_driver {
    iniset "$NOVA_CONF" DEFAULT compute_driver "sev_driver.SEVDriver"
    iniset "$NOVA_CONF" DEFAULT ram_allocation_ratio "$SEV_RAM_ALLOCATION_RATIO"
    if [[ -n "$SEV_NUM_SEV_GUESTS" ]]; then
        iniset "$NOVA_CONF" libvirt num_memory_encrypted_guests "$SEV_NUM_SEV_GUESTS"
    fi
    if [[ -n "$SEV_NUM_SEV_ES_GUESTS" ]]; then
        iniset "$NOVA_CONF" sev num_sev_es_guests "$SEV_NUM_SEV_ES_GUESTS"
    fi
    if [[ -n "$SEV_NUM_SEV_SNP_GUESTS" ]]; then
        iniset "$NOVA_CONF" sev num_sev_snp_guests "$SEV_NUM_SEV_SNP_GUESTS"
    fi
}

# create_sev_flavor - Create the flavor that asks for encryption, once.
function create_sev_flavor {
    if openstack --os-cloud devstack-admin flavor show "$SEV_FLAVOR" > /dev/null 2>&1; then
        return 0
    fi
    openstack --os-cloud devstack-admin flavor create \
        --ram "$SEV_FLAVOR_RAM" --disk "$SEV_FLAVOR_DISK" --vcpus 1 \
        --property hw:mem_encryption=true "$SEV_FLAVOR"
}

# cleanup_sev_driver - Remove what install_sev_driver installed.
function cleanup_sev_driver {
    if [[ -x "$NOVA_BIN_DIR/sev-driver-link" ]]; then
        "$NOVA_BIN_DIR/sev-driver-link" --remove
    fi
    pip_uninstall sev_driver
}

if is_service_enabled n-cpu; then
    if [[ "$1" == "stack" && "$2" == "pre-install" ]]; then
        check_sev_driver
    elif [[ "$1" == "stack" && "$2" == "install" ]]; then
        echo_summary "Installing sev_driver"
        install_sev_driver
    elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
        echo_summary "Configuring sev_driver"
        configure_sev_driver
    elif [[ "$1" == "clean" ]]; then
        cleanup_sev_driver
    fi
fi

if is_service_enabled n-api && [[ "$1" == "stack" && "$2" == "extra" ]]; then
    if [[ "$SEV_CREATE_FLAVOR" == "True" ]]; then
        create_sev_flavor
    fi
fi

# Restore trace setting
$_XTRACE_SEV_DRIVER
