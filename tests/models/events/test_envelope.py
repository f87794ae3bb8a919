"""Events become the same bytes each time, and bytes become events only when they are exactly what was agreed."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RejectedError
from models.events.envelope import MOST_BYTES, Event, Origin, build, event_id, parse, source_of
from models.events.kinds import (
    KINDS,
    CaseAssigned,
    DeadLetter,
    Hl7Received,
    ScannerStatus,
    SlideArchived,
    SlideQualityChecked,
    SlideScanned,
    TakenFile,
)
from models.opaque import OpaqueIds

AT = datetime(2026, 11, 22, 6, 52, 49, 607_850, tzinfo=UTC)
OPAQUE = "0d9ac2e6-5a4d-8b52-9c6e-6f3a6a1f2b11"
SCANNED = Event("e-1", "/site-a/scanners/s1", AT, SlideScanned(root="s1", path="2026/S-1.svs"))

opaque_ids = st.uuids().map(str)
moments = st.datetimes(timezones=st.just(UTC))
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
amounts = st.integers(0, (1 << 63) - 1)
sentences = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80)
taken = st.builds(
    TakenFile,
    file_id=opaque_ids,
    sha256=digests,
    bytes=amounts,
    modified_ns=st.integers(-(1 << 63), (1 << 63) - 1),
    place=names,
)
paths = st.lists(names, min_size=1, max_size=5).map("/".join)
said = st.one_of(
    st.builds(SlideScanned, root=names, path=paths, scanned_at=st.none() | moments, taken=st.none() | taken),
    st.builds(
        SlideQualityChecked,
        scan_id=opaque_ids,
        site=names,
        verdict=st.sampled_from(["pass", "review", "rescan", "cannot judge"]),
        decided_by=st.sampled_from(["rule", "person"]),
        reasons=st.lists(sentences, max_size=4).map(tuple),
    ),
    st.builds(
        Hl7Received,
        received_at=moments,
        sha256=st.just(hashlib.sha256(b"MSH|").hexdigest()),
        bytes=st.just(4),
        payload=st.just(b"MSH|"),
    ),
    st.builds(CaseAssigned, case_id=opaque_ids, site=names, read_id=opaque_ids, pathologist_id=names),
)


def written(**changes: object) -> bytes:
    """The scanned slide's event with some of its attributes changed, and those that are ``...`` left out."""
    stated = json.loads(build(SCANNED)) | changes
    return json.dumps({name: value for name, value in stated.items() if value is not ...}).encode()


@given(said, st.from_regex(r"[!-~]{1,128}", fullmatch=True), moments, opaque_ids)
def test_an_event_comes_back_from_its_bytes_and_gives_the_same_bytes_again(
    data: SlideScanned, name: str, at: datetime, subject: str
) -> None:
    source = "/coverslip" if data.FROM == "coverslip" else f"/site-a/{data.FROM}/one"
    event = Event(name, source, at, data, subject)
    raw = build(event)
    assert parse(raw) == event
    assert build(parse(raw)) == raw


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_the_bytes_are_they_are_an_event_or_rejected(raw: bytes) -> None:
    with pytest.raises(RejectedError):
        parse(raw)


@given(st.data())
def test_an_event_with_any_one_part_replaced_is_an_event_or_rejected(data: st.DataObject) -> None:
    stated: dict[str, Any] = json.loads(build(SCANNED))
    inside = data.draw(st.sampled_from([stated, stated["data"]]))
    name = data.draw(st.sampled_from(sorted(inside)))
    inside[name] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=10,
        )
    )
    try:
        event = parse(json.dumps(stated).encode())
    except RejectedError:
        return
    assert parse(build(event)) == event


def test_times_of_one_moment_are_written_alike_whatever_their_zone() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert build(Event("e-1", SCANNED.source, elsewhere, SCANNED.data)) == build(SCANNED)
    assert parse(written(time=elsewhere.isoformat())).time == AT


def test_order_and_space_of_a_foreign_writer_change_nothing() -> None:
    stated = json.loads(build(SCANNED))
    foreign = json.dumps(dict(reversed(stated.items())), indent=4, ensure_ascii=True).encode()
    assert parse(foreign) == SCANNED


def test_what_a_later_minor_version_added_is_passed_over() -> None:
    later = json.loads(build(SCANNED))["data"] | {"objective": 40}
    assert parse(written(data=later, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")) == SCANNED


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (build(SCANNED).decode().encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf" + build(SCANNED), "byte order mark"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nested too deep"),
        (b'{"a":' + b"9" * 100_000 + b"}", "number beyond reason"),
        (b'{"a":1e999}', "number beyond reason"),
        (b'{"a":-0.' + b"0" * 100 + b"1}", "number beyond reason"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "NaN"),
        (b'{"type":"scanner.status","type":"x"}', "same name twice"),
        (build(SCANNED).replace(b'"root"', b'"root":"s2","root"'), "same name twice"),
        (build(SCANNED).replace(b"S-1", b"\\ud800"), "surrogate"),
        (build(SCANNED) + b"{}", "not JSON"),
        (b" " * (MOST_BYTES + 1), f"at most {MOST_BYTES} are taken"),
        (build(SCANNED).replace(b"{", b"{" + b" " * (1 << 16), 1), "at most 65536 are taken"),
    ],
)
def test_bytes_that_two_readers_could_understand_differently_are_rejected(raw: bytes, sentence: str) -> None:
    with pytest.raises(RejectedError, match=sentence):
        parse(raw)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"type": "scanner.exploded"}, "type scanner.exploded is not known"),
        ({"type": "Smith, John 1970-01-01"}, r"^The event's type is not known here\.$"),
        ({"type": ["scanner.status"]}, "is not known"),
        ({"type": ...}, "is not known"),
        ({"dataschema": "urn:coverslip:event:scanner.slide-scanned:2"}, "of major version 2; version 1 is read here"),
        ({"dataschema": "urn:coverslip:event:scanner.status:1"}, "does not name its schema"),
        ({"dataschema": ...}, "does not name its schema"),
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": "Jane Doe"}, "id"),
        ({"id": 7}, "id"),
        ({"time": "2026-11-22T06:52:49"}, "time must be a time with its offset"),
        ({"time": "2026-02-30T06:52:49Z"}, "time is no date"),
        ({"time": "0001-01-01T00:00:00+23:00"}, "time is no date"),
        ({"time": 1_700_000_000}, "time must be"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"source": "/coverslip"}, "must have the source /SITE/scanners/NAME"),
        ({"source": "/site-a/lims/epic"}, "must have the source"),
        ({"source": "/site-a/scanners/S1\n"}, "must have the source"),
        ({"subject": "S26-12345"}, "subject"),
        ({"data": "{}"}, "data"),
        ({"data": {"root": "s1"}}, "data.path"),
        ({"UPPER": "x"}, "attribute"),
        ({"note": {"deep": "x"}}, "attribute"),
        ({"note": "x" * 2_000}, "attribute"),
        ({"data_base64": "e30="}, "attribute"),
    ],
)
def test_an_envelope_that_is_not_as_agreed_is_rejected_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RejectedError, match=sentence) as caught:
        parse(written(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.svs", "a//b.svs", "C:/x.svs", r"\\host\x.svs", "a\x00b", "x" * 1_025]
)
def test_a_path_that_leads_out_of_its_root_is_rejected_and_not_repeated(path: str) -> None:
    with pytest.raises(RejectedError, match=r"data\.path") as caught:
        parse(written(data={"root": "s1", "path": path}))
    assert path not in str(caught.value)


def test_a_payload_that_is_not_the_one_described_is_rejected() -> None:
    said = Hl7Received(received_at=AT, sha256=hashlib.sha256(b"MSH|").hexdigest(), bytes=4, payload=b"MSH|")
    raw = build(Event("m-1", "/site-a/lims/epic", AT, said))
    assert parse(raw).data == said
    other = raw.replace(base64.b64encode(b"MSH|"), base64.b64encode(b"MSH^"))
    with pytest.raises(RejectedError, match="the payload is not the one"):
        parse(other)
    with pytest.raises(RejectedError, match="base64"):
        parse(raw.replace(base64.b64encode(b"MSH|"), b"TVNIfA"))


def test_our_own_events_need_an_opaque_subject() -> None:
    said = CaseAssigned(case_id=OPAQUE, site="site-a", read_id=OPAQUE, pathologist_id="dr-one")
    with pytest.raises(RejectedError, match="needs a subject"):
        build(Event("a-1", "/coverslip", AT, said))
    with pytest.raises(RejectedError, match="subject"):
        build(Event("a-1", "/coverslip", AT, said, "S26-12345"))
    assert parse(build(Event("a-1", "/coverslip", AT, said, OPAQUE))).subject == OPAQUE


def test_an_id_is_the_same_for_the_same_thing_and_tells_nothing_of_it() -> None:
    ids = OpaqueIds(b"k" * 16)
    source = source_of("site-a", "scanners", "s1")
    first = event_id(ids, source, SlideScanned, "S26-12345.svs")
    assert first == event_id(ids, source, SlideScanned, "S26-12345.svs")
    assert (
        len({first, event_id(ids, source, ScannerStatus, "S26-12345.svs"), event_id(ids, source, SlideScanned, "b")})
        == 3
    )
    assert "S26" not in first


def test_a_source_says_whom_it_names() -> None:
    assert SCANNED.origin == Origin("scanners", "site-a", "s1")
    assert Event("x", "/coverslip", AT, SCANNED.data).origin == Origin("coverslip")


def test_what_could_identify_a_patient_is_not_shown_where_an_event_is_printed() -> None:
    shown = repr(SCANNED) + repr(
        Hl7Received(received_at=AT, sha256=hashlib.sha256(b"DOE").hexdigest(), bytes=3, payload=b"DOE")
    )
    assert "S-1" not in shown
    assert "DOE" not in shown


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.TYPE)
def test_every_type_names_its_topic_its_version_and_who_tells_it(kind: type[SlideArchived | DeadLetter]) -> None:
    assert kind.TOPIC in {"scanner", "lims.hl7v2", "slide", "case", "dead-letters"}
    assert kind.dataschema() == f"urn:coverslip:event:{kind.TYPE}:1"
    assert kind.__doc__
