"""`cornerloop-edge check`: can this node do its work? One finding a line."""

from collections.abc import Iterator
from dataclasses import dataclass

from edge.assembly import edge_section, loader
from edge.models.loaded_models import warm_up
from edge.models.model_updates import verified_bundle
from edge.models.trust import Trust, active_keys, open_trust
from edge.privacy import Privacy
from lifelong.config import Config, load_label_map
from lifelong.errors import LifelongError
from lifelong.links.storage import open_storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.keys import CURRENT_RELEASE
from lifelong.sections.edge import FolderSource, VideoSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    is_good: bool
    subject: str  # config, keys, source, storage, model, segmentation
    text: str


def findings(config: Config) -> Iterator[Finding]:
    """Look at everything the node needs, without changing anything; later steps may need earlier
    ones, so looking ends at the first that makes the rest pointless."""
    try:
        edge = edge_section(config)
        label_map = load_label_map(config)
        Privacy(edge.privacy, label_map)  # knows its classes, or says which it does not
        yield _good("config", f"node {edge.id}, {len(label_map)} classes ({label_map.digest})")
    except LifelongError as error:
        yield _bad("config", error)
        return
    try:
        held = open_trust(edge.updates, edge.state_path)
        trust = Trust(held.ring, accepts_unsigned=held.accepts_unsigned)  # keeps nothing
        yield _good("keys", _trusted(trust))
    except LifelongError as error:
        yield _bad("keys", error)
        return
    if isinstance(edge.source, FolderSource | VideoSource) and not edge.source.path.exists():
        yield _bad("source", f"{edge.source.path} does not exist; create it or correct edge.source")
    else:
        yield _good("source", edge.source.type)
    try:
        storage = open_storage(config.storage)
        pointer = storage.get(CURRENT_RELEASE) if storage.exists(CURRENT_RELEASE) else None
        yield _good("storage", f"{storage.url} answers")
    except LifelongError as error:
        yield _bad("storage", error)
        return
    if pointer is None:
        yield _bad("model", "none is released yet; `run` will wait for one")
        return
    try:
        trust.refresh(storage)
        release = trust.release(pointer, CURRENT_RELEASE)
        data = storage.get(release.bundle_key, sha256=release.sha256)
        bundle = verified_bundle(data, release, label_map.digest)
        signer = f"signed by {release.key_id}" if release.signature else "not signed"
        size = len(bundle.onnx) / 2**20
        yield _good("model", f"version {bundle.version_id}, {size:.1f} MiB, {signer}")
        yield _segmentation(bundle, config)
    except LifelongError as error:
        yield _bad("model", error)


def _segmentation(bundle: ModelBundle, config: Config) -> Finding:
    try:
        segmenter = loader(edge_section(config))(bundle)
        warm_up(segmenter, bundle)
    except LifelongError as error:
        return _bad("segmentation", error)
    how = bundle.manifest.preprocessing
    return _good(
        "segmentation",
        f"a grey {how.width}x{how.height} image was answered by {segmenter.provider}",
    )


def _trusted(trust: Trust) -> str:
    unsigned = "unsigned models are accepted" if trust.accepts_unsigned else "all must be signed"
    if trust.ring is None:
        return f"no key is trusted, {unsigned}"
    return (
        f"ring {trust.serial}: {', '.join(active_keys(trust.ring)) or 'no active key'}; {unsigned}"
    )


def _good(subject: str, text: str) -> Finding:
    return Finding(is_good=True, subject=subject, text=text)


def _bad(subject: str, text: object) -> Finding:
    return Finding(is_good=False, subject=subject, text=" ".join(str(text).split()))
