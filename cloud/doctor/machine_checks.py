"""The doctor's look at this machine: disks, memory, the device that computes, the port."""

import json
import os
import socket
import ssl
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from lifelong.sections.web import WebSection

LOW_BYTES = 2**30  # a round writes a candidate, its checkpoint and drafts: some hundred MiB
NO_BYTES = 100 * 2**20
LOW_INODES = 10_000
NO_INODES = 1_000
LOW_MEMORY = 2**30
LOW_GPU_MEMORY = 2 * 2**30
_TIMEOUT = 2.0  # seconds, of a page that is near
_MEMINFO = Path("/proc/meminfo")


def look_at_disk(patient: Patient) -> Iterable[Finding]:
    """May we write where we must, and is there room, in bytes and in files?"""
    config, dataset = patient.config, patient.config.job.dataset_path
    places = {
        "storage": patient.storage_folder,
        "journal_path": config.journal_path,
        "work folder": config.journal_path.parent / "training",
        "job.dataset_path": dataset if isinstance(dataset, Path) else None,
        "annotation_folder": config.annotation_folder,
    }
    found = [
        finding
        for name, path in places.items()
        if path is not None
        for finding in _place(name, path, patient)
    ]
    yield from found
    if not found:
        folders = dict.fromkeys(str(_existing(path)) for path in places.values() if path)
        yield well(", ".join(folders), "can be written, and have room")


def _place(name: str, path: Path, patient: Patient) -> Iterator[Finding]:
    there = _existing(path)
    where = f"{name} {path}"
    if not there.is_dir():
        yield broken(where, f"{there} is a file", "name a folder")
        return
    space = patient.disk(there)
    if space.f_flag & os.ST_RDONLY:
        yield broken(where, "lies on a disk that is mounted read-only", "mount it for writing")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield broken(where, f"this user may not write in {there}", "change its owner or its rights")
    free = space.f_bavail * space.f_frsize
    if free < LOW_BYTES:
        make = broken if free < NO_BYTES else warning
        yield make(where, f"{free / 2**20:.0f} MiB are free", "free space, or use a larger disk")
    # Some file systems count no files at all.
    if space.f_files and space.f_favail < LOW_INODES:
        make = broken if space.f_favail < NO_INODES else warning
        yield make(
            where,
            f"{space.f_favail} more files can be made (inodes)",
            "remove small files, or make the file system anew with more inodes",
        )


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def look_at_device(patient: Patient) -> Iterable[Finding]:
    """Is there what training and drafts are to compute on?"""
    try:
        import torch
    except ImportError as error:
        yield broken(
            "torch", f"cannot be loaded ({error})", "install Cornerloop as the README says"
        )
        return
    config = patient.config
    found: list[Finding] = []
    wishes = {
        "training.device": config.training.device,
        "preannotation.device": config.preannotation.device,
    }
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for name, wish in wishes.items():
        found += _device(name, wish, count)
    found += _memory()
    for index in range(count):
        free, whole = torch.cuda.mem_get_info(index)
        if free < LOW_GPU_MEMORY:
            found.append(
                warning(
                    f"cuda:{index}",
                    f"{free / 2**30:.1f} of {whole / 2**30:.1f} GiB are free",
                    "see who uses it: `nvidia-smi`",
                )
            )
    yield from found
    if not found:
        yield well("torch", f"{torch.__version__}, {count} GPU(s)")


def _device(name: str, wish: str, count: int) -> Iterator[Finding]:
    kind, _, number = wish.partition(":")
    if kind in {"auto", "cpu"}:
        return
    if kind != "cuda" or (number and not number.isdigit()):
        yield broken(name, f"{wish!r} is no device", "use auto, cpu, cuda or cuda:1")
    elif count == 0:
        yield broken(
            name,
            f"{wish}, but torch finds no GPU here",
            "use auto or cpu; in a container, ask for the GPU and the image with CUDA",
        )
    elif int(number or 0) >= count:
        yield broken(name, f"{wish}, but there are {count} GPU(s)", "count them from cuda:0")


def _memory() -> Iterator[Finding]:
    if not _MEMINFO.exists():
        return
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
    free = int(lines.get("MemAvailable", "0 kB").split()[0]) * 1024
    if 0 < free < LOW_MEMORY:
        yield warning(
            "memory",
            f"{free / 2**20:.0f} MiB are available",
            "a training round of the default size wants about 2 GiB; end what is not needed",
        )


def look_at_port(patient: Patient) -> Iterable[Finding]:
    """Is the page's port free, or ours already?"""
    web = patient.config.web
    where = f"{web.host}:{web.port}"
    if web.port == 0:
        yield well(where, "a free port is chosen at the start")
        return
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((web.host, web.port))
        except PermissionError:
            yield broken(where, "this user may not open ports below 1024", "use another web.port")
            return
        except socket.gaierror as error:
            yield broken(where, f"web.host is no address here ({error})", "correct web.host")
            return
        except OSError as error:
            if _page_is_ours(web):
                yield well(where, "`cornerloop serve` answers there")
                return
            if web.tls_client_ca is not None and web.probe_port is None:
                yield warning(
                    where,
                    "is taken, and whoever answers wants a certificate of its clients",
                    "set web.probe_port, where it can be asked without one (docs/security.md)",
                )
                return
            yield broken(
                where,
                f"cannot be taken ({error.strerror}), and what answers is not `cornerloop serve`",
                "end the other program, or use another web.port",
            )
            return
    yield well(where, "is free")


def _page_is_ours(web: WebSection) -> bool:
    if web.tls_client_ca is not None and web.probe_port is not None:
        return is_ours(web.host, web.probe_port)
    return is_ours(web.host, web.port, is_tls=web.tls_certificate is not None)


def is_ours(host: str, port: int, *, is_tls: bool = False) -> bool:
    """Does a page of ours answer there?"""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    address = f"[{address}]" if ":" in address else address
    scheme = "https" if is_tls else "http"
    return health_of(f"{scheme}://{address}:{port}", verifies=False) == {"status": "up"}


def health_of(url: str, *, verifies: bool = True) -> object:
    """What `/healthz` says under an address; None when nothing of that kind answers.

    Args:
        verifies: look at its certificate; not needed to ask whether this machine's port is ours.
    """
    context = ssl.create_default_context()
    if not verifies:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(f"{url.rstrip('/')}/healthz", timeout=_TIMEOUT) as answer:
            return json.loads(answer.read(4096))
    except (OSError, ValueError):
        return None
