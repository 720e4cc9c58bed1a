"""A real RTSP camera on loopback: RTSP/1.0 (RFC 2326), interleaved TCP, RTP/JPEG (RFC 2435).

It shows grey pictures whose brightness counts up, asks for a password if told so, and can be cut
off in the middle of a picture and come back on the same port.
"""

import base64
import hashlib
import io
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from PIL import Image

REALM, NONCE = "a camera", "5ca1ab1e"
PAYLOAD_BYTES = 1300  # of one RTP packet
CLOCK_HZ = 90_000
STEP = 8  # of brightness, from one picture to the next: JPEG blurs less than that


class RtspCamera:
    """Serves `rtsp://127.0.0.1:port/live`; use as a context manager.

    Args:
        user, password: asked for when not empty.
        authentication: "digest" or "basic".
        every_s: pause between two pictures.
    """

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        authentication: str = "digest",
        size: tuple[int, int] = (96, 64),
        every_s: float = 0.02,
    ) -> None:
        self._user, self._password = user, password
        self._authentication = authentication
        self._size, self._every_s = size, every_s
        self.port = 0
        self.requests: list[str] = []  # methods, in the order they came
        self.transports: list[str] = []
        self.refused = 0  # requests without the right password
        self.is_silent = threading.Event()  # set: connected, but no picture comes
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def __enter__(self) -> "RtspCamera":
        self.come_back()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self.go_away()

    def go_away(self) -> None:
        """Cut every connection wherever it is, and accept no new one."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):  # wakes the thread in accept()
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        connections, self._connections = self._connections, []
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def come_back(self) -> None:
        """Listen, on the same port as before."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        playing = threading.Event()
        writing = threading.Lock()  # answers and pictures share the connection
        with suppress(OSError), connection, connection.makefile("rb") as coming:
            for method, headers in _requests(coming):
                self.requests.append(method)
                answer = self._answer(method, headers)
                with writing:
                    connection.sendall(answer)
                if method == "PLAY" and b"200 OK" in answer and not playing.is_set():
                    playing.set()
                    threading.Thread(
                        target=self._play, args=(connection, writing), daemon=True
                    ).start()
                if method == "TEARDOWN":
                    return

    def _answer(self, method: str, headers: dict[str, str]) -> bytes:
        number = headers.get("cseq", "0")
        if method != "OPTIONS" and not self._may(method, headers.get("authorization", "")):
            self.refused += 1
            how = {
                "digest": f'Digest realm="{REALM}", nonce="{NONCE}"',
                "basic": f'Basic realm="{REALM}"',
            }[self._authentication]
            return _response("401 Unauthorized", number, {"WWW-Authenticate": how})
        if method == "OPTIONS":
            methods = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
            return _response("200 OK", number, {"Public": methods})
        if method == "DESCRIBE":
            about = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 26\r\nc=IN IP4 0.0.0.0\r\na=control:track1\r\n"
            )
            kind = {"Content-Type": "application/sdp", "Content-Base": f"{self.url}/"}
            return _response("200 OK", number, kind, about)
        if method == "SETUP":
            wanted = headers.get("transport", "")
            self.transports.append(wanted)
            if "TCP" not in wanted:
                return _response("461 Unsupported Transport", number, {})
            chosen = "RTP/AVP/TCP;unicast;interleaved=0-1"
            return _response("200 OK", number, {"Transport": chosen, "Session": "1;timeout=60"})
        return _response("200 OK", number, {"Session": "1"})

    def _may(self, method: str, given: str) -> bool:
        if not self._user:
            return True
        if self._authentication == "basic":
            known = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            return given == f"Basic {known}"
        fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
        ours = _md5(f"{self._user}:{REALM}:{self._password}")
        asked = _md5(f"{method}:{fields.get('uri', '')}")
        return fields.get("response") == _md5(f"{ours}:{NONCE}:{asked}")

    def _play(self, connection: socket.socket, writing: threading.Lock) -> None:
        sequence, number = 0, 0
        with suppress(OSError):
            while not self._ended.wait(self._every_s):
                if self.is_silent.is_set():
                    continue
                stamp = int(number * max(self._every_s, 0.02) * CLOCK_HZ)
                packets = list(rtp_packets(grey_jpeg(number, self._size), sequence, stamp))
                sequence, number = sequence + len(packets), number + 1
                for packet in packets:
                    with writing:
                        connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def brightness(number: int) -> int:
    """Of the picture with that number, 0 .. 255."""
    return 16 + STEP * (number % 28)


def grey_jpeg(number: int, size: tuple[int, int]) -> bytes:
    """A baseline JPEG, 4:2:0, with the standard Huffman tables that RTP/JPEG leaves out."""
    width, height = size
    image = Image.fromarray(np.full((height, width, 3), brightness(number), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90, subsampling="4:2:0", optimize=False)
    return buffer.getvalue()


def rtp_packets(jpeg: bytes, sequence: int, stamp: int) -> Iterator[bytes]:
    """One picture as RTP packets of payload type 26, with its quantisation tables (Q = 255)."""
    tables, width, height, scan = _parts(jpeg)
    offset = 0
    while offset < len(scan):
        head = b""
        if offset == 0:
            head = struct.pack(">BBH", 0, 0, len(tables)) + tables
        piece = scan[offset : offset + PAYLOAD_BYTES]
        is_last = offset + len(piece) >= len(scan)
        rtp = struct.pack(
            ">BBHII", 0x80, 26 | (0x80 if is_last else 0), sequence & 0xFFFF, stamp, 0xCAFE
        )
        # Type 1: 4:2:0; sizes in units of eight pixels.
        main = struct.pack(">I", offset) + bytes([1, 255, width // 8, height // 8])
        yield rtp + main + head + piece
        offset += len(piece)
        sequence += 1


def _parts(jpeg: bytes) -> tuple[bytes, int, int, bytes]:
    """Quantisation tables, width, height and the entropy-coded data of a baseline JPEG."""
    tables, width, height, at = b"", 0, 0, 2
    while True:
        marker, length = struct.unpack_from(">HH", jpeg, at)
        body = jpeg[at + 4 : at + 2 + length]
        if marker == 0xFFDB:
            for begin in range(0, len(body), 65):
                tables += body[begin + 1 : begin + 65]
        elif marker == 0xFFC0:
            height, width = struct.unpack_from(">HH", body, 1)
        elif marker == 0xFFDA:
            return tables, width, height, jpeg[at + 2 + length : jpeg.rindex(b"\xff\xd9")]
        at += 2 + length


def _requests(coming: io.BufferedReader) -> Iterator[tuple[str, dict[str, str]]]:
    """Methods and headers (names in small letters); what is no request (RTCP) is passed over."""
    read: Callable[[int], bytes] = coming.read
    while first := read(1):
        if first == b"$":
            _, length = struct.unpack(">BH", read(3))
            read(length)
            continue
        line = (first + coming.readline()).decode().strip()
        headers = {}
        while header := coming.readline().decode().strip():
            name, _, value = header.partition(":")
            headers[name.strip().lower()] = value.strip()
        read(int(headers.get("content-length", "0")))
        if line:
            yield line.split()[0], headers


def _response(status: str, number: str, headers: dict[str, str], body: str = "") -> bytes:
    lines = [f"RTSP/1.0 {status}", f"CSeq: {number}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
