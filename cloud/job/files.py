"""The host paths of a local job: its root folder, sample lists, and the file it deploys."""

from collections.abc import Callable
from pathlib import Path

from lifelong.errors import SednaError
from lifelong.links.durable_files import write_whole

DEPLOYED = "deploy/index.pkl"
Write = Callable[[Path, bytes], None]


class JobFiles:
    """Reads and writes what a manifest names, under a folder that plays the host's root."""

    def __init__(self, root: Path, output_dir: str, write: Write = write_whole) -> None:
        """Args:
        output_dir: a host path, as the manifest has it.
        """
        self._root = root
        self._output = output_dir.rstrip("/")
        self._write = write

    @property
    def prefix(self) -> str:
        """What workers get as DATA_PATH_PREFIX; empty when the root is the machine's own."""
        return str(self._root).rstrip("/")

    def host(self, path: str) -> Path:
        """A host path of the manifest, under our root.

        Raises:
            SednaError: an URL, or a path that leaves the root.
        """
        if "://" in path:
            raise SednaError(f"{path}: the local job works on host paths; use an overlay of those")
        inside = (self._root / path.lstrip("/")).resolve()
        if not inside.is_relative_to(self._root.resolve()):
            raise SednaError(f"{path}: leaves the job's root folder")
        return inside

    def output(self, *parts: str | int) -> str:
        """A path under outputDir, as the manifest would name it."""
        return "/".join([self._output, *(str(part) for part in parts)])

    def make_folders(self) -> None:
        """Those that Sedna's local controller makes; `train/N` is the worker's to make."""
        for part in ("data/train", "data/eval", "train", "eval"):
            self.host(self.output(part)).mkdir(parents=True, exist_ok=True)

    def write_list(self, kind: str, number: int, name: str, content: bytes) -> str:
        """A round's sample list; answers its path."""
        url = self.output("data", kind, number, name)
        path = self.host(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(path, content)
        return url

    def deploy(self, url: str, *, is_truncated: bool = True) -> None:
        """Copy a model over the deployed one; whole, unless a fault wants Sedna's way.

        Raises:
            SednaError: there is no such model.
        """
        source, target = self.host(url), self.host(self.output(DEPLOYED))
        try:
            data = source.read_bytes()
        except OSError as error:
            raise SednaError(f"{url}: the model to deploy is not there ({error})") from error
        target.parent.mkdir(parents=True, exist_ok=True)
        if not is_truncated and target.exists():
            old = target.read_bytes()
            data += old[len(data) :]
        self._write(target, data)

    def exists(self, url: str) -> bool:
        """Does a file of the job lie there?"""
        return bool(url) and "://" not in url and self.host(url).is_file()
