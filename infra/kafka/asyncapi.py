"""What travels through our topics, as AsyncAPI 3.0 made from the models of the events.

``python -m infra.kafka.asyncapi`` writes ``asyncapi.json`` beside this file; with ``--check`` it says what differs.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from models.events.envelope import CONTENT_TYPE, OURS
from models.events.fields import EventData
from models.events.kinds import KINDS

FILE: Final = Path(__file__).with_name("asyncapi.json")
_REGENERATE: Final = "python -m infra.kafka.asyncapi"

# What a topic is for, and what its key keeps in order.
_TOPICS: Final = {
    "scanner": ("What scanners and their gateways tell.", "The scanner's name at its site."),
    "lims.hl7v2": (
        "HL7 v2 as it came, byte for byte. It holds patients' data, the only topic that does.",
        "The interface: the peer that the listener belongs to.",
    ),
    "slide": ("What became of slides and their scans.", "The opaque id that the event's subject names."),
    "case": ("What became of cases.", "The opaque id that the event's subject names."),
    "dead-letters": ("Records that could not be acted on, and why.", "The id of the inbox row that keeps the bytes."),
}
_NAME: Final = "[a-z0-9][a-z0-9-]{0,62}"


def document() -> dict[str, Any]:
    """Return the whole AsyncAPI document."""
    kinds = list(KINDS.values())
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in kinds], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Coverslip's events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in structured JSON. Made from models/events; edit nothing here.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE.decode(),
        "channels": {topic: _channel(topic) for topic in _TOPICS},
        "operations": {_operation_name(topic): _operation(topic) for topic in _TOPICS},
        "components": {
            "messages": {kind.TYPE: _message(kind) for kind in kinds},
            "schemas": schemas["$defs"],
        },
    }


def written() -> str:
    """Return the document as it stands in the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` compare it; return the exit code."""
    parser = argparse.ArgumentParser(prog=_REGENERATE, description="AsyncAPI 3.0 of Coverslip's events")
    parser.add_argument("--check", action="store_true", help="say what differs, and change nothing")
    parser.add_argument("--file", type=Path, default=FILE)
    asked = parser.parse_args(arguments)
    wanted = written()
    if not asked.check:
        asked.file.write_text(wanted, encoding="utf-8")
        return 0
    found = asked.file.read_text(encoding="utf-8") if asked.file.exists() else ""
    if found == wanted:
        return 0
    differences = difflib.unified_diff(found.splitlines(), wanted.splitlines(), str(asked.file), "the models", n=1)
    print("\n".join(differences))
    print(f"{asked.file.name} is not what the models say: run '{_REGENERATE}' and commit the file.", file=sys.stderr)
    return 1


def _channel(topic: str) -> dict[str, Any]:
    purpose, _ = _TOPICS[topic]
    kinds = _kinds_of(topic)
    return {
        "address": f"{{prefix}}{topic}",
        "description": purpose,
        "messages": {kind.TYPE: {"$ref": f"#/components/messages/{kind.TYPE}"} for kind in kinds},
        "parameters": {
            "prefix": {
                "default": "coverslip.",
                "description": "What all names of topics of an installation begin with.",
            }
        },
    }


def _operation(topic: str) -> dict[str, Any]:
    is_ours = all(kind.FROM == "coverslip" for kind in _kinds_of(topic))
    return {
        "action": "send" if is_ours else "receive",
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{kind.TYPE}"} for kind in _kinds_of(topic)],
    }


def _operation_name(topic: str) -> str:
    return f"{_operation(topic)['action']}.{topic}"


def _message(kind: type[EventData]) -> dict[str, Any]:
    return {
        "name": kind.TYPE,
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "contentType": CONTENT_TYPE.decode(),
        "headers": {
            "type": "object",
            "properties": {"content-type": {"type": "string", "const": CONTENT_TYPE.decode()}},
        },
        "bindings": {
            "kafka": {"key": {"type": "string", "description": _TOPICS[kind.TOPIC][1]}, "bindingVersion": "0.5.0"}
        },
        "payload": _envelope(kind),
    }


def _envelope(kind: type[EventData]) -> dict[str, Any]:
    source = {"const": OURS} if kind.FROM == "coverslip" else {"pattern": f"^/{_NAME}/{kind.FROM}/{_NAME}$"}
    required = ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "data"]
    return {
        "type": "object",
        "description": f"At most {kind.MOST_BYTES} bytes.",
        "required": [*required, *(["subject"] if kind.FROM == "coverslip" else [])],
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": {
                "type": "string",
                "pattern": "^[!-~]{1,128}$",
                "description": "The same whenever the same is told again, and opaque.",
            },
            "source": {"type": "string", **source},
            "type": {"type": "string", "const": kind.TYPE},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string", "const": "application/json"},
            "dataschema": {"type": "string", "const": kind.dataschema()},
            "subject": {"type": "string", "format": "uuid", "description": "An opaque id."},
            "data": {"$ref": f"#/components/schemas/{kind.__name__}"},
        },
    }


def _kinds_of(topic: str) -> list[type[EventData]]:
    return [kind for kind in KINDS.values() if topic == kind.TOPIC]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
