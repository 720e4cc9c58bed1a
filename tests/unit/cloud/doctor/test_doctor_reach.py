"""OPS-04: tokens, reach, pictures, our own pages; each fault injected (D9, D10, D14, D15)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloud.doctor.checks import Level
from cloud.doctor.list_of_checks import CHECKS
from cloud.doctor.reach_checks import is_loopback
from cloud.doctor.web_checks import validity_of
from lifelong.errors import LabelStudioRefusedError
from tests.unit.cloud.doctor.doctor_room import TOKEN, Ward, Web, serving
from tests.unit.cloud.doctor.test_doctor import an_access_token, both, setting, variable

Injury = Callable[[Ward], object]
ELSEWHERE = "http://203.0.113.9:8080"  # documentation's own network: nobody's machine


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    monkeypatch.delenv("CORNERLOOP_WEIGHTS", raising=False)
    with serving(Web()) as web, ExitStack() as held_open:
        yield Ward(tmp_path, web, held_open)


def refused(words: str) -> Injury:
    def injure(ward: Ward) -> None:
        def whoami() -> str:
            raise LabelStudioRefusedError(f"Label Studio answered 401 to: ask ({words})")

        setattr(ward.studio, "whoami", whoami)  # noqa: B010

    return injure


def certificate(days: int, *, from_days: int = -10, other_key: bool = False) -> Injury:
    """A certificate that is good from so many days to so many days after now."""

    def injure(ward: Ward) -> None:
        now = datetime.now(UTC)
        key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loop.example.org")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now + timedelta(days=from_days))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        (ward.folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (ward.folder / "tls.key").write_bytes(
            (other if other_key else key).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        setting("web.tls_certificate", "tls.crt")(ward)
        setting("web.tls_key", "tls.key")(ward)

    return injure


def open_folder(ward: Ward) -> None:
    (ward.folder / "access").mkdir(mode=0o755)
    (ward.folder / "access" / "tokens.json").write_text("{}")
    (ward.folder / "access" / "tokens.json").chmod(0o644)


def unreachable_model(ward: Ward) -> None:
    for number, (project, model) in list(ward.studio.models.items()):
        ward.studio.models[number] = (project, replace(model, trouble="Connection refused"))


def an_open_task(address: str) -> Injury:
    def injure(ward: Ward) -> None:
        body = {"data": {"image": address}, "meta": {}, "predictions": []}
        ward.studio.import_tasks(1, [body])

    return injure


FAULTS: dict[str, tuple[Injury, str, Level, str]] = {
    # D9: 401
    "legacy tokens are off": (
        refused("legacy token authentication has been disabled"),
        "label-studio", Level.BROKEN, "make a personal access token"),
    "token of another server": (
        refused("Invalid token."), "label-studio", Level.BROKEN, "no token of that server"),
    "personal token revoked": (
        both(variable("LS_TOKEN", an_access_token("refresh", 9999)),
             refused("Token is blacklisted")),
        "label-studio", Level.BROKEN, "was revoked"),
    "the word Bearer before it": (
        variable("LS_TOKEN", f"Bearer {TOKEN}"),
        "environment", Level.BROKEN, "the token alone"),
    # D10: images not found
    "a name of docker compose": (
        setting("label_studio.url", "http://label-studio.invalid:8080"),
        "reach", Level.BROKEN, "docker compose"),
    "bucket's server on loopback": (
        both(setting("label_studio.url", ELSEWHERE), setting("storage", "s3://bucket/x"),
             variable("AWS_ENDPOINT_URL", "http://localhost:9000")),
        "reach", Level.BROKEN, "as it is seen from everywhere"),
    "no way to a folder": (
        both(setting("label_studio.url", ELSEWHERE),
             setting("label_studio.local_files_root", None)),
        "reach", Level.BROKEN, "no way to our pictures"),
    "picture not served": (
        an_open_task("/data/local-files/?d=storage/images/gone.jpg"),
        "pictures", Level.BROKEN, "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"),
    "upload gone": (
        an_open_task("/data/upload/1/gone.jpg"), "pictures", Level.BROKEN, "cannot be shown"),
    "bucket that is not there": (
        both(variable("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
             variable("AWS_ACCESS_KEY_ID", "a"), variable("AWS_SECRET_ACCESS_KEY", "b"),
             an_open_task("s3://no-such-bucket/a.jpg")),
        "pictures", Level.BROKEN, "cannot be shown"),
    # D14: connected, but nothing happens
    "model on Label Studio's own loopback": (
        both(setting("label_studio.url", ELSEWHERE),
             setting("label_studio.ml_backend", "http://u:secret-word@127.0.0.1:8000/assist")),
        "reach", Level.BROKEN, "nothing happens"),
    "hints to Label Studio's own loopback": (
        both(setting("label_studio.url", ELSEWHERE),
             setting("label_studio.webhook_url", "http://localhost:8000")),
        "reach", Level.BROKEN, "host.docker.internal"),
    "nobody tells it of the model": (
        both(setting("label_studio.url", ELSEWHERE), setting("label_studio.ml_backend", "")),
        "reach", Level.WARNING, "clicks draw nothing"),
    "connected, answers here, not there": (
        unreachable_model, "project", Level.WARNING, "curl ADDRESS/health"),
    # D15: time-outs while loading
    "waits longer than Label Studio does": (
        setting("assist.patience_seconds", 300), "reach", Level.WARNING, "hangs up after 100 s"),
    # our own pages
    "access off for everybody": (
        both(setting("web.access", "off"), setting("web.host", "0.0.0.0")),
        "web", Level.BROKEN, "say `tokens`"),
    "tokens in the clear": (
        setting("web.host", "0.0.0.0"), "web", Level.WARNING, "tokens cross the network"),
    "open folder of tokens": (open_folder, "web", Level.BROKEN, "chmod 700"),
    "certificate run out": (certificate(-1), "web", Level.BROKEN, "has run out"),
    "certificate soon": (certificate(5), "web", Level.WARNING, "runs out on"),
    "certificate of tomorrow": (
        certificate(90, from_days=1), "web", Level.BROKEN, "look at this machine's clock"),
    "certificate of another key": (
        certificate(90, other_key=True), "web", Level.BROKEN, "does not belong to"),
    "certificate without key": (
        both(certificate(90), setting("web.tls_key", None)), "web", Level.BROKEN, "name both"),
    "no certificate at all": (
        both(certificate(90), lambda ward: (ward.folder / "tls.crt").write_text("not PEM")),
        "web", Level.BROKEN, "must be PEM"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_ops_04_each_fault_is_named_with_its_cure(ward: Ward, fault: str) -> None:
    """D9, D10, D14, D15 and what came with access."""
    injure, check, level, words = FAULTS[fault]
    injure(ward)
    before = sorted(path for path in ward.folder.rglob("*") if path != ward.folder / "config.yaml")
    needs = CHECKS[check].needs if check != "pictures" else ("configuration",)
    found = ward.look(*needs, check)
    told = [f for f in found[check].findings if f.level is level]
    assert any(words in f"{f.where}: {f.what} {f.to_do}" for f in told), found[check]
    assert all(f.to_do for f in told)
    assert TOKEN not in str(found) and "secret-word" not in str(found)
    after = sorted(path for path in ward.folder.rglob("*") if path != ward.folder / "config.yaml")
    assert after == before, "looking changes nothing"


def test_ops_04_a_good_certificate_and_a_closed_folder_are_well(ward: Ward) -> None:
    certificate(90)(ward)
    setting("web.host", "0.0.0.0")(ward)
    (ward.folder / "access").mkdir(mode=0o700)
    found = ward.look("configuration", "web")["web"].findings
    assert {f.level for f in found} == {Level.WELL}
    begins, ends = validity_of(ward.folder / "tls.crt")
    assert (ends - begins).days == 100


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://localhost", True),
        ("http://ls.localhost:1", True),
        ("http://0.0.0.0:8000", True),
        ("http://label-studio:8080", False),
        ("http://192.0.2.1", False),
        ("https://localhost.example.org", False),
    ],
)
def test_ops_04_what_means_the_machine_that_reads_it(url: str, is_ours: bool) -> None:
    assert is_loopback(url) is is_ours
