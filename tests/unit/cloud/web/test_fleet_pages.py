"""UX-10, UX-07: pages of edges, releases and learning, over a loop that has run for long."""

import re
from dataclasses import replace

import pytest

from cloud.monitor.learning_facts import verdicts
from cloud.monitor.look import Look
from cloud.web.learning_charts import verdicts_chart
from lifelong.links.journal import utc_now
from lifelong.links.storage import open_storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId
from lifelong.records.keys import bundle_key
from tests.builders import NOON
from tests.large_loop import live_long, version_of
from tests.web_parts import a_client, a_watch, some_parts

PAGES = ("/edges", "/releases", "/learning")


@pytest.fixture(scope="module")
def look(tmp_path_factory) -> Look:
    storage = open_storage("memory://")
    live_long(storage, rounds=60, samples=4, edges=70, pictures=0)
    storage.put(bundle_key(version_of(59)), b"x" * 2048)
    return a_watch(storage, tmp_path_factory.mktemp("journal")).refresh()


@pytest.fixture(scope="module")
def client(look):
    return a_client(some_parts(look=look))


def rows(page: str) -> list[str]:
    """The names in the first column of every table."""
    return re.findall(r'<th scope="row"[^>]*>(?:<a [^>]*>)?([^<]+)', page)


@pytest.mark.parametrize("address", PAGES)
def test_an_empty_page_says_why_it_is_empty(address):
    page = a_client(some_parts(look=Look(at=utc_now()))).get(address)
    assert page.status_code == 200
    assert 'class="nothing"' in page.text
    assert "None" not in page.text and "nan" not in page.text


@pytest.mark.parametrize("address", [*PAGES, "/releases/20", "/edges/edge-00010"])
def test_no_page_has_a_script_of_its_own_or_of_a_foreign_host(client, address):
    page = client.get(address).text
    assert not re.search(r"\son\w+=", page)
    for script in re.findall(r"<script[^>]*>", page):
        assert 'src="/static/' in script or 'type="application/json"' in script
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert ">nan<" not in page.lower() and ">None<" not in page


def test_edges_stand_gravest_first_a_page_at_a_time(client):
    first, second = client.get("/edges").text, client.get("/edges?page=2").text
    names = rows(first)
    assert len(names) == 25
    assert names[:6] == [f"edge-{n:05d}" for n in (10, 21, 32, 43, 54, 65)], "hot ones alarm"
    assert names[6:9] == ["edge-00008", "edge-00017", "edge-00026"], "then those behind"
    assert not set(names) & set(rows(second))
    assert rows(client.get("/edges?page=99").text) == rows(client.get("/edges?page=3").text)


def test_edges_are_found_by_name_state_and_version_without_a_script(client):
    assert rows(client.get("/edges?q=-0004").text) == [
        "edge-00043",
        "edge-00044",
        *(f"edge-{n:05d}" for n in (40, 41, 42, 45, 46, 47, 48, 49)),
    ]
    assert len(rows(client.get("/edges?state=alarm").text)) == 6
    behind = rows(client.get(f"/edges?version={version_of(0)}").text)
    assert set(behind) == {f"edge-{n:05d}" for n in range(8, 70, 9)}
    page = client.get("/edges?state=well&q=edge&page=2").text
    assert 'href="/edges?page=1&amp;q=edge&amp;state=well"' in page, "the search goes along"
    assert "No node is like this" in client.get("/edges?q=nobody").text
    assert client.get("/edges?q=<script>").text.count("<script>") == 0


def test_ux_07_states_are_told_by_words_and_not_by_colour_alone(client):
    page = client.get("/edges").text
    for tone, word in (("bad", "alarm"), ("busy", "behind"), ("good", "well")):
        assert f'<span class="state {tone}">{word}</span>' in page


def test_a_node_tells_everything_in_words(look):
    told = UploadBudget(
        edge_id=EdgeId("edge-00010"),
        max_mib_per_day=None,
        max_samples_per_hour=40,
        set_at=NOON,
        set_by="default",
    )
    standing = next(one for one in look.fleet if one.seen.edge_id == "edge-00010")
    refused = replace(
        standing.seen.health, refused_version=version_of(59), refused_reason="it is unsigned"
    )
    fleet = tuple(
        replace(one, seen=replace(one.seen, health=refused)) if one is standing else one
        for one in look.fleet
    )
    changed = replace(look, fleet=fleet, budgets={told.edge_id: told}, _facts={})
    page = a_client(some_parts(look=changed)).get("/edges/edge-00010").text
    for words in (
        "it is unsigned",
        "95 °C",
        "entropy has drifted from what training saw",
        "40 samples in any hour, set by edges.* for all nodes",
        "90.0 MiB of its process",
        "10 wait, 9.8 KiB; the oldest for 16 min 40 s, when it reported",
        "None in the newest 60 rounds",
    ):
        assert words in page, words
    assert client_status(changed, "/edges/nobody") == 404


def client_status(look: Look, address: str) -> int:
    return a_client(some_parts(look=look)).get(address).status_code


def test_a_nodes_newest_examples_lead_to_their_rounds(client):
    page = client.get("/edges/edge-00001").text
    assert '<a href="/rounds/60">round 60</a>' in page
    assert page.index("/rounds/60") < page.index("/rounds/59")
    assert page.count("<code>0000") >= 12


def test_edge_12_json_has_todays_fields_and_pages(client):
    told = client.get("/edges.json").json()
    assert set(told) == {
        "counts", "current", "staged", "rollout", "edges", "page", "pages", "nodes",
    }  # fmt: skip
    assert (told["page"], told["pages"], told["nodes"], len(told["edges"])) == (1, 1, 70, 70)
    one = told["edges"][0]
    assert set(one) == {"edge", "state", "reasons", "age_seconds", "wanted", "health"}
    assert one["health"]["fps"] == 5.0


def test_releases_stand_newest_first_with_who_runs_them(look, client):
    page = client.get("/releases").text
    newest = look.releases[-1].number
    assert rows(page) == [str(newest - n) for n in range(25)]
    assert '<span class="state good">current</span>' in page
    newest_row = page[page.index("<tbody>") :].split("</tr>")[0]
    assert 'data-name="Nodes run it">63</td>' in newest_row
    old = client.get("/releases?page=3").text
    assert rows(old)[-1] == "1"
    assert 'data-name="Nodes run it">7</td>' in old.split("<tr>")[-1], "seven are behind"


def test_a_release_tells_its_model_bundle_and_lineage(look, client):
    newest = look.releases[-1].number
    page = client.get(f"/releases/{newest}").text
    for words in ("2.0 KiB", f"{59:064x}", "rain 4" if 59 % 5 == 3 else "snow 4", "replay+distil"):
        assert words in page, words
    assert "edge-00000 1" in page and "ada@example.org" in page
    assert f"{newest - 1} ancestors up to the first model" in page
    last = client.get(f"/releases/{newest}?page=99").text
    assert "first model" in last and version_of(0) in last
    assert "it is not in storage" in client.get(f"/releases/{newest - 1}").text
    assert client.get("/releases/999").status_code == 404
    assert client.get("/releases/x").status_code == 422


def test_a_leftover_of_an_ended_roll_out_is_not_called_staged(look):
    leftover = replace(look.releases[-2], share=0.5)
    page = (
        a_client(some_parts(look=replace(look, staged=leftover, _facts={}))).get("/releases").text
    )
    assert ">staged<" not in page
    trial = replace(look.releases[-1], number=999, share=0.5)
    both = replace(look, staged=trial, releases=(*look.releases, trial), _facts={})
    page = a_client(some_parts(look=both)).get("/releases").text
    assert '<span class="state busy">staged</span>' in page
    assert "50 % of them try" in page


def test_lll_04_the_matrix_is_paged_and_what_is_left_out_is_said(client):
    page = client.get("/learning").text
    assert "Rows 23 to 52 of 52" in page
    assert "Rows 1 to 22 of 52" in client.get("/learning?page=2").text
    whole = client.get("/learning?span=all").text
    shown, left_out = re.search(
        r"whole course: (\d+) of 52 deployed models, evenly chosen; (\d+) between", whole
    ).groups()
    assert int(shown) + int(left_out) == 52 and int(shown) <= 31
    assert client.get("/learning?span=some").status_code == 422


def test_lll_04_forward_transfer_is_a_dash_with_its_reason(client):
    page = client.get("/learning").text
    assert "Lopez-Paz &amp; Ranzato 2017" in page and "Chaudhry et al. 2018" in page
    card = page[page.index("Forward transfer") :].split("</li>")[0]
    assert '<p class="big">–</p>' in card and "untrained network" in card


def test_lll_07_refused_rounds_are_shown_as_such(client):
    page = client.get("/learning").text
    assert "8 refused" in page and "51 accepted" in page
    assert "mIoU falls from … to …, more than … points" in page
    gate = page[page.index("Round by round") :]
    row = gate[gate.index('href="/rounds/56"') :].split("</tr>")[0]
    assert '<span class="state bad">refused</span>' in row
    assert "/rounds/34" not in page and "/rounds/34" in client.get("/learning?verdicts=2").text


def test_every_chart_has_its_numbers_as_a_table(client):
    page = client.get("/learning").text
    assert page.count('<figure class="chart"') == 4
    assert page.count("The same as a table") == 4
    for figure in page.split("<figure")[1:]:
        assert "<tbody><tr>" in figure.split("</figure>")[0]


@pytest.mark.parametrize(("rounds", "is_told"), [(6, True), (60, False)])
def test_ops_few_rounds_have_no_marks_between_them(tmp_path, look, rounds, is_told):
    """Seen: the verdicts of three rounds stood over an axis with a round 1.5."""
    if rounds != 60:
        storage = open_storage("memory://")
        live_long(storage, rounds=rounds, samples=4, edges=1, pictures=0)
        look = a_watch(storage, tmp_path).refresh()
    drawn = verdicts_chart(look.fact(verdicts).rounds)
    assert drawn.layout["xaxis"].get("dtick") == (1 if is_told else None)
