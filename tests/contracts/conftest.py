import secrets

import pytest

from tests.contracts.event_logs import KafkaSite, Site, memory_site


@pytest.fixture(params=["memory", "kafka"])
def site(request: pytest.FixtureRequest) -> Site:
    """One log of each kind."""
    if request.param == "memory":
        return memory_site()
    return KafkaSite(request.getfixturevalue("kafka_broker").bootstrap)


@pytest.fixture
def name() -> str:
    """A name that no other test uses, for a topic and a group."""
    return f"test-{secrets.token_hex(4)}"
