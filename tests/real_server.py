"""A real server in a thread of the test's own process, and a client that asks it."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import uvicorn


@contextmanager
def running(server: uvicorn.Server, bound: socket.socket) -> Iterator[int]:
    """Serve on the bound socket; yields its port, and ends server and socket afterwards."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        bound.close()


def ask(
    port: int,
    path: str,
    sent: Mapping[str, str] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    method: str = "GET",
    body: bytes | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request; status, headers, body."""
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=120, context=tls)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    )
    try:
        connection.request(method, path, body=body, headers=dict(sent or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()
    finally:
        connection.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait a minute for it; fail the test when it does not come."""
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")
