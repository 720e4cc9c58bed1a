"""Another user of a Label Studio server: signs up by invitation, as a person would."""

import re

import httpx

from annotation.label_studio_server import LabelStudioServer

_PASSWORD = "correct horse battery"


def colleague_token(server: LabelStudioServer, email: str) -> str:
    """A token of the user with this e-mail; signed up by the invite link when there is none yet."""
    owner = {"Authorization": f"Token {server.token}"}
    invite = httpx.get(f"{server.url}/api/invite", headers=owner, timeout=60)
    assert invite.is_success, invite.text
    link = str(invite.json()["invite_url"])
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=60) as browser:
        _send(browser, "/user/login/", email)
        answer = browser.get("/api/current-user/token")
        if not answer.is_success:
            _send(browser, link, email)
            answer = browser.get("/api/current-user/token")
        assert answer.is_success, answer.text
        return str(answer.json()["token"])


def _send(browser: httpx.Client, path: str, email: str) -> None:
    page = browser.get(path)
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found is not None, page.text[:300]
    browser.post(
        path,
        data={"email": email, "password": _PASSWORD, "csrfmiddlewaretoken": found.group(1)},
        headers={"Referer": str(page.url)},
    )
