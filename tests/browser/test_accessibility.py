"""Pages that everybody can use: axe-core's rules hold on each page that links lead to.

axe knows the Web Content Accessibility Guidelines as far as a program can: names of what can be
pressed, order of headings, contrast, what a screen reader is told, what a keyboard reaches.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from cloud.access.gate import cookie_name
from cloud.access.permissions import Role
from cloud.access.transport import careful, listening
from tests.chromium import CHROMIUM
from tests.real_server import running
from tests.whole_house import Grounds, some_grounds

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]
FIRST = ["/", "/correct", "/access"]  # from here links lead everywhere


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    return some_grounds(tmp_path_factory.mktemp("grounds"))


@pytest.fixture(scope="module")
def home(grounds: Grounds) -> Iterator[str]:
    server = uvicorn.Server(careful(grounds.house.gate))
    with running(server, listening("127.0.0.1", 0)) as port:
        yield f"http://127.0.0.1:{port}"


def kind_of(path: str) -> str:
    """The same for pages that differ in what they tell of alone."""
    return re.sub(r"\d+|(?<=edges/)[^/]+", "N", path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ux_07_ux_09_every_page_keeps_the_rules_for_accessible_pages(
    grounds: Grounds, home: str, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    """Seen: charts told screen readers that they were pictures, with buttons inside."""
    entered = grounds.house.book.enter(grounds.house.book.make_link(Role.ADMIN, "anybody")[1])
    assert entered is not None
    context = browser.new_context(color_scheme=scheme)
    name = cookie_name(grounds.house.book)
    context.add_cookies([{"name": name, "value": entered[1], "url": home}])
    page = context.new_page()
    waiting, looked_at = [*FIRST, "/enter"], dict[str, str]()
    broken: set[str] = set()
    while waiting:
        path = waiting.pop(0)
        if kind_of(path) in looked_at:
            continue
        answer = page.goto(home + path)
        assert answer is not None and answer.status == 200, path
        if "text/html" not in answer.headers["content-type"]:
            looked_at[kind_of(path)] = "no page"
            continue
        page.wait_for_function(
            "[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg'))"
        )
        found = Axe().run(page).response
        for rule in found["violations"]:
            for node in rule["nodes"]:
                broken.add(f"{path}: {rule['id']} ({rule['help']}): {node['html'][:200]}")
        looked_at[kind_of(path)] = str(len(found["passes"]))
        links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        ours = [urlsplit(one).path for one in links if one.startswith(home + "/")]
        waiting += [one for one in ours if Path(one).suffix == ""]
    context.close()
    assert broken == set()
    assert {"/", "/rounds/N", "/learning", "/edges/N", "/releases/N", "/correct"} <= set(looked_at)
    assert min(int(rules) for rules in looked_at.values() if rules.isdigit()) >= 10
