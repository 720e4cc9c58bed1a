"""SEC-05: TLS, certificates of clients and proxies, over real sockets."""

import contextlib
import http.client
import io
import json
import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloud.access.admission import make_admission
from cloud.access.permissions import Role
from cloud.access.renewal import RenewedCertificates, load
from cloud.access.slow_heads import PatientProtocol
from cloud.access.transport import listening, make_server
from cloud.audit_log import AuditLog
from cloud.web.app import make_app
from cloud.web.probes import open_probe_port
from lifelong.config import Config
from lifelong.errors import ConfigError
from lifelong.links.journal import utc_now
from lifelong.links.logs import WithoutSecrets
from lifelong.links.storage import open_storage
from tests.certificates import Authority, Pair
from tests.real_server import ask, running, wait_until
from tests.web_parts import some_parts


@contextmanager
def served(folder: Path, **web: Any) -> Iterator[tuple[int, list[str]]]:
    """The real application behind its gate at a real port; what the terminal was told."""
    web = {"host": "127.0.0.1", "port": 0, "access_path": str(folder / "access"), **web}
    config = Config.model_validate({"web": web})
    audit = AuditLog(open_storage("memory://"), utc_now)
    admission = make_admission(config, audit)
    said: list[str] = []
    parts = some_parts(config=config, book=admission.book, audit=audit, audits=admission.audits)
    server = admission.server(make_app(parts))
    with running(server, admission.listen(said.append)) as port:
        yield port, said


def enter_at(
    port: int,
    said: list[str],
    sent: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[int, dict[str, str], bytes]:
    code = said[0].partition("#code=")[2]
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    body = f"secret={code}".encode()
    return ask(port, "/enter", form | dict(sent or {}), method="POST", body=body, tls=tls)


def test_sec_01_the_first_start_prints_one_link_and_it_works(tmp_path: Path) -> None:
    with served(tmp_path) as (port, said):
        assert len(said) == 1 and f"http://127.0.0.1:{port}/enter#code=clpl_" in said[0]
        status, headers, _ = enter_at(port, said)
        assert status == 303 and "server" not in headers
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "Secure" not in cookie
        assert ask(port, "/", {"Cookie": cookie.partition(";")[0]})[0] == 200
        assert ask(port, "/")[0] == 401
    with served(tmp_path) as (_, again):
        assert again == [], "somebody can enter: no second link"


def test_sec_05_tls_by_setting(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.pair("server")
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    tls = {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)}
    with served(tmp_path, **tls) as (port, said):
        assert f"https://127.0.0.1:{port}/enter#" in said[0]
        status, headers, body = ask(port, "/healthz", tls=trusting)
        assert status == 200 and json.loads(body)["status"] == "up"
        assert headers["strict-transport-security"].startswith("max-age=")
        assert "Secure" in enter_at(port, said, tls=trusting)[1]["set-cookie"]
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, "/healthz", tls=ssl.create_default_context())
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, "/healthz")


def test_sec_05_with_a_client_ca_only_clients_that_it_signed_are_heard(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "Another")
    server, client, stranger = authority.pair("server"), authority.pair("edge"), other.pair("eve")
    web = {
        "tls_certificate": str(server.certificate),
        "tls_key": str(server.key),
        "tls_client_ca": str(authority.ca),
    }
    with served(tmp_path, **web) as (port, _):
        known = ssl.create_default_context(cafile=str(authority.ca))
        known.load_cert_chain(client.certificate, client.key)
        assert ask(port, "/healthz", tls=known)[0] == 200
        assert ask(port, "/rounds.json", tls=known)[0] == 401, "a certificate is no token"
        nobody = ssl.create_default_context(cafile=str(authority.ca))
        strange = ssl.create_default_context(cafile=str(authority.ca))
        strange.load_cert_chain(stranger.certificate, stranger.key)
        for context in (nobody, strange):
            with pytest.raises(OSError):
                ask(port, "/healthz", tls=context)


def shown_at(port: int) -> str:
    """The certificate that whoever connects now is shown, in PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=120)


def test_sec_05_renewed_certificates_are_shown_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As cert-manager does it; a certificate whose key has not come yet is not shown."""
    authority = Authority(tmp_path / "ca")
    before, after = authority.pair("before"), authority.pair("after")
    live = Pair(tmp_path / "live.pem", tmp_path / "live.key")
    shutil.copy(before.certificate, live.certificate)
    shutil.copy(before.key, live.key)
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    with served(tmp_path, tls_certificate=str(live.certificate), tls_key=str(live.key)) as (
        port,
        _,
    ):
        assert shown_at(port) == before.certificate.read_text()
        live.certificate.write_bytes(after.certificate.read_bytes())
        wait_until(lambda: "renewed, and not taken" in caplog.text)
        assert str(live.key) in caplog.text, "it names the files"
        assert ask(port, "/healthz", tls=trusting)[0] == 200
        assert shown_at(port) == before.certificate.read_text()
        live.key.write_bytes(after.key.read_bytes())
        wait_until(lambda: shown_at(port) == after.certificate.read_text())
        assert ask(port, "/healthz", tls=trusting)[0] == 200
    assert caplog.text.count("renewed, and not taken") == 1, "told once, not every look"


def test_sec_05_an_added_authority_of_clients_is_believed_without_a_restart(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "Another")
    pair = authority.pair("server")
    believed = tmp_path / "clients.pem"
    believed.write_bytes(authority.ca.read_bytes())
    web = {
        "tls_certificate": pair.certificate,
        "tls_key": pair.key,
        "tls_client_ca": believed,
    }
    config = Config.model_validate({"web": web})
    certificates = RenewedCertificates(config.web)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, config.web)
    assert not certificates.look(context), "nothing has changed"
    assert len(context.get_ca_certs()) == 1
    believed.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
    assert certificates.look(context)
    assert len(context.get_ca_certs()) == 2
    believed.unlink()
    assert not certificates.look(context), "in the middle of being replaced"


def test_ops_02_probes_without_a_certificate_have_a_port_of_their_own(tmp_path: Path) -> None:
    """OPS-02: Kubernetes shows no certificate; `web.probe_port` answers it, and nobody else."""
    with listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    config = Config.model_validate({"web": {"probe_port": port}})
    server = open_probe_port(config, some_parts(config=config))
    assert server is not None
    try:
        wait_until(lambda: server.started)
        status, _, body = ask(port, "/healthz")
        assert (status, json.loads(body)) == (200, {"status": "up"})
        assert ask(port, "/readyz")[0] in {200, 503}
        for address in ("/", "/rounds.json", "/metrics", "/openapi.json", "/enter"):
            assert ask(port, address)[0] == 404, address
    finally:
        server.should_exit = True
    assert open_probe_port(Config(), some_parts()) is None


@pytest.mark.parametrize("case", ["no key", "no certificate", "missing", "mixed", "ca alone",
                                  "no ca", "garbage"])  # fmt: skip
def test_sec_05_certificates_that_do_not_fit_are_named(tmp_path: Path, case: str) -> None:
    authority = Authority(tmp_path / "ca")
    one, two = authority.pair("one"), authority.pair("two")
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\nxx\n")
    web = {
        "no key": {"tls_certificate": one.certificate},
        "no certificate": {"tls_key": one.key},
        "missing": {"tls_certificate": tmp_path / "none.pem", "tls_key": one.key},
        "mixed": {"tls_certificate": one.certificate, "tls_key": two.key},
        "ca alone": {"tls_client_ca": authority.ca},
        "no ca": {"tls_certificate": one.certificate, "tls_key": one.key,
                  "tls_client_ca": tmp_path / "none.pem"},
        "garbage": {"tls_certificate": garbage, "tls_key": one.key},
    }[case]  # fmt: skip
    config = Config.model_validate({"web": web})
    with pytest.raises(ConfigError, match=r"web\.tls_"):
        make_server(lambda: None, config)


def test_a_taken_port_is_told_at_once(tmp_path: Path) -> None:
    with listening("127.0.0.1", 0) as taken:
        again = taken.getsockname()[1]
        for named in ("web.port", "web.probe_port"):
            with pytest.raises(ConfigError, match=named):
                listening("127.0.0.1", again, named=named)


# --- a proxy with a path, in front of us


class _Proxy(BaseHTTPRequestHandler):
    """Hands requests under /corner on, as nginx does with proxy_pass; says what it was asked."""

    target = 0
    strips = True
    proto = "https"

    def do_GET(self) -> None:
        """Hand on."""
        self._pass_on()

    def do_POST(self) -> None:
        """Hand on."""
        self._pass_on()

    def _pass_on(self) -> None:
        path = self.path.removeprefix("/corner") or "/" if self.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in {"connection", "content-length"}
        }
        kept |= {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": self.proto}
        upstream = http.client.HTTPConnection("127.0.0.1", self.target, timeout=120)
        upstream.request(self.command, path, body=body or None, headers=kept)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxied(target: int, *, strips: bool) -> Iterator[int]:
    handler = type("Handler", (_Proxy,), {"target": target, "strips": strips})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running = threading.Thread(target=proxy.serve_forever, daemon=True)
    running.start()
    try:
        yield proxy.server_address[1]
    finally:
        proxy.shutdown()
        proxy.server_close()
        running.join()


@pytest.mark.parametrize("strips", [True, False])
def test_sec_05_behind_a_proxy_with_a_path(tmp_path: Path, *, strips: bool) -> None:
    web = {"address": "https://loop.example.org/corner", "trusted_proxies": ["127.0.0.1"]}
    public = {"Host": "loop.example.org", "Accept": "text/html"}
    with served(tmp_path, **web) as (port, said), proxied(port, strips=strips) as proxy:
        assert "https://loop.example.org/corner/enter#code=" in said[0]
        status, headers, _ = ask(proxy, "/corner/rounds.json", public)
        assert status == 303
        assert headers["location"] == "/corner/enter?next=%2Frounds.json"
        page = ask(proxy, "/corner/enter", public)[2].decode()
        assert 'href="/corner/static/style.css"' in page
        assert ask(proxy, "/corner/static/style.css", public)[0] == 200
        body = f"secret={said[0].partition('#code=')[2]}&next=/access".encode()
        form = public | {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": "https://loop.example.org",
            "Sec-Fetch-Site": "same-origin",
        }
        status, headers, _ = ask(proxy, "/corner/enter", form, method="POST", body=body)
        assert (status, headers["location"]) == (303, "/corner/access")
        cookie = headers["set-cookie"]
        assert "Path=/corner" in cookie and "Secure" in cookie
        assert headers["strict-transport-security"]
        entered = public | {"Cookie": cookie.partition(";")[0]}
        status, _, page_bytes = ask(proxy, "/corner/", entered)
        assert status == 200 and b'href="/corner/rounds"' in page_bytes
        assert ask(port, "/healthz")[0] == 200, "probes come without the proxy"


def test_sec_05_a_proxy_that_is_not_named_is_not_believed(tmp_path: Path) -> None:
    with served(tmp_path) as (port, said):
        lie = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
        status, headers, _ = enter_at(port, said, lie)
        assert status == 303
        assert "Secure" not in headers["set-cookie"]
        assert "strict-transport-security" not in headers


def test_sec_01_a_token_from_a_program_over_the_wire(tmp_path: Path) -> None:
    with served(tmp_path) as (port, _):
        from cloud.access.entering import open_book

        config = Config.model_validate({"web": {"access_path": str(tmp_path / "access")}})
        book = open_book(config)
        _, secret = book.make_token("prometheus", Role.DEVICE)
        bearer = {"Authorization": f"Bearer {secret}"}
        assert ask(port, "/metrics", bearer)[0] == 200
        assert ask(port, "/rounds.json", bearer)[0] == 403
        book.revoke("prometheus")
        assert ask(port, "/metrics", bearer)[0] == 401, "at once, without a restart"


def test_sec_03_an_endless_body_over_the_wire_is_refused(tmp_path: Path) -> None:
    with served(tmp_path) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

        def endless() -> Iterator[bytes]:
            while True:
                yield b"x" * 65536

        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            # It is answered, and closed, long before the end that never comes.
            connection.request("POST", "/enter", body=endless(), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked", "Content-Type":
                                        "application/x-www-form-urlencoded"})  # fmt: skip
        connection.close()
        assert ask(port, "/healthz")[0] == 200


def test_ops_06_what_the_server_logs_is_cleaned_and_in_the_form_of_our_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-06: uvicorn would write its lines by a handler of its own, past every filter."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(WithoutSecrets())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    for name in ("uvicorn", "uvicorn.error"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    make_server(make_app(some_parts()), Config())
    logging.getLogger("uvicorn.error").error("Exception in ASGI application: password=planted")
    assert out.getvalue().count("Exception in ASGI") == 1
    assert "planted" not in out.getvalue()


def test_sec_03_connections_that_send_no_whole_head_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-03: without a word, with half a head, and with half of a second one."""
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.2)
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with served(tmp_path) as (port, _):
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", whole + b"GET / HT"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
                line.sendall(begun)
                heard = b""
                with contextlib.suppress(ConnectionResetError):
                    while piece := line.recv(4096):
                        heard += piece
                assert (b"200 OK" in heard) is (whole in begun)
        assert ask(port, "/healthz")[0] == 200
