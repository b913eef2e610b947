# SPDX-License-Identifier: Apache-2.0

"""ARK, ASK and VCEK of a simulated host: made once, kept in its state.

Sizes, names and extensions are those of AMD's VCEK Certificate and KDS Interface
Specification (document 57230), which verifiers check.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

#: The product line that verifiers are to be asked for.
PRODUCT: Final = "Milan"
#: What each certificate says, and the chip's id begins with.
SIMULATED: Final = "SIMULATED by devcloud and not by AMD"
#: Boot loader, TEE, SNP and microcode: the parts of TCB_VERSION that are not 0.
BOOT_LOADER, TEE, SNP, MICROCODE = 4, 0, 24, 219
CHIP_ID_BYTES: Final = 64

_AMD = "1.3.6.1.4.1.3704.1"
_COMMENT = x509.ObjectIdentifier("2.16.840.1.113730.1.13")
_YEARS = datetime.timedelta(days=3650)
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


@dataclasses.dataclass(frozen=True)
class Keys:
    """The secure processor's own key, and the certificates up to the root."""

    vcek_key: ec.EllipticCurvePrivateKey
    vcek: x509.Certificate
    ask: x509.Certificate
    ark: x509.Certificate

    @property
    def chip_id(self) -> bytes:
        extension = x509.ObjectIdentifier(f"{_AMD}.4")
        found = self.vcek.extensions.get_extension_for_oid(extension).value
        assert isinstance(found, x509.UnrecognizedExtension)  # nosec B101  # for mypy
        return found.value

    @property
    def chain(self) -> bytes:
        """ASK and ARK, as AMD's server answers a request for cert_chain."""
        return b"".join(map(_pem, (self.ask, self.ark)))


def tcb() -> int:
    """TCB_VERSION of a Milan processor as the number that reports have."""
    return BOOT_LOADER | TEE << 8 | SNP << 48 | MICROCODE << 56


def load_or_make(folder: Path) -> Keys:
    """Return a host's keys; the first call makes them, which takes some seconds."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "simulated-vcek.key").exists():
            _write(folder, _make())
        return _load(folder)


def _load(folder: Path) -> Keys:
    key = serialization.load_pem_private_key(
        (folder / "simulated-vcek.key").read_bytes(), password=None
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # nosec B101  # for mypy
    vcek, ask, ark = (
        x509.load_pem_x509_certificate((folder / f"simulated-{name}.pem").read_bytes())
        for name in ("vcek", "ask", "ark")
    )
    return Keys(key, vcek, ask, ark)


def _write(folder: Path, keys: Keys) -> None:
    for name in ("vcek", "ask", "ark"):
        (folder / f"simulated-{name}.pem").write_bytes(_pem(getattr(keys, name)))
    # Last: where it is, all are. The keys of ASK and ARK are not needed again.
    file = folder / "simulated-vcek.key"
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(
        keys.vcek_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    new.replace(file)


def _make() -> Keys:
    ark_key, ask_key = (rsa.generate_private_key(65537, 4096) for _ in range(2))
    vcek_key = ec.generate_private_key(ec.SECP384R1())
    root = _name(f"ARK-{PRODUCT}")
    intermediate = _name(f"SEV-{PRODUCT}")
    ark = _authority(_certificate(root, root, ark_key.public_key()), ark_key, 1)
    ask = _authority(_certificate(root, intermediate, ask_key.public_key()), ark_key, 0)
    chip_id = SIMULATED.encode().ljust(CHIP_ID_BYTES - 16, b".") + os.urandom(16)
    vcek = _certificate(intermediate, _name("SEV-VCEK"), vcek_key.public_key())
    for number, value in _extensions(chip_id).items():
        oid = x509.ObjectIdentifier(f"{_AMD}.{number}")
        vcek = vcek.add_extension(x509.UnrecognizedExtension(oid, value), False)
    return Keys(vcek_key, _sign(vcek, ask_key), ask, ark)


def _extensions(chip_id: bytes) -> dict[str, bytes]:
    product = f"{PRODUCT}-B1".encode()
    levels = (BOOT_LOADER, TEE, SNP, 0, 0, 0, 0, MICROCODE)
    found = {"1": _integer(0), "2": bytes((0x16, len(product))) + product}
    found |= {f"3.{at}": _integer(level) for at, level in enumerate(levels, 1)}
    return found | {"4": chip_id}


def _integer(value: int) -> bytes:
    """A number below 256 as an INTEGER in DER."""
    data = value.to_bytes(1 if value < 0x80 else 2, "big")
    return bytes((2, len(data))) + data


def _name(common_name: str) -> x509.Name:
    attributes = {
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Engineering",
        NameOID.COUNTRY_NAME: "US",
        NameOID.LOCALITY_NAME: "Santa Clara",
        NameOID.STATE_OR_PROVINCE_NAME: "CA",
        NameOID.ORGANIZATION_NAME: "Advanced Micro Devices",
        NameOID.COMMON_NAME: common_name,
        NameOID.SERIAL_NUMBER: SIMULATED,
    }
    return x509.Name([x509.NameAttribute(*each) for each in attributes.items()])


def _certificate(
    issuer: x509.Name,
    subject: x509.Name,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _YEARS)
    )


def _authority(
    builder: x509.CertificateBuilder, key: rsa.RSAPrivateKey, below: int
) -> x509.Certificate:
    # The address is compared, and not asked.
    crl = x509.UniformResourceIdentifier(
        f"https://kdsintf.amd.com/vcek/v1/{PRODUCT}/crl"
    )
    comment = bytes((0x16, len(SIMULATED))) + SIMULATED.encode()
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment"),
            *("data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
        ),
        False,
    )
    return _sign(
        builder.add_extension(x509.BasicConstraints(True, below), True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True)
        .add_extension(
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([crl], None, None, None)]
            ),
            False,
        )
        .add_extension(x509.UnrecognizedExtension(_COMMENT, comment), False),
        key,
    )


def _sign(builder: x509.CertificateBuilder, key: rsa.RSAPrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA384(), rsa_padding=_PSS)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
