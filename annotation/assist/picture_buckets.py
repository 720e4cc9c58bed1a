"""Pictures in object storage: by an account of our own, or by the way that Label Studio knows."""

import base64
import os
from collections.abc import Callable, Mapping
from urllib.parse import quote

from annotation.assist.picture_sources import FRESH_S, Fetched, Wanted, also_said, fetched
from annotation.assist.studio_files import StudioFiles
from lifelong.errors import ConfigError, PictureAccessError, StorageError
from lifelong.links.storage import Storage, open_storage

_STORE = "bucket "
# Whoever has one of these variables has an account: without, object_store would go and look for
# the metadata service of a cloud, which takes its time to be absent.
_ACCOUNTS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "ACCESS_KEY_ID",
        "S3_ENDPOINT_URL",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
    ),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME",),
}


class Buckets:
    """Objects in S3, Google's or Azure's storage: by our own account, or where Label Studio leads.

    Of Label Studio's own account nothing is known here; it streams the object, or redirects to a
    presigned address, which is asked without a token.
    """

    def __init__(
        self,
        files: StudioFiles,
        *,
        max_bytes: int,
        open_: Callable[[str], Storage] = open_storage,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._open = open_
        self._environ = environ

    def fetch(self, wanted: Wanted, mark: str) -> Fetched:
        name = wanted.address.name
        scheme, _, rest = wanted.address.place.partition("://")
        said = "no account for it here"
        if any(self._environ.get(variable) for variable in _ACCOUNTS[scheme]):
            try:
                return self._by_ourselves(scheme, rest, mark)
            except (StorageError, ConfigError) as error:
                said = f"our own account: {error}"
        owner = wanted.address.owner or (f"tasks/{wanted.task_id}" if wanted.task_id else "")
        if not owner:
            raise PictureAccessError(
                f"{name}: {said}, and without a task Label Studio cannot be asked; set one of "
                f"{', '.join(_ACCOUNTS[scheme][:2])}"
            )
        return self._by_label_studio(wanted, owner, said, mark)

    def _by_ourselves(self, scheme: str, rest: str, mark: str) -> Fetched:
        bucket, _, key = rest.partition("/")
        known = mark.removeprefix(_STORE) if mark.startswith(_STORE) else ""
        found = self._open(f"{scheme}://{bucket}").read_if_changed(
            key, known, max_bytes=self._max_bytes
        )
        if found is None:
            return Fetched(data=None, mark=mark, fresh_s=FRESH_S)
        data, new = found
        return Fetched(data=data, mark=new and _STORE + new, fresh_s=FRESH_S)

    def _by_label_studio(self, wanted: Wanted, owner: str, said: str, mark: str) -> Fetched:
        name, place = wanted.address.name, wanted.address.place
        if place.startswith("az://"):
            place = f"azure-blob{place[2:]}"
        uri = base64.urlsafe_b64encode(place.encode()).decode()
        try:
            answer = self._files.get(
                f"{owner}/resolve/?fileuri={quote(uri)}",
                name=name,
                project=wanted.project,
                mark=mark,
            )
        except PictureAccessError as error:
            raise also_said(error, name, f"{said}; ") from None
        missing = (
            f"{said}, and Label Studio knows no storage with that bucket, or no such object in it; "
            "add the bucket under the project's Cloud Storage, or give this machine an account "
            f"({', '.join(_ACCOUNTS[place.partition('://')[0].replace('azure-blob', 'az')][:2])})"
        )
        return fetched(answer, name, missing, FRESH_S)
