"""What a Sedna worker reads and writes besides storage: index lines in, one bundle file out."""

import os
from pathlib import Path

from lifelong.errors import SednaError
from lifelong.links.storage import open_storage

# The only name that Sedna's controllers look for; the content is our bundle, never a pickle.
OUTPUT_NAME = "index.pkl"


def write_output(output_url: str, data: bytes) -> str:
    """Put a bundle where Sedna expects this round's model; answers its URL.

    The folder does not exist yet in Sedna's local mode; the file appears whole or not at all.
    """
    if "://" in output_url:
        folder, _, name = output_url.rstrip("/").rpartition("/")
        open_storage(folder).put(f"{name}/{OUTPUT_NAME}", data)
    else:
        path = Path(output_url) / OUTPUT_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{OUTPUT_NAME}.{os.getpid()}")
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    return f"{output_url}/{OUTPUT_NAME}"


def read_model(url: str) -> bytes:
    """A bundle file that another worker of this job wrote.

    Raises:
        SednaError: it is not there.
    """
    if "://" in url:
        folder, _, name = url.rpartition("/")
        return open_storage(folder).get(name)
    try:
        return Path(url).read_bytes()
    except OSError as error:
        raise SednaError(f"{url}: the model to judge cannot be read ({error.strerror})") from error


def index_lines(url: str) -> list[str]:
    """Distinct sample lines of a Dataset index; blank and `#` lines are passed over.

    Sedna counts those as samples and repeats eval lines round after round.
    """
    text = read_model(url).decode("utf-8", errors="replace")
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
