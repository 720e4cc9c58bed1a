"""A Label Studio server of our own: starts offline, with a user and a token, without a click.

The settings come from measurements of Label Studio 1.23: nothing is inherited from the parent's
environment, nothing is sent home, and addresses of the own machine are allowed (by default every
ML backend and webhook on localhost is refused).
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from lifelong.errors import ConfigError, LabelStudioError, LabelStudioUnavailableError
from lifelong.links.durable_files import write_whole
from lifelong.links.loopback_ports import free_port

EMAIL = "annotator@cornerloop.example"
# A first start runs all migrations: 26 to 43 s measured, over 3 min on two cores that ten
# programs shared. A server that ended is told at once; one that still works is waited for.
_START_SECONDS = 600.0
_STOP_SECONDS = 6.0
SECRETS = "cornerloop-secrets.json"
KEYS = ".env"  # where Label Studio looks for the key that signs sessions and personal tokens
DATABASE = "label_studio.sqlite3"
_PRIVATE = 0o600  # of what only its owner may read
LOCK = "cornerloop.lock"  # held by whoever runs a server on the folder


class LabelStudioServer:
    """One Label Studio process on 127.0.0.1 with its data in `data_dir`; also a context manager.

    Raises:
        ConfigError: there is no such executable, or `data_dir` is in use by another server.
        LabelStudioUnavailableError: the server ended or did not answer in time; names the log.
    """

    def __init__(
        self,
        executable: Path,
        data_dir: Path,
        documents_root: Path,
        log: Path,
        *,
        template: Path | None = None,
        port: int = 0,
    ) -> None:
        """`documents_root` is what local files are served from; `template` a folder with migrated
        data that is copied for a first start (4 s instead of 40), and built when it is not there;
        `port` the only one it may listen at, 0: any, the same one at each start if it is free.
        """
        self._executable = executable.absolute()
        self._data_dir = data_dir.absolute()
        self._documents_root = documents_root.absolute()
        self._log = log.absolute()
        self._template = template.absolute() if template else None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._secrets: dict[str, str] = {}
        self._port = 0
        self._only_port = port
        self._gives_up: Callable[[], bool] = lambda: False

    @property
    def url(self) -> str:
        """Where it listens; known after the first `start`, the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def documents_root(self) -> Path:
        """The folder that local files are served from."""
        return self._documents_root

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the server; None while it does not run."""
        return self._process.pid if self._process is not None else None

    @property
    def email(self) -> str:
        """E-mail address of the only user."""
        return self._secret("email")

    @property
    def password(self) -> str:
        """Password of the only user."""
        return self._secret("password")

    @property
    def token(self) -> str:
        """Token for the API (a legacy token: it never expires and needs no refresh)."""
        return self._secret("token")

    def kept_token(self) -> str:
        """The token of this data folder, also while the server does not run here.

        Raises:
            LabelStudioError: it was never started.
        """
        kept = self._data_dir / SECRETS
        if not kept.exists():
            raise LabelStudioError(f"Label Studio in {self._data_dir} was never started; start it")
        return _kept_secrets(kept)["token"]

    def give_up_when(self, is_so: Callable[[], bool]) -> None:
        """Asked while a start waits; a signal's handler alone could miss a process just made."""
        self._gives_up = is_so

    def start(self) -> None:
        """Start and wait until the API answers to our token; nothing happens when it runs.

        Raises:
            KeyboardInterrupt: as `give_up_when` says; what was begun is ended.
        """
        if self._process is not None and self._process.poll() is None:
            return
        if not self._executable.is_file():
            raise ConfigError(
                f"{self._executable}: no such file; `make setup` in the clone installs "
                "it, --executable names another"
            )
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._prepare()
            self._spawn(
                {
                    "LABEL_STUDIO_USERNAME": self.email,
                    "LABEL_STUDIO_PASSWORD": self.password,
                    "LABEL_STUDIO_USER_TOKEN": self.token,
                    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
                }
            )
            self._wait_until(self._answers_to_our_token)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask it to end, then insist; nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            asks = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
            # SIGINT ends it cleanly, but a child ignores it when we do (we were started by `… &`).
            for sent in asks[signal.getsignal(signal.SIGINT) is signal.SIG_IGN :]:
                if process.poll() is not None:
                    break
                process.send_signal(sent)
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        self._release_lock()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._release_lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        self._refuse_taken(free_port(self._only_port))  # before the minute that a template takes
        if self._template is not None and not (self._data_dir / DATABASE).exists():
            if not self._template.exists():
                self._build_template(self._template)
            but_database = shutil.ignore_patterns(DATABASE)
            shutil.copytree(self._template, self._data_dir, ignore=but_database, dirs_exist_ok=True)
            # Last and whole: a copy that is cut off must not look like a finished one.
            part = self._data_dir / f"{DATABASE}.part"
            shutil.copyfile(self._template / DATABASE, part)
            part.rename(self._data_dir / DATABASE)
        self._documents_root.mkdir(parents=True, exist_ok=True)
        self._secrets = _kept_secrets(self._data_dir / SECRETS)
        self._port = free_port(self._only_port or self._port or int(self._secrets.get("port", "0")))
        self._refuse_taken(self._port)
        self._secrets["port"] = str(self._port)
        write_whole(self._data_dir / SECRETS, json.dumps(self._secrets).encode(), _PRIVATE)
        _keep_secret_key(self._data_dir / KEYS)

    def _refuse_taken(self, port: int) -> None:
        if self._only_port not in (0, port):
            raise ConfigError(
                f"port {self._only_port} of 127.0.0.1 is taken; end what listens there, or name "
                "another in label_studio.url"
            )

    def _secret(self, name: str) -> str:
        if name not in self._secrets:
            raise LabelStudioError(f"Label Studio in {self._data_dir} was never started")
        return self._secrets[name]

    def _build_template(self, template: Path) -> None:
        """Migrate an empty data folder once, without a user, and keep it under `template`."""
        unfinished = template.with_name(f"{template.name}.{secrets.token_hex(4)}")
        builder = LabelStudioServer(
            self._executable, unfinished, unfinished / "documents", self._log
        )
        unfinished.mkdir(parents=True)
        builder._port = free_port(0)
        builder.give_up_when(self._gives_up)
        builder._take_lock()
        try:
            builder._spawn({})
            builder._wait_until(builder._is_up)
            builder.stop()
            (unfinished / KEYS).unlink(missing_ok=True)  # each copy gets its own secret key
            try:
                unfinished.rename(template)
            except OSError:
                if not template.exists():  # else somebody was faster, and theirs is as good
                    raise
        finally:
            builder.stop()
            shutil.rmtree(unfinished, ignore_errors=True)

    def _spawn(self, user: dict[str, str]) -> None:
        work = self._data_dir / "cwd"  # empty: files in it could shadow Label Studio's own modules
        work.mkdir(exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        assert self._lock is not None
        command = [str(self._executable), "start", "--no-browser"]
        command += ["--internal-host", "127.0.0.1", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=work,
                env=_environment(self._data_dir, self._documents_root) | user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for us; we end the server when we no longer need it
                pass_fds=(self._lock.fileno(),),  # the lock lives as long as the server does
            )
        self._lock.truncate(0)
        self._lock.write(str(self._process.pid))
        self._lock.flush()

    def _wait_until(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready():
            assert self._process is not None
            if self._gives_up():
                raise KeyboardInterrupt
            if self._process.poll() is not None:
                raise LabelStudioUnavailableError(
                    f"Label Studio ended while starting (exit {self._process.returncode}); "
                    f"read {self._log}: {_last_line(self._log)}"
                )
            if time.monotonic() > deadline:
                raise LabelStudioUnavailableError(
                    f"Label Studio at {self.url} did not answer in {_START_SECONDS:.0f} s; "
                    f"read {self._log}: {_last_line(self._log)}"
                )
            time.sleep(0.1)

    def _is_up(self) -> bool:
        return _get(f"{self.url}/health", token=None) is not None

    def _answers_to_our_token(self) -> bool:
        # /health alone could be somebody else's: Label Studio moves on to the next port when
        # its own is taken.
        answer = _get(f"{self.url}/api/current-user/whoami", token=self.token)
        return answer is not None and self.email.encode() in answer

    def _take_lock(self) -> None:
        self._release_lock()
        lock = (self._data_dir / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            pid = lock.read().strip() or "?"
            lock.close()
            raise ConfigError(
                f"{self._data_dir}: a Label Studio server already runs on this folder "
                f"(process {pid}); stop it or choose another folder"
            ) from error
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _environment(data_dir: Path, documents_root: Path) -> dict[str, str]:
    """Everything the server is told, and nothing of what our own process was told.

    Label Studio also reads bare names like HOST, PORT, DEBUG or PASSWORD, so nothing is passed on
    but what a program needs to run at all.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": str(data_dir),
        "XDG_CONFIG_HOME": str(data_dir / "xdg"),
        "PYTHONUTF8": "1",
        "DJANGO_DB": "sqlite",
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir),
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(documents_root),
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",  # empty, not unset: unset means the makers' own
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        # By default every private address is refused, our own machine included; the addresses
        # where clouds hand out credentials stay forbidden.
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16",
        "LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS": "false",
        "LABEL_STUDIO_LOG_LEVEL": "WARNING",
    }


def _kept_secrets(path: Path) -> dict[str, str]:
    """User, password and token of this data folder; made up on the first start."""
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in kept.items()}
    return {
        "email": EMAIL,
        "password": secrets.token_urlsafe(18),
        "token": secrets.token_hex(20),
    }


def _keep_secret_key(path: Path) -> None:
    """Have a key in `path` that a server reads as it is written.

    Label Studio makes up a key with any of 50 signs, `$` among them, and reads the file through
    django-environ, to which a first `$` means "the variable of that name". One key in fifty is
    nothing after a restart therefore: everybody is signed out, and no personal token is valid.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    keys = re.findall(r"^(?:export )?SECRET_KEY=[\"']?(.*)$", text, re.MULTILINE)
    if not keys or keys[-1][:1] in ("", "$"):  # the last line counts
        line = f"SECRET_KEY={secrets.token_urlsafe(48)}\n"
        whole = f"{text.rstrip()}\n{line}" if text.strip() else line
        write_whole(path, whole.encode(), _PRIVATE)


def _get(url: str, *, token: str | None) -> bytes | None:
    """The answer to a GET, or None when there is none yet."""
    headers = {"Authorization": f"Token {token}"} if token else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return None


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "(the log is empty)"
