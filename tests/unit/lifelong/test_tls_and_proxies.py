"""SEC-05: buckets and Label Studio behind a CA of one's own and behind an HTTP proxy.

The variables are those that manifests/components/proxy sets. Both libraries read them as a process
begins, so each case is a process of its own.
"""

import datetime
import http.server
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[3]
# A host that no name server knows: only the proxy can bring us there.
AFAR = "https://minio.example:9000"
PROGRAMS = {
    "buckets": """
from lifelong.links.storage import open_storage
print(open_storage("s3://bucket/x").size("a/b"))
""",
    "Label Studio": """
import os, httpx
print({404: None}[httpx.get(os.environ["S3_ENDPOINT_URL"]).status_code])
""",
}


@dataclass(slots=True, kw_only=True)
class Place:
    """A server with a certificate that only our CA vouches for, and a proxy in front of it."""

    url: str
    ca: Path
    proxy: str
    asked: list[str]  # what the proxy was asked for


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tls")
    ca, ca_key = _certificate("a CA of our own")
    leaf, leaf_key = _certificate("server", issuer=ca, issuer_key=ca_key)
    (folder / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(
        leaf.public_bytes(serialization.Encoding.PEM)
        + leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    asked: list[str] = []
    proxy = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), _proxy_to(server.server_address[1], asked)
    )
    for one in (server, proxy):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    yield Place(
        url=f"https://127.0.0.1:{server.server_address[1]}",
        ca=folder / "ca.crt",
        proxy=f"http://127.0.0.1:{proxy.server_address[1]}",
        asked=asked,
    )
    for one in (server, proxy):
        one.shutdown()
        one.server_close()


def answer(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAMS[program]],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "b",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_sec_05_an_unknown_ca_is_refused_and_ours_is_trusted_once_named(
    program: str, place: Place
) -> None:
    refused = answer(program, S3_ENDPOINT_URL=place.url)
    assert refused.returncode != 0
    trusted = answer(program, S3_ENDPOINT_URL=place.url, SSL_CERT_FILE=str(place.ca))
    assert (trusted.returncode, trusted.stdout) == (0, "None\n"), trusted.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_sec_05_a_proxy_leads_out_and_sees_only_the_hosts_name(program: str, place: Place) -> None:
    place.asked.clear()
    done = answer(
        program, S3_ENDPOINT_URL=AFAR, SSL_CERT_FILE=str(place.ca), HTTPS_PROXY=place.proxy
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    assert set(place.asked) == {"CONNECT minio.example:9000"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_sec_05_hosts_of_no_proxy_are_reached_directly(program: str, place: Place) -> None:
    place.asked.clear()
    done = answer(
        program,
        S3_ENDPOINT_URL=place.url,
        SSL_CERT_FILE=str(place.ca),
        HTTPS_PROXY=place.proxy,
        NO_PROXY="localhost,127.0.0.1,::1,label-studio,.svc,.cluster.local",
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    assert place.asked == []


class _Nothing(http.server.BaseHTTPRequestHandler):
    """Whatever is asked for is not there."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def _proxy_to(port: int, asked: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(_Nothing):
        def do_CONNECT(self) -> None:
            asked.append(f"CONNECT {self.path}")
            with socket.create_connection(("127.0.0.1", port)) as there:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
                back.start()
                _pump(self.connection, there)
                back.join()

    return Proxy


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _certificate(
    name: str,
    issuer: x509.Certificate | None = None,
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for a day; without an issuer it is a CA that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [
            x509.DNSName("minio.example"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key
