"""Everything that `cornerloop doctor` looks at, in this order."""

from cloud.doctor.checks import Check
from cloud.doctor.dataset_checks import look_at_index, look_at_manifest
from cloud.doctor.label_studio_checks import look_at_label_studio, look_at_project
from cloud.doctor.machine_checks import look_at_device, look_at_disk, look_at_port
from cloud.doctor.models_checks import look_at_hashes, look_at_student, look_at_weights
from cloud.doctor.reach_checks import look_at_pictures, look_at_reach
from cloud.doctor.setup_checks import look_at_configuration, look_at_environment
from cloud.doctor.storage_checks import (
    look_at_edges,
    look_at_keys,
    look_at_knowledge_base,
    look_at_lease,
    look_at_log,
    look_at_releases,
    look_at_storage,
)
from cloud.doctor.web_checks import look_at_web

_IN_STORAGE = ("configuration", "storage")

CHECKS: dict[str, Check] = {
    "configuration": Check(
        what="can be read, and what it names is there", look=look_at_configuration, needs=()
    ),
    "environment": Check(
        what="variables that are needed, and slips in them", look=look_at_environment
    ),
    "disk": Check(what="rights, free bytes, free inodes", look=look_at_disk),
    "device": Check(what="torch, the GPU, memory", look=look_at_device),
    "port": Check(what="web.port is free, or ours", look=look_at_port),
    "web": Check(what="who is let in, the folder of tokens, TLS", look=look_at_web),
    "storage": Check(what="write, read, list, delete; its clock", look=look_at_storage),
    "kb": Check(what="the knowledge base opens", look=look_at_knowledge_base, needs=_IN_STORAGE),
    "kb-log": Check(
        what="every change of it is what was written",
        look=look_at_log,
        needs=_IN_STORAGE,
        is_long=True,
    ),
    "releases": Check(
        what="pointers, bundles, signatures", look=look_at_releases, needs=_IN_STORAGE
    ),
    "keys": Check(
        what="the signing key opens, and nodes trust it", look=look_at_keys, needs=_IN_STORAGE
    ),
    "lease": Check(what="nobody dead holds it", look=look_at_lease, needs=_IN_STORAGE),
    "edges": Check(what="nodes report, without alarms", look=look_at_edges, needs=_IN_STORAGE),
    "weights": Check(what="what drafts are made with is there", look=look_at_weights),
    "hashes": Check(
        what="pulled weights are the bytes they were", look=look_at_hashes, is_long=True
    ),
    "student": Check(what="training.init is there", look=look_at_student),
    "index": Check(
        what="the Dataset's index and the knowledge base agree",
        look=look_at_index,
        needs=(*_IN_STORAGE, "kb"),
    ),
    "manifest": Check(what="the job's manifest fits (--manifest)", look=look_at_manifest),
    "label-studio": Check(what="answers, version, token", look=look_at_label_studio),
    "reach": Check(what="addresses mean us where Label Studio runs", look=look_at_reach),
    "project": Check(
        what="our project: classes, settings, hints, model",
        look=look_at_project,
        needs=(*_IN_STORAGE, "label-studio"),
    ),
    "pictures": Check(
        what="Label Studio shows the next task's picture",
        look=look_at_pictures,
        needs=("configuration", "label-studio"),
    ),
}
