import asyncio
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from connectors.settings_doors import LimsPeer
from connectors.settings_kafka import Gateway, Kafka
from dashboards.web.app import create_app
from models.database import utc_now
from models.tables.case import Case, Identifier, Slide
from models.tables.intake import Consumer
from models.tables.place import Site
from models.tables.scan import Scan, ScanFile
from tests.dashboards.web.conftest import SITES, Ask
from tests.dashboards.web.laboratory import NOW, Laboratory, opaque, settings_of

HOSTILE = '<script>alert("1")</script>\'"&{{7*7}}'
OPAQUE = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Outline(HTMLParser):
    """What of a page's markup the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrongly_closed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrongly_closed.append(tag)

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


def test_the_front_page_says_what_stands_where_and_what_waits_for_what(busy: dict[str, str], ask: Ask) -> None:
    page = ask("/").text
    assert busy
    for said in (
        "Demonstration sign-in:",
        "Prefect is away since 10:41:03 UTC: slides still move (1 worker)",
        "12 messages wait for it",
        "nobody may read this ophthalmic case",
        "<strong>12 messages</strong>",
        "an eligible pathologist",
        "the expected slides count as complete",
        "As of <strong>",
    ):
        assert said in page, said
    assert re.search(r'title="Site A: waiting for a person">2</a>', page)


def test_the_front_page_names_messages_that_nobody_answers_with_how_often_they_were_tried(
    laboratory: Laboratory, ask: Ask
) -> None:
    case = laboratory.case("26S77")
    assert "Messages that nobody has answered" not in ask("/").text
    message = laboratory.message_out("m77", ("case", case), "assigned", tries=7)
    laboratory.wait("send", "sending", ("message", message), "the LIMS", problem="Nobody can be reached.")
    page = ask("/").text
    for said in (
        "<strong>lims-a</strong> has not answered <strong>1 message</strong>",
        f'<a href="/cases/{case}">{message[:20].upper()}</a>',
        "7 times",
        "tried again",
        "Nobody can be reached.",
    ):
        assert said in page, said


def test_a_message_that_was_set_aside_is_named_with_the_command_that_shows_it(laboratory: Laboratory, ask: Ask) -> None:
    message = laboratory.message_in("m1", "set aside", "unknown type")
    laboratory.alert(("inbox", message), "set aside", "unknown type")
    page = ask("/").text
    assert f"message {message[:8]} from lims-a (<code>coverslip show {message[:8]}</code>)" in page


def test_every_page_is_sound_markup_with_a_heading_a_language_and_unique_ids(every_page: list[str], ask: Ask) -> None:
    for path in every_page:
        answer = ask(path)
        assert answer.status_code == 200, path
        outline = Outline(answer.text)
        assert (outline.wrongly_closed, outline.open) == ([], []), path
        ids = outline.values("id")
        assert len(ids) == len(set(ids)), path
        assert [tag for tag, _ in outline.tags].count("h1") == 1
        assert outline.values("lang") == ["en-GB"]
        assert all("alt" in attributes for tag, attributes in outline.tags if tag == "img")
        labelled = set(outline.values("for"))
        assert all(attributes["id"] in labelled for tag, attributes in outline.tags if tag == "select")


def test_addresses_and_titles_hold_opaque_ids_and_nothing_of_a_patient(every_page: list[str], ask: Ask) -> None:
    for path in every_page:
        page = ask(path).text
        addresses = [*Outline(page).values("href"), *Outline(page).values("src")]
        for address in addresses:
            assert "26S" not in address
            assert "26B" not in address
            assert re.fullmatch(
                rf"#main|/|/(slides|cases)(\?[A-Za-z+%20=&-]*)?|/static/[a-z.]+|/(cases|scans)/{OPAQUE}(/[a-z]+\.[a-z]+)?",
                address,
            ), address
        title = re.search(r"<title>(.*?)</title>", page)
        assert title
        assert "26S" not in title[1]


def test_nothing_in_a_page_runs_or_loads_but_our_own_files(every_page: list[str], ask: Ask) -> None:
    for path in every_page:
        outline = Outline(ask(path).text)
        scripts = [attributes for tag, attributes in outline.tags if tag == "script"]
        assert [script.get("src") for script in scripts] == ["/static/coverslip.js"]
        assert not outline.values("style")
        assert not [name for _, attributes in outline.tags for name in attributes if name.startswith("on")]


def test_hostile_text_from_outside_is_shown_and_never_run(
    laboratory: Laboratory, every_page: list[str], ask: Ask
) -> None:
    with laboratory.database.write("hostile") as session:
        for number, slide_id in enumerate(session.query(Slide.id).all()):
            session.execute(
                update(Slide).where(Slide.id == slide_id[0]).values(container_identifier=f"{HOSTILE}{number}")
            )
        for number, (key,) in enumerate(session.query(Identifier.id).all()):
            session.execute(update(Identifier).where(Identifier.id == key).values(value=f"{HOSTILE}{number}"))
        session.execute(update(Scan).values(reason=HOSTILE, scanner=HOSTILE))
        session.execute(update(ScanFile).where(ScanFile.state == "taken").values(relative_path=ScanFile.id + HOSTILE))
        session.execute(update(ScanFile).where(ScanFile.state != "taken").values(problem=HOSTILE))
        session.execute(update(Case).values(subspecialty=HOSTILE))
        session.execute(update(Site).values(name=HOSTILE))
    laboratory.worker(HOSTILE, datetime.now(UTC), "hostile")
    laboratory.alert(("scan", opaque("x")), HOSTILE, HOSTILE)
    laboratory.reader("hostile", HOSTILE)
    escaped = "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&#39;&#34;&amp;{{7*7}}"
    for path in every_page:
        page = ask(path).text
        assert "<script>alert" not in page, path
        assert escaped in page, path


def test_times_are_told_in_the_zone_of_the_site_with_its_name(laboratory: Laboratory, ask: Ask) -> None:
    for site in ("site-a", "site-b"):
        laboratory.wait("slide_qc", "slide_qc", ("scan", laboratory.scan(site, site=site)), "a person")
    page = ask("/slides").text
    assert "2 Nov, 10:42 GMT" in page
    assert "2 Nov, 16:12 IST" in page
    assert 'datetime="2026-11-02T10:42:00+00:00"' in page


def test_empty_books_say_what_would_appear_and_what_to_do(ask: Ask) -> None:
    front = ask("/").text
    assert "Nothing needs attention." in front
    assert "No worker is running: slides wait until one is started" in front
    assert "Slides appear here as soon as a scanner writes one into its folder, or the LIMS orders one." in front
    assert "A case appears when the LIMS sends its first order" in ask("/cases").text
    assert "Slides appear when a scanner writes them" in ask("/slides").text


def test_a_case_page_says_what_can_be_read_who_has_it_and_why(busy: dict[str, str], ask: Ask) -> None:
    page = ask(f"/cases/{busy['case']}").text
    assert "4 of 4 slides can be read" in page
    assert "<strong>Dr Ada Okafor</strong>" in page
    assert "the smallest cost of 3 who may get this read" in page
    assert "3 of 7 slides can be read, 2 on the way, 1 rescan, 1 awaited" in ask("/cases").text


def test_a_scan_page_tells_its_story_and_what_a_person_can_do(busy: dict[str, str], ask: Ask) -> None:
    archived = ask(f"/scans/{busy['archived']}").text
    assert "archived: listed there and read back unchanged" in archived
    assert "label.png" not in archived
    unmatched = ask(f"/scans/{busy['unmatched']}").text
    assert f"coverslip match {busy['unmatched']} SLIDE --by NAME --reason TEXT" in unmatched
    assert "No code could be read on the label" in unmatched
    assert "label.png" in unmatched
    assert f"coverslip rerun {busy['broken']} --by NAME --reason TEXT" in ask(f"/scans/{busy['broken']}").text


def test_a_scan_in_doubt_shows_how_to_decide_its_quality(laboratory: Laboratory, ask: Ask) -> None:
    case = laboratory.case("26S1")
    scan = laboratory.scan("one", laboratory.slide("26S1-A1-1", case), case, quality="review")
    laboratory.wait("slide_qc", "slide_qc", ("scan", scan), "a person")
    page = ask(f"/scans/{scan}").text
    assert f"coverslip review {scan} pass --by NAME --reason TEXT" in page
    assert "coverslip match" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", f"/cases/{opaque('nothing')}", f"/scans/{opaque('nothing')}", "/slides?state=nonsense",
        f"/scans/{opaque('nothing')}/thumbnail.jpg", "/static/nothing.js", "/static/../app.py",
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_in_a_sentence(path: str, ask: Ask) -> None:
    answer = ask(path)
    assert answer.status_code == 404
    assert "There is nothing here." in answer.text


@pytest.mark.parametrize(
    "path", ["/cases/26S0001234", "/scans/..%2f..%2fetc", "/slides?site=%27%20or%201", "/slides?state=" + "x" * 99]
)
def test_an_address_that_is_none_of_ours_is_refused_in_a_sentence(path: str, ask: Ask) -> None:
    answer = ask(path)
    assert answer.status_code in (404, 422)
    assert "begin at the front page" in answer.text
    assert "26S0001234" not in answer.text


def test_a_thumbnail_is_shown_always_and_a_label_only_while_it_has_to_be_matched(
    busy: dict[str, str], ask: Ask, tmp_path: Path
) -> None:
    for name in ("archived", "unmatched"):
        folder = tmp_path / "pictures" / busy[name]
        folder.mkdir(parents=True)
        (folder / "thumbnail.jpg").write_bytes(b"\xff\xd8 a picture")
        (folder / "label.png").write_bytes(b"\x89PNG a label")
        (folder / "secret.txt").write_text("not a picture")
    assert ask(f"/scans/{busy['archived']}/thumbnail.jpg").headers["content-type"] == "image/jpeg"
    assert ask(f"/scans/{busy['unmatched']}/label.png").content == b"\x89PNG a label"
    assert ask(f"/scans/{busy['archived']}/label.png").status_code == 404
    assert ask(f"/scans/{busy['archived']}/secret.txt").status_code == 404


def test_a_picture_that_is_a_link_or_far_too_large_is_not_served(
    busy: dict[str, str], ask: Ask, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures" / busy["archived"]
    folder.mkdir(parents=True)
    (folder / "thumbnail.jpg").symlink_to(tmp_path / "coverslip.db")
    assert ask(f"/scans/{busy['archived']}/thumbnail.jpg").status_code == 404
    (folder / "thumbnail.jpg").unlink()
    with (folder / "thumbnail.jpg").open("wb") as picture:
        picture.truncate(17 << 20)
    assert ask(f"/scans/{busy['archived']}/thumbnail.jpg").status_code == 404


def test_a_long_list_is_cut_and_says_so(laboratory: Laboratory, ask: Ask) -> None:
    laboratory.write(
        *(
            Scan(id=opaque(f"scan {n}"), site_id="site-a", scanner="s", received_at=NOW + timedelta(seconds=n))
            for n in range(501)
        )
    )
    page = ask("/slides").text
    assert page.count('<th scope="row">') == 500
    assert "These are 500; there are more." in page


def test_a_gateways_page_says_what_waits_and_when_its_disk_is_full(laboratory: Laboratory, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, str(laboratory.database.url), SITES)
    said = {"kafka": Kafka(bootstrap=("localhost:9092",)), "gateway": Gateway()}
    app = create_app(laboratory.database, settings.model_copy(update=said), tmp_path / "pictures")
    laboratory.step("forward", "sending", ("inbox", opaque("message")), slot="kafka")

    async def front() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
            return (await client.get("/")).text

    page = asyncio.run(front())
    assert "<strong>Gateway:</strong> 1 message or scan waits to be handed on, the oldest since" in page
    assert "nothing came in during the last 15 min" in page


def test_the_page_says_how_reading_kafka_stands_where_it_is_read(laboratory: Laboratory, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, str(laboratory.database.url), SITES)
    said = {"kafka": Kafka(bootstrap=("localhost:9092",))}
    app = create_app(laboratory.database, settings.model_copy(update=said), tmp_path / "pictures")

    async def front() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
            return (await client.get("/")).text

    assert "<strong>Kafka:</strong> Nobody has read the event log yet" in asyncio.run(front())
    beats = {"started_at": utc_now(), "heartbeat_at": utc_now(), "partitions": 12, "lag": 7}
    laboratory.write(Consumer(id=opaque("consumer"), host="here", pid=1, **beats))
    assert "<strong>Kafka:</strong> 1 process reads the event log: 12 partitions, 7 records to come" in asyncio.run(
        front()
    )


def test_every_page_says_that_hl7_crosses_the_network_in_plain_text(laboratory: Laboratory, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, str(laboratory.database.url), SITES)
    exposed = settings.lims[0].model_copy(update={"host": "lims.example", "insecure_allow": True})

    def said(lims: LimsPeer) -> bool:
        app = create_app(laboratory.database, settings.model_copy(update={"lims": (lims,)}), tmp_path / "pictures")

        async def ask() -> bool:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                pages = [(await client.get(path)).text for path in ("/", "/slides", "/cases", "/nowhere")]
            return all("Not encrypted:" in page and "lims-a" in page for page in pages)

        return asyncio.run(ask())

    assert said(exposed)
    assert not said(settings.lims[0])
