"""Debian's Chromium for tests, and somebody who has logged in to Label Studio with it."""

from pathlib import Path

from playwright.sync_api import Page

from annotation.label_studio_server import LabelStudioServer

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def log_in(page: Page, server: LabelStudioServer) -> None:
    """As the server's own user."""
    page.goto(f"{server.url}/user/login/?next=/projects/")
    page.fill("#email", server.email)
    page.fill("#password", server.password)
    page.click("button[type=submit]")
    page.wait_for_url("**/projects/", wait_until="commit", timeout=30_000)
