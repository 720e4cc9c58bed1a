"""Files that Label Studio has, or knows the way to: asked with a token, failures in words."""

from annotation.assist.access import AccessTokens, Offer, ProjectAccess, Studio, offers
from annotation.assist.downloads import Download, Downloads, unreachable
from annotation.assist.hosts import Origin
from lifelong.errors import PictureAccessError

_REFUSED = frozenset({401, 403})
_NEW_TOKEN = "Put a token from its Account & Settings, best a personal access token,"


class StudioFiles:
    """Fetches by paths of the configured Label Studio; for many threads at once."""

    def __init__(self, studio: Studio, downloads: Downloads, tokens: AccessTokens) -> None:
        self._studio = studio
        self._downloads = downloads
        self._tokens = tokens

    @property
    def studio(self) -> Studio:
        return self._studio

    def get(self, path: str, *, name: str, project: ProjectAccess, mark: str = "") -> Download:
        """What it answers to the first token that it takes; the status may be any but a refusal.

        Args:
            path: quoted, with a query, without a leading slash.

        Raises:
            PictureAccessError: not reached, or no token is taken; says which setting to change.
        """
        tried: list[str] = []
        answer: Download | None = None
        for offer in offers(self._studio, project):
            answer, said = self._asked(path, name, offer, mark, project)
            if answer is not None and answer.status not in _REFUSED:
                return answer
            tried.append(f"{offer.source} ({said})")
        raise self._refused(name, answer, tried)

    def _asked(
        self, path: str, name: str, offer: Offer, mark: str, project: ProjectAccess
    ) -> tuple[Download | None, str]:
        """The answer to one token, and how it was taken; an access token may be renewed once."""
        answer: Download | None = None
        header = ""
        try:
            for _ in range(2 if offer.kind == "refresh" else 1):
                header = self._tokens.header(offer, after=header)
                if not header:
                    return answer, "a personal access token that was revoked or has run out"
                url = self._studio.at(path)
                answer = self._downloads.get(url, name=name, authorization=header, mark=mark)
                if answer.status != 401:
                    break
        except PictureAccessError as error:
            raise self._with_hint(error, project) from None
        assert answer is not None
        kinds = {"legacy": "a legacy token", "refresh": "a personal access token"}
        kind = kinds.get(offer.kind, "an access token of five minutes")
        return answer, f"{kind}, answered {answer.status}"

    def _with_hint(self, error: PictureAccessError, project: ProjectAccess) -> PictureAccessError:
        """The same failure; where only the network failed, with the setting to look at."""
        if not error.retryable or self._studio.origin.host not in str(error):
            return error  # not the network, or that of a bucket it redirected to
        says = project.hostname.rstrip("/")
        own = self._studio.url.rstrip("/")
        calls = f", and Label Studio calls itself {says[:100]}" if says and says != own else ""
        return unreachable(f"{error}; label_studio.url is {self._studio.origin}{calls}")

    def _refused(self, name: str, answer: Download | None, tried: list[str]) -> PictureAccessError:
        env = self._studio.token_env
        if not tried:
            return PictureAccessError(
                f"{name}: Label Studio gives it only to those who have a token. {_NEW_TOKEN} into "
                f"{env}"
            )
        if answer is not None and answer.origin != self._studio.origin:
            return _redirected(name, answer.origin, self._studio)
        if answer is not None and b"LOCAL_FILES_SERVING_ENABLED" in answer.data:
            return PictureAccessError(
                f"{name}: Label Studio does not serve local files; start it with "
                "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true, or set "
                "label_studio.local_files_root to where its folder can be read here"
            )
        takes = f"does not take {tried[0]}" if len(tried) == 1 else f"takes none: {_and(tried)}"
        off = "; legacy tokens are switched off" if answer and b"legacy" in answer.data else ""
        return PictureAccessError(
            f"{name}: Label Studio at {self._studio.origin} {takes}{off}. {_NEW_TOKEN} into {env}"
        )


def _and(words: list[str]) -> str:
    return " and ".join(words)


def _redirected(name: str, origin: Origin, studio: Studio) -> PictureAccessError:
    """Refused by somebody else than who got the token: most often http that moved to https."""
    if origin.host == studio.origin.host:
        return PictureAccessError(
            f"{name}: Label Studio at {studio.origin} redirects to {origin}, where its token is "
            f"not sent; set label_studio.url to {origin}"
        )
    return PictureAccessError(
        f"{name}: Label Studio redirects to {origin}, which refuses it; the token of Label Studio "
        "is not sent there, and the address must be good without one"
    )
