"""A port of this machine's loopback on which nothing listens yet."""

import socket

from lifelong.errors import LinkError


def free_port(wanted: int = 0) -> int:
    """`wanted` when it is free on the loopback, else (or for 0) one that is free now.

    Raises:
        LinkError: there is none.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LinkError("no free port on 127.0.0.1; end something that listens there")
