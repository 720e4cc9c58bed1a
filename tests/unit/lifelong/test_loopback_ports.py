"""A free port is the wanted one, or another when somebody listens there."""

import socket

from lifelong.links.loopback_ports import free_port


def test_the_wanted_port_is_kept_while_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert free_port(port) != port
