"""Key and certificate of the local node.

The certificate is self-signed, and clients trust it alone for the node's address. So a program that takes the node's
port while the node is down fails the TLS handshake and never sees a credential.
"""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from simquery.node.account import Account
from simquery.node.files import write_atomically
from simquery.node.port import HOST

__all__ = ["ensure_certificate", "make_certificate"]

VALIDITY = timedelta(days=36500)
"""The certificate is self-signed, so an earlier end would protect nobody and only stop old cases."""


def make_certificate() -> tuple[str, str]:
    """Make a private key and a certificate for the loopback address.

    Returns
    -------
    tuple of str
        Key (PKCS #8) and certificate, both PEM.
    """
    # Every query imports this module, and only the first `up` makes a certificate.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simquery local node")])
    yesterday = datetime.now(UTC) - timedelta(days=1)  # tolerates a clock that is set back a little
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday)
        .not_valid_after(yesterday + VALIDITY)
        # Not an authority: trusting this certificate must not mean trusting any other.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST)), x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.decode("ascii"), certificate.public_bytes(Encoding.PEM).decode("ascii")


def ensure_certificate(key: Path, certificate: Path, account: Account) -> None:
    """Make the node's key and certificate if they are missing or do not belong together.

    Parameters
    ----------
    key, certificate
        Files to write. Only the server's user can read the key; everybody can read the certificate.
    account
        Account that the server runs as.

    Raises
    ------
    NodeError
        When a file cannot be written.
    """
    if _is_pair(key, certificate):
        return
    private, public = make_certificate()
    write_atomically(key, private, 0o600, uid=account.uid, gid=account.gid)
    write_atomically(certificate, public, 0o644)


def _is_pair(key: Path, certificate: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError:  # raised also for a file that is not a certificate, or a key of another one
        return False
    return True
