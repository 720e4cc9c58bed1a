"""Where things lie in storage: the keys that edge, cloud and workers agree on."""

from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId

INBOX = "inbox"
# What a delivery consists of; the record comes last and says that the others are there.
IMAGE, MASK, RECORD = "image.jpg", "mask.png", "example.json"
CURRENT_RELEASE = "releases/current.json"  # what every node is to run
STAGED_RELEASE = "releases/staged.json"  # what a share of the nodes is to run before the others
KEY_RING = "keys/ring.json"  # the public keys that sign releases, signed itself
CHUNKS = "chunks"  # pieces of bundles
ROLLOUTS = "rollouts"  # one object a staged release: how far it has come, and why not farther
EDGES = "edges"  # one folder a node: health.json by the node, budget.json by the cloud
ESCALATIONS = "escalations"  # one folder a node and question
RECEIPTS = "receipts"  # one folder a node: what the inbox did with its deliveries
EXAMPLES = "examples"  # the records of what was admitted
ADMISSIONS = "admissions"  # numbered objects: which examples were admitted, in order
LABEL_MAPS = "label_maps"  # numbered objects: how each label map became the next
REFUSED = "refused"  # deliveries that did not verify
FORGOTTEN = "forgotten"  # one object a picture that is never taken in again
TRAINING_PROGRESS = "progress/training.json"  # how far the training that runs now is
FORGETTING = "forgetting"  # requests that are being carried out


def delivery(edge_id: EdgeId, sample_id: SampleId) -> str:
    """The folder of one delivery of an edge."""
    return f"{INBOX}/{edge_id}/{sample_id}"


def part_key(folder: str, sha256: str) -> str:
    """A part of a file of the delivery in `folder`, under the SHA-256 of its bytes."""
    return f"{folder}/parts/{sha256}"


def receipt_key(edge_id: EdgeId, sample_id: SampleId) -> str:
    """What the inbox did with a delivery."""
    return f"{RECEIPTS}/{edge_id}/{sample_id}.json"


def example_record_key(sample_id: SampleId) -> str:
    """The record of an admitted example."""
    return f"{EXAMPLES}/{sample_id}.json"


def forgotten_key(sample_id: SampleId) -> str:
    """Says that a picture was forgotten on request."""
    return f"{FORGOTTEN}/{sample_id}.json"


def health_key(edge_id: EdgeId) -> str:
    """What an edge last said of itself."""
    return f"{EDGES}/{edge_id}/health.json"


def budget_key(edge_id: EdgeId) -> str:
    """What the cloud allows an edge to send."""
    return f"{EDGES}/{edge_id}/budget.json"


def image_key(sample_id: SampleId) -> str:
    """An admitted picture."""
    return f"images/{sample_id}.jpg"


def edge_mask_key(sample_id: SampleId) -> str:
    """What the edge's model answered for it."""
    return f"edge_masks/{sample_id}.png"


def draft_key(round_number: RoundNumber, sample_id: SampleId) -> str:
    """The mask that was drafted for it."""
    return f"drafts/{round_number}/{sample_id}.png"


def unsure_key(round_number: RoundNumber, sample_id: SampleId) -> str:
    """A picture that shows where that mask is unsure."""
    return f"drafts/{round_number}/{sample_id}.unsure.jpg"


def bundle_key(version_id: VersionId) -> str:
    """A version's bundle."""
    return f"models/{version_id}.bundle"


def chunk_list_key(version_id: VersionId) -> str:
    """Of which chunks a version's bundle consists."""
    return f"models/{version_id}.chunks.json"


def chunk_key(sha256: str) -> str:
    """A chunk of bundles, named by its content."""
    return f"{CHUNKS}/{sha256}"


def key_ring_key(serial: int) -> str:
    """One ring of the chain, for nodes that missed some."""
    return f"keys/rings/{serial:06d}.json"


def weights_key(version_id: VersionId) -> str:
    """A version's weights (safetensors), for training on."""
    return f"models/{version_id}.safetensors"
