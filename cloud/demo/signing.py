"""The demo signs its models: a key of the run's own, in the run's folder, without a password."""

from pathlib import Path

from cloud.assembly import open_cloud
from cloud.demo.run_config import SIGNING, rewrite_config
from cloud.releasing.key_rings import first_ring, publish_ring
from cloud.releasing.signing_keys import new_seed, read_secret, write_secret
from lifelong.config import load_config
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now
from lifelong.records.wire import to_json


def sign_models(config_path: Path) -> None:
    """Make key and ring if there are none; a run from before models were signed gets them, too."""
    if load_config(config_path).releases.signing_key is None:
        rewrite_config(config_path, SIGNING)
    config = load_config(config_path)
    secret = config.releases.signing_key
    if secret is None or config.edge is None or config.edge.updates.trusted_keys is None:
        return  # somebody wrote this run's configuration by hand
    signer = (
        read_secret(secret, "", config.releases.signing_password_env)
        if secret.exists()
        else write_secret(secret, new_seed(), None)
    )
    cloud = open_cloud(config)
    if not config.edge.updates.trusted_keys.exists():
        ring = first_ring(signer, utc_now(), "the demo's own")
        publish_ring(cloud.storage, ring)
        write_whole(config.edge.updates.trusted_keys, to_json(ring))
    release = cloud.releases.for_everybody()
    if release is not None and not release.signature:
        cloud.releases.sign_anew("signed from now on")
