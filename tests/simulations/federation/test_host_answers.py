"""What hosted devices answer to a query, as the server of a simulation counts it."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from client.detection.alerts import alert_fields
from client.detection.policy import Intervention, Segment
from client.detection.risk_levels import Direction, RiskLevel
from client.device import Alert
from client.gate import declared
from client.vault.consent import Consent
from server.channel import REPLY_TIMEOUT_S, Traffic
from shared.errors import RefusalCode
from simulations.federation.host_answers import HostAnswers
from simulations.federation.host_server_app import HostNodes
from simulations.scenarios.config import SimulationSection
from tests.world.fake_grid import SIGNER, FakeGrid, fails

STEP = 20
ALERT = Alert(Direction.FALL, 1, RiskLevel.HIGH, STEP, 0, Segment.HIGH, Intervention.NOTHING)


def reply_of(*alerts: Alert) -> bytes:
    return declared("alerts", alert_fields(STEP, list(alerts)), Consent.IDENTIFIED)


def host(first: int, answers: HostAnswers):
    """A node that hosts 5 devices, from `first` on, and answers every query so."""

    def node(message: Message) -> Message:
        offered = message.metadata.message_type == "query.model"
        arrays = {"users": np.array([first, 5])} if offered else answers.to_arrays()
        content = ArrayRecord({name: Array(array) for name, array in arrays.items()})
        return Message(RecordDict({"host": content}), reply_to=message)

    return node


def asked(*nodes) -> tuple[dict[int, dict], HostNodes]:
    federation = HostNodes(FakeGrid(dict(enumerate(nodes))), range(len(nodes)), 5 * len(nodes), SIGNER)
    return dict(federation.ask("alerts_query", {"audience": "", "step": STEP})), federation


def test_each_device_s_reply_is_counted_as_a_message_of_its_own():
    answers = HostAnswers.of({3: reply_of(ALERT), 1: reply_of()}, reply_of(), 5)
    told, federation = asked(host(0, answers))
    assert {device: len(fields["alerts"]) for device, fields in told.items()} == {3: 1, 1: 0}
    assert federation.traffic.received == {"alerts": 5}
    assert federation.traffic.received_bytes == {"alerts": len(reply_of(ALERT)) + 4 * len(reply_of())}


def test_of_a_host_that_fails_no_reply_is_counted():
    """Nor of its devices that would have seen nothing: nobody knows."""
    told, federation = asked(host(0, HostAnswers.of({}, reply_of(), 5)), fails)
    assert told == {} and federation.traffic.sent == {"alerts_query": 10}
    assert federation.traffic.received == {"alerts": 5} and federation.traffic.dropped == {"host": 1}


def test_who_declines_is_counted_by_code():
    told, federation = asked(host(0, HostAnswers.refusals({int(RefusalCode.CONSENT): 4, int(RefusalCode.STALE): 0})))
    assert told == {} and federation.traffic.received == {"refusal": 4}
    assert federation.traffic.dropped == {f"refusal_{int(RefusalCode.CONSENT)}": 4}


@pytest.mark.parametrize("n", [0, 7])
def test_answers_go_to_the_server_and_come_back(n):
    told = {device: reply_of(*[ALERT] * (device % 2)) for device in range(n)}
    answers = HostAnswers.of(told, reply_of(), 9)
    again = HostAnswers.from_arrays(answers.to_arrays())
    assert again.devices.tolist() == list(told) and again.n_alike == 9 - n and again.alike == reply_of()
    assert [again.messages[place] for place in again.which.tolist()] == list(told.values())


def test_a_message_is_read_once_however_many_send_it_and_only_when_its_turn_comes():
    """Of a million devices that tell something, one message is in memory at a time, read."""
    told = {0: reply_of(ALERT), 1: reply_of(ALERT, ALERT), 2: reply_of(ALERT), 3: reply_of(ALERT, ALERT)}
    traffic, seen = Traffic(), []
    for device, fields in HostAnswers.of(told, reply_of(), 6).read(traffic):
        seen.append((device, len(fields["alerts"]), traffic.received["alerts"]))
    assert seen == [(0, 1, 4), (2, 1, 4), (1, 2, 6), (3, 2, 6)], "two saw nothing"
    lengths = [len(reply_of(*[ALERT] * n)) for n in (0, 0, 1, 1, 2, 2)]
    assert traffic.received_bytes == {"alerts": sum(lengths)}


def test_a_host_is_waited_for_as_long_as_a_run_may_take():
    """It answers for half a million devices at once; a device of its own has ten minutes."""

    class Waiting(FakeGrid):
        waited_s = 0.0

        def send_and_receive(self, messages, *, timeout=None):
            self.waited_s = timeout
            return super().send_and_receive(messages, timeout=timeout)

    grid = Waiting({0: host(0, HostAnswers.of({}, reply_of(), 5))})
    federation = HostNodes(grid, range(1), 5, SIGNER)
    assert dict(federation.ask("alerts_query", {"audience": "", "step": STEP})) == {}
    assert grid.waited_s > 2 * SimulationSection().timeout_s > REPLY_TIMEOUT_S
