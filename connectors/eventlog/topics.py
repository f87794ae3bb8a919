"""Our topics and rights in Kafka: what a file asks for, what the cluster has, and what makes the one from the other."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from kafka import KafkaAdminClient, errors
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.eventlog.connection import client_options, greet, sentence
from connectors.settings import Settings
from connectors.settings_kafka import Kafka
from models.errors import RefusedError, TransientError
from models.failpoint import failpoint

_ANSWER: Final = timedelta(seconds=20)
_NAME: Final = r"^[a-z0-9][a-z0-9.-]{0,99}$"
_Count = Annotated[int, Field(ge=1, le=10_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Topic(_Frozen):
    """How a topic is kept."""

    partitions: _Count
    retention_days: Annotated[int, Field(ge=1, le=36_500)]
    cleanup: Literal["delete", "compact", "compact,delete"] = "delete"
    max_message_bytes: Annotated[int, Field(ge=1_024, le=64 << 20)]

    def configs(self, min_insync: int) -> dict[str, str]:
        """Return it as Kafka's own settings of a topic."""
        return {
            "cleanup.policy": self.cleanup,
            # Whatever a producer chose, the broker keeps it so that a plain Python reads it.
            "compression.type": "gzip",
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(min_insync),
            "retention.ms": str(self.retention_days * 86_400_000),
        }

    def in_words(self, replication: int) -> str:
        """Return how it is kept, for people."""
        copies = "one copy" if replication == 1 else f"{replication} copies"
        kept = "" if self.cleanup == "delete" else f", {self.cleanup}"
        shape = f"{self.partitions} partitions, {copies}, {self.retention_days} days{kept}"
        return f"{shape}, messages of {self.max_message_bytes / (1 << 20):.3g} MiB"


class Role(_Frozen):
    """Who may do what."""

    principals: Annotated[tuple[Annotated[str, Field(pattern=r"^[^\s:]+:\S.*$")], ...], Field(min_length=1)]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    group: bool = False


class Wanted(_Frozen):
    """What a file asks for, without the prefix of the settings."""

    replication: Annotated[int, Field(ge=1, le=100)]
    min_insync: Annotated[int, Field(ge=1, le=100)]
    topics: Annotated[dict[Annotated[str, Field(pattern=_NAME)], Topic], Field(min_length=1)]
    roles: dict[str, Role] = {}

    @model_validator(mode="after")
    def _agrees(self) -> "Wanted":
        named = {name for role in self.roles.values() for name in (*role.reads, *role.writes)}
        if unknown := sorted(named - set(self.topics)):
            message = f"a role names {', '.join(unknown)}, which is no topic here"
            raise ValueError(message)
        if self.min_insync > self.replication:
            message = f"min_insync is {self.min_insync}, but replication only {self.replication}"
            raise ValueError(message)
        return self

    def replicated(self, count: int) -> "Wanted":
        """Return the same with as many copies; all but one must have a record, if there are several."""
        return self.model_copy(update={"replication": count, "min_insync": max(1, count - 1)})


@dataclass(frozen=True)
class Difference:
    """Something that the cluster has otherwise than it is asked for."""

    kind: Literal["topic", "partitions", "setting", "right", "kept"]
    """What ``apply`` does about it; what is *kept* needs a person."""
    subject: str
    """The topic with its prefix, or the consumer group."""
    what: str
    has: str
    wanted: str


@dataclass(frozen=True)
class Comparison:
    """How far a cluster is from what is asked for."""

    differences: tuple[Difference, ...]
    has_authorizer: bool
    """Without one nobody's rights are looked at, and none can be given."""


def read_topics(path: Path) -> Wanted:
    """Read what is asked for.

    Raises
    ------
    RefusedError
        The file is missing, no TOML, or says something impossible: one sentence.
    """
    try:
        return Wanted(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        message = f"{path} can't be read: {error.strerror}; --file names another"
        raise RefusedError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is no TOML: {error}"
        raise RefusedError(message) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        message = f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}"
        raise RefusedError(message) from error


@contextmanager
def opened_cluster(settings: Settings) -> Iterator["Cluster"]:
    """Come to the cluster that the settings name.

    Raises
    ------
    RefusedError, TransientError
        It can't be reached, or we are not let in: one sentence.
    """
    greet(settings)
    options = client_options(settings)
    limit = int(_ANSWER.total_seconds() * 1_000)
    kafka = settings.kafka
    if kafka is None:  # or we had not been greeted
        raise AssertionError
    with _in_our_words(kafka):
        admin = KafkaAdminClient(**options, bootstrap_timeout_ms=limit, request_timeout_ms=limit)
        try:
            yield Cluster(admin, kafka)
        finally:
            admin.close()


class Cluster:
    """One Kafka cluster, as whoever may arrange it sees it. What goes wrong leaves ``opened_cluster`` in our words."""

    def __init__(self, admin: Any, kafka: Kafka) -> None:  # noqa: ANN401 - kafka-python has no types
        self._admin, self._kafka = admin, kafka

    def compare(self, wanted: Wanted) -> Comparison:
        """Return what differs, topics first and in the order of the file."""
        topics = {self._kafka.prefix + name: topic for name, topic in wanted.topics.items()}
        described = {one["name"]: one for one in self._admin.describe_topics(list(topics))}
        found: list[Difference] = []
        for name, topic in topics.items():
            code = described[name]["error_code"]
            if code == errors.UnknownTopicOrPartitionError.errno:
                found.append(Difference("topic", name, "topic", "", topic.in_words(wanted.replication)))
            elif code:
                raise errors.for_code(code)
            else:
                found += _shape(name, topic, wanted.replication, described[name]["partitions"])
                found += self._settings_of(name, topic.configs(wanted.min_insync))
        rights, has_authorizer = self._rights(wanted)
        return Comparison((*found, *rights), has_authorizer)

    def apply(self, wanted: Wanted, differences: Sequence[Difference]) -> None:
        """Make the differences good, in their order; doing it again changes nothing.

        Raises
        ------
        RefusedError
            One could not be; the sentence says how many were before.
        """
        for done, difference in enumerate(differences):
            try:
                self._apply(wanted, difference)
            except errors.KafkaError as error:
                where = f"{difference.what} of {difference.subject}"
                rest = f"{done} of {len(differences)} differences were made good before it: apply again"
                message = f"{sentence(error, self._kafka)} ({where}); {rest}"
                raise RefusedError(message) from error

    def _apply(self, wanted: Wanted, difference: Difference) -> None:
        name = difference.subject
        failpoint("topics.before_apply")
        match difference.kind:
            case "topic":
                self._create(name, wanted)
            case "partitions":
                self._admin.create_partitions({name: int(difference.wanted)})
            case "setting":
                resource = ConfigResource(ConfigResourceType.TOPIC, name, {difference.what: difference.wanted})
                [said] = self._admin.alter_configs([resource], raise_on_unknown=False)["topic"].values()
                _expect_ok(said)
            case "right":
                [acl] = [acl for acl in self._acls(wanted) if _right(acl) == difference]
                for failed in self._admin.create_acls([acl])["failed"]:
                    raise failed
            case "kept":
                return
        failpoint("topics.after_apply")

    def _create(self, name: str, wanted: Wanted) -> None:
        topic = wanted.topics[name.removeprefix(self._kafka.prefix)]
        shape = {"num_partitions": topic.partitions, "replication_factor": wanted.replication}
        try:
            self._admin.create_topics({name: shape | {"configs": topic.configs(wanted.min_insync)}})
        except errors.TopicAlreadyExistsError:
            return  # somebody else was first; `check` says how they made it
        self._admin.wait_for_topics([name])

    def _settings_of(self, name: str, wanted: Mapping[str, str]) -> Iterator[Difference]:
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        [has] = self._admin.describe_configs([resource], config_filter="all")["topic"].values()
        if not has:  # kafka-python leaves out why
            raise errors.TopicAuthorizationFailedError
        for key, value in wanted.items():
            if (said := str(has[key]["value"])) != value:
                yield Difference("setting", name, key, said, value)

    def _rights(self, wanted: Wanted) -> tuple[list[Difference], bool]:
        everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        try:
            given, _ = self._admin.describe_acls(
                ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything)
            )
        except errors.SecurityDisabledError:
            return [], False
        return [_right(acl) for acl in self._acls(wanted) if acl not in given], True

    def _acls(self, wanted: Wanted) -> Iterator[Any]:
        """Yield every right that the roles ask for, each once."""
        rights: dict[tuple[str, str, str, str], None] = {}
        for role in wanted.roles.values():
            for who in role.principals:
                rights |= {(who, "READ", "TOPIC", self._kafka.prefix + name): None for name in role.reads}
                rights |= {(who, "WRITE", "TOPIC", self._kafka.prefix + name): None for name in role.writes}
                if role.group:
                    rights[who, "READ", "GROUP", self._kafka.group] = None
        for who, operation, kind, name in rights:
            pattern = ResourcePattern(ResourceType[kind], name)
            yield ACL(who, "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)


def _shape(name: str, topic: Topic, replication: int, partitions: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    if len(partitions) < topic.partitions:
        yield Difference("partitions", name, "partitions", str(len(partitions)), str(topic.partitions))
    elif len(partitions) > topic.partitions:
        yield Difference("kept", name, "partitions", str(len(partitions)), str(topic.partitions))
    copies = min((len(one["replica_nodes"]) for one in partitions), default=0)
    if copies != replication:
        yield Difference("kept", name, "replicas", str(copies), str(replication))


def _right(acl: Any) -> Difference:  # noqa: ANN401 - kafka-python has no types
    pattern = acl.resource_pattern
    kind = "group " if pattern.resource_type is ResourceType.GROUP else ""
    what = f"{acl.operation.name.lower()} {kind}".strip()
    return Difference("right", pattern.resource_name, what, "", acl.principal)


def _expect_ok(said: str) -> None:
    """Raise what kafka-python tells as text."""
    if said == "OK":
        return
    named = re.search(r"\] (\w+):", said)
    raise getattr(errors, named[1] if named else "", errors.UnknownError)


@contextmanager
def _in_our_words(kafka: Kafka) -> Iterator[None]:
    try:
        yield
    except errors.RetriableError as error:
        raise TransientError(sentence(error, kafka)) from error
    except errors.KafkaError as error:
        raise RefusedError(sentence(error, kafka)) from error
