"""SEC-03, INT-20: who may be asked, how much is read, and where a token goes."""

import datetime
import gzip
import logging
import ssl
import threading
import time
import zlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from annotation.assist import downloads as downloads_module
from annotation.assist.downloads import Downloads, Patience
from annotation.assist.hosts import HostGate, Origin, by_the_system, is_public, web_place
from lifelong.errors import PictureAccessError
from tests.unit.annotation.assist.servers import PUBLIC, Names, marked, png, redirect, serving

FILE = png()
NAME = "a picture"
TOKEN = "Token 0123456789abcdef"
LIMIT = 20_000


@pytest.fixture
def server():
    with serving() as made:
        made.answers["/a.png"] = FILE
        yield made


@pytest.fixture
def other():
    with serving() as made:
        made.answers["/b.png"] = FILE
        yield made


@pytest.fixture
def names(server, other):
    made = Names()
    made.add("first.example", 80, server)
    made.add("second.example", 80, other)
    return made


def downloads(names, *, private=(), own=None, patience=None, limit=LIMIT):
    gate = HostGate(own=own, private_hosts=private, resolve=names.resolve)
    return Downloads(gate, max_bytes=limit, connect=names.connect, patience=patience)


def refused(made, url, **kwargs):
    with pytest.raises(PictureAccessError) as caught:
        made.get(url, name=NAME, **kwargs)
    assert str(caught.value).startswith(f"{NAME}: ")
    return caught.value


# ---- who may be asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2002:0a00:0001::",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo of 10.0.0.1
        "no address",
    ],
)
def test_sec_03_addresses_that_are_not_the_open_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"]
)
def test_sec_03_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://[::1]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://2130706433/a.png",
        "http://0x7f000001/a.png",
        "http://127.1/a.png",
        "http://localhost/a.png",
    ],
)
def test_sec_03_loopback_by_any_of_its_names_is_refused_before_a_connection(url: str) -> None:
    def connect(*args):
        raise AssertionError(f"connected to {args}")

    made = Downloads(HostGate(own=None), max_bytes=LIMIT, connect=connect)
    assert "assist.private_hosts" in str(refused(made, url))


def test_sec_03_one_private_address_among_public_ones_is_enough_to_refuse(server) -> None:
    names = Names()
    names.add("mixed.example", 80, server, PUBLIC, "10.0.0.7")
    error = refused(downloads(names), "http://mixed.example/a.png")
    assert "10.0.0.7" in str(error)
    assert "add mixed.example to assist.private_hosts" in str(error)
    assert not names.connected
    assert not error.retryable


def test_sec_03_the_checked_address_is_the_one_that_is_connected_to(server) -> None:
    """DNS rebinding: the second answer of the name server is never asked for."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    names = Names()
    names.add("rebound.example", 80, server)
    names.resolve = lambda host, port: answers.pop(0)
    assert downloads(names).get("http://rebound.example/a.png", name=NAME).data == FILE
    assert names.connected == [(PUBLIC, 80)]
    assert answers == [["127.0.0.1"]]
    assert server.headers_seen("host") == ["rebound.example"]


def test_sec_03_private_hosts_are_let_through_by_name_with_port_or_all(server, names) -> None:
    names.add("nas.example", 8080, server, "192.168.1.9")
    url = "http://nas.example:8080/a.png"
    for private in (["nas.example"], ["NAS.example:8080"], ["*"]):
        assert downloads(names, private=private).get(url, name=NAME).data == FILE
    for private in ([], ["nas.example:8081"], ["other.example"], ["example"]):
        assert "private address" in str(refused(downloads(names, private=private), url))


def test_sec_03_label_studio_s_own_origin_is_let_through_and_its_other_ports_are_not(
    server, other
) -> None:
    names = Names()
    own = Origin("http", "127.0.0.1", server.port)
    assert downloads(names, own=own).get(f"{server.url}/a.png", name=NAME).data == FILE
    error = refused(downloads(names, own=own), f"{other.url}/b.png")
    assert f"set label_studio.url to {other.url}" in str(error)
    assert other.asked == []


@pytest.mark.parametrize("port", [22, 25, 443 + 1, 1023])
def test_sec_03_ports_of_other_protocols_are_refused(names, port: int) -> None:
    assert f"port {port}" in str(refused(downloads(names), f"http://first.example:{port}/a.png"))
    assert not names.resolved


def test_sec_03_a_redirect_into_the_own_network_is_refused(server, other, names) -> None:
    server.answers["/go"] = redirect(f"{other.url}/b.png")
    error = refused(downloads(names), "http://first.example/go")
    assert "127.0.0.1" in str(error)
    assert other.asked == []


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://first.example/a", "data:image/png,x"])
def test_sec_03_a_redirect_to_another_scheme_is_refused(server, names, to: str) -> None:
    server.answers["/go"] = redirect(to)
    assert "http: and https: only" in str(refused(downloads(names), "http://first.example/go"))


def test_ops_03_a_name_that_nobody_knows_is_said_so() -> None:
    error = refused(downloads(Names()), "http://nowhere.example/a.png")
    assert "nowhere.example cannot be found from here" in str(error)
    assert error.retryable


def test_the_system_s_resolver_knows_loopback() -> None:
    assert "127.0.0.1" in by_the_system("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://H.example./a b/ü.jpg?x=1 2", "h.example", "/a%20b/%C3%BC.jpg?x=1%202"),
        ("https://h.example:443?q", "h.example", "/?q"),
        ("http://h.example:443/a%20b", "h.example:443", "/a%20b"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
        ("http://[2606:2800::1]:81/", "[2606:2800::1]:81", "/"),
        ("http://me:secret@h.example/a#b", "h.example", "/a"),
    ],
)
def test_an_address_is_taken_apart_once(url: str, authority: str, path: str) -> None:
    place = web_place(url, NAME)
    assert (place.origin.authority, place.path) == (authority, path)
    assert "x=1" not in repr(place)


# ---- where a token goes


def test_int_20_a_token_goes_along_redirects_of_its_own_origin_only(server, other, names) -> None:
    server.answers["/one"] = redirect("/two", 301)
    server.answers["/two"] = redirect("http://second.example/three", 307)
    other.answers["/three"] = redirect("http://first.example/a.png", 303)
    made = downloads(names)
    found = made.get("http://first.example/one", name=NAME, authorization=TOKEN)
    assert found.data == FILE
    assert server.paths == ["/one", "/two", "/a.png"]
    # Once it has left its origin it is gone for good: who led away may lead back.
    assert server.headers_seen("authorization") == [TOKEN, TOKEN, ""]
    assert other.headers_seen("authorization") == [""]
    assert other.headers_seen("cookie") == [""]


@pytest.mark.parametrize(
    "to",
    [
        "http://second.example/b.png",
        "//second.example/b.png",
        "http://first.example:8080/a.png",  # another port
        "http://first.example.second.example/b.png",
        "http://first.example@second.example/b.png",
        "http://me:secret@second.example/b.png",
    ],
)
def test_int_20_no_token_for_another_host_or_port(server, other, names, to: str) -> None:
    names.add("first.example", 8080, other)
    names.add("first.example.second.example", 80, other)
    other.answers["/a.png"] = FILE
    server.answers["/go"] = redirect(to)
    found = downloads(names).get("http://first.example/go", name=NAME, authorization=TOKEN)
    assert found.data == FILE
    assert server.headers_seen("authorization") == [TOKEN]
    assert other.headers_seen("authorization") == [""]


def test_int_20_circles_end(server, names) -> None:
    server.answers["/go"] = redirect("/go")
    assert "circle" in str(refused(downloads(names), "http://first.example/go"))
    assert len(server.asked) == 6


def test_int_20_a_token_that_is_posted_follows_no_redirect(server, other, names) -> None:
    server.answers["/renew"] = redirect("http://second.example/b.png", 307)
    answer = downloads(names).post("http://first.example/renew", b"{}", name=NAME)
    assert answer.status == 307
    assert server.bodies == [b"{}"]
    assert other.asked == []


# ---- how much is read


def test_the_file_comes_with_its_mark_and_304_without(server, names) -> None:
    server.answers["/m.png"] = marked(FILE, '"v1"')
    server.answers["/d.png"] = lambda handler: handler.send(
        304 if handler.headers.get("If-Modified-Since") else 200,
        FILE if not handler.headers.get("If-Modified-Since") else b"",
        Last_Modified="Mon, 02 Mar 2026 10:00:00 GMT",
    )
    made = downloads(names)
    for path in ("m", "d"):
        first = made.get(f"http://first.example/{path}.png", name=NAME)
        assert (first.status, first.data) == (200, FILE)
        again = made.get(f"http://first.example/{path}.png", name=NAME, mark=first.mark)
        assert (again.status, again.data) == (304, b"")
    assert made.get("http://first.example/a.png", name=NAME, mark="disk 1").data == FILE


def chunked(pieces):
    """An answer whose length is not told."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def endless(handler):
    """Bytes until the connection is closed, and more than anybody may read."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    for _ in range(1000):
        handler.wfile.write(bytes(1000))


def lying(told, sent):
    """Another length than what comes."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(told))
        handler.end_headers()
        handler.wfile.write(sent)
        handler.close_connection = True

    return answer


def test_sec_03_a_file_of_exactly_the_limit_comes(server, names) -> None:
    server.answers["/x"] = bytes(LIMIT)
    server.answers["/y"] = chunked([bytes(LIMIT // 2)] * 2)
    made = downloads(names)
    assert len(made.get("http://first.example/x", name=NAME).data) == LIMIT
    assert len(made.get("http://first.example/y", name=NAME).data) == LIMIT


@pytest.mark.parametrize(
    "answer",
    [
        bytes(LIMIT + 1),
        chunked([bytes(LIMIT), b"x"]),
        endless,
        lying(10**12, b"x"),
        lambda handler: handler.send(200, gzip.compress(bytes(LIMIT + 1)), Content_Encoding="gzip"),
        lambda handler: handler.send(
            200, zlib.compress(bytes(50_000_000), 9), Content_Encoding="deflate"
        ),
    ],
    ids=["told", "untold", "endless", "lying", "gzip", "bomb"],
)
def test_sec_03_more_than_the_limit_is_not_read(server, names, answer) -> None:
    server.answers["/x"] = answer
    error = refused(downloads(names), "http://first.example/x")
    assert "assist.max_picture_mib" in str(error)


def test_sec_03_a_packed_file_within_the_limit_is_unpacked(server, names) -> None:
    for path, packed, kind in (
        ("/g", gzip.compress(FILE), "gzip"),
        ("/z", zlib.compress(FILE), "deflate"),
    ):
        server.answers[path] = lambda handler, packed=packed, kind=kind: handler.send(
            200, packed, Content_Encoding=kind
        )
        assert downloads(names).get(f"http://first.example{path}", name=NAME).data == FILE
    assert server.headers_seen("accept-encoding") == ["identity", "identity"]


@pytest.mark.parametrize(
    "answer",
    [
        lying(5000, b"x" * 100),
        lambda handler: handler.send(200, gzip.compress(FILE)[:-20], Content_Encoding="gzip"),
        lambda handler: handler.send(200, b"no gzip at all", Content_Encoding="gzip"),
        lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000),
    ],
    ids=["short", "short gzip", "no gzip", "no http", "endless header"],
)
def test_sec_03_a_broken_answer_is_said_so(server, names, answer) -> None:
    def broken(handler):
        answer(handler)
        handler.close_connection = True

    server.answers["/x"] = broken
    error = refused(downloads(names), "http://first.example/x")
    assert error.retryable


def test_sec_03_another_packing_is_refused(server, names) -> None:
    server.answers["/x"] = lambda handler: handler.send(200, b"x", Content_Encoding="br")
    assert "'br'" in str(refused(downloads(names), "http://first.example/x"))


def test_sec_03_a_server_that_dribbles_is_left_when_the_time_is_over(server, names) -> None:
    """Each byte comes soon enough; all of them would take a year."""
    gone = threading.Event()

    def dribble(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        try:
            while not gone.is_set():
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.002)
        except OSError:
            gone.set()

    def dribbling_headers(handler):
        handler.close_connection = True
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not gone.is_set():
                handler.wfile.write(b"X-A: b\r\n"[:1])
                handler.wfile.flush()
                time.sleep(0.002)
        except OSError:
            gone.set()

    made = downloads(names, patience=Patience(whole=0.2))
    for answer in (dribble, dribbling_headers):
        server.answers["/x"] = answer
        error = refused(made, "http://first.example/x")
        assert "too slow" in str(error)
        assert error.retryable
        assert gone.wait(60)  # the connection was closed from our side
        gone.clear()


def test_sec_03_a_silent_server_is_left(server, names) -> None:
    gone = threading.Event()
    server.answers["/x"] = lambda handler: gone.wait(30)
    made = downloads(names, patience=Patience(silence=0.05))
    assert "too slow" in str(refused(made, "http://first.example/x"))
    gone.set()


def test_ops_03_a_closed_port_says_who_could_not_be_reached(names) -> None:
    names.ports.clear()
    error = refused(downloads(names), "http://first.example/a.png")
    assert "http://first.example cannot be reached (Connection refused)" in str(error)
    assert error.retryable


def test_a_host_with_several_addresses_is_tried_in_turn(server) -> None:
    names = Names()
    names.add("two.example", 80, server, "1.1.1.1", PUBLIC)
    del names.ports["1.1.1.1", 80]
    assert downloads(names).get("http://two.example/a.png", name=NAME).data == FILE
    assert names.connected == [("1.1.1.1", 80), (PUBLIC, 80)]


def test_sec_03_headers_cannot_be_slipped_in(server, names) -> None:
    server.answers["/go"] = redirect("/a.png%0d%0aX-Evil:%201")
    made = downloads(names)
    assert made.get("http://first.example/go", name=NAME).status == 404
    assert server.headers_seen("x-evil") == ["", ""]


# ---- TLS


def certificate_of(host, path):
    """A certificate that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(pem) + written)
    return path


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """A server with a certificate for secure.example, which is trusted here."""
    certificate = certificate_of("secure.example", tmp_path / "server.pem")
    with serving() as made:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        made.socket = context.wrap_socket(made.socket, server_side=True)
        made.answers["/a.png"] = FILE
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(downloads_module, "_tls", lambda: trusting)
        yield made


def test_sec_03_a_certificate_is_held_against_the_name_not_the_checked_address(
    secure, names
) -> None:
    names.add("secure.example", 443, secure)
    names.add("impostor.example", 443, secure)
    made = downloads(names)
    assert made.get("https://secure.example/a.png", name=NAME, authorization=TOKEN).data == FILE
    error = refused(made, "https://impostor.example/a.png", authorization=TOKEN)
    assert "certificate of https://impostor.example is not trusted" in str(error)
    assert "SSL_CERT_FILE" in str(error)
    assert secure.headers_seen("host") == ["secure.example"]


def test_int_20_from_https_to_http_no_token_goes_along(secure, server, names) -> None:
    names.add("secure.example", 443, secure)
    names.add("secure.example", 80, server)
    secure.answers["/go"] = redirect("http://secure.example/a.png")
    found = downloads(names).get("https://secure.example/go", name=NAME, authorization=TOKEN)
    assert found.data == FILE
    assert secure.headers_seen("authorization") == [TOKEN]
    assert server.headers_seen("authorization") == [""]


def test_sec_03_certificates_and_names_are_looked_at() -> None:
    context = downloads_module._tls()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_ops_03_plain_http_at_a_port_of_tls_is_said_so(server, names) -> None:
    names.add("plain.example", 443, server)
    assert "https://plain.example cannot be reached" in str(
        refused(downloads(names), "https://plain.example/a.png")
    )


def test_nothing_of_an_address_is_logged(server, other, names, caplog) -> None:
    """SEC-03: at DEBUG, with signatures in the address and in a redirect."""
    caplog.set_level(logging.DEBUG)
    server.answers["/go"] = redirect("http://second.example/b.png?sig=hidden-two")
    url = "http://me:hidden-one@first.example/go?sig=hidden-three"
    assert downloads(names).get(url, name=NAME, authorization=TOKEN).data == FILE
    assert "hidden" not in caplog.text
    assert "0123456789abcdef" not in caplog.text
