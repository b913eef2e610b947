# SPDX-License-Identifier: Apache-2.0

"""Verify an attestation report with the library omne-attest, run as a program.

It has the options of go-sev-guest's ``check`` and ends as that does: with 0 if all is
well, 2 if the signatures are not the root's, 5 if the report is not what is expected.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import omne_attest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from omne_attest import FailKind

EXPECTED = {FailKind.MEASUREMENT, FailKind.REPORT_DATA, FailKind.DEBUG_ENABLED}


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("-in", "-vcek", "-product_key_path"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("-measurement", "-report_data", "-host_data"):
        parser.add_argument(name, type=bytes.fromhex, required=True)
    options = parser.parse_args()
    # ASK, then ARK.
    chain = x509.load_pem_x509_certificates(options.product_key_path.read_bytes())
    vcek = x509.load_pem_x509_certificate(options.vcek.read_bytes())
    certificates = [each.public_bytes(Encoding.DER) for each in (vcek, *chain)]
    try:
        report = omne_attest.verify(
            getattr(options, "in").read_bytes()[: omne_attest.REPORT_LEN],
            *certificates,
            hashlib.sha256(certificates[-1]).digest(),
            omne_attest.Policy(options.measurement, options.report_data),
        )
    except omne_attest.Fail as failure:
        print(failure)
        return 5 if failure.kind in EXPECTED else 2
    # The library leaves host data to its caller.
    return 0 if report.host_data == options.host_data else 5


if __name__ == "__main__":
    sys.exit(main())
