"""A round's secure sum, from the server's side: what devices sealed goes to the seats, and what the seats add up comes back.

    training request -> sealed shares      opinion_request -> who cannot be in it      sum_request -> the sum's shares -> the sum

Nothing of a single device can be read here. The list is on disk before the first seat sees it as final. With a journal the
request is, too, before the first device hears it: a server that goes on with the round asks for the very same body, which devices
answer from their outboxes, and once a list is final, that one is summed and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.arrays import Bools, Words
from shared.codec import decode, encode
from shared.errors import RunError, SumError, WireError
from shared.messages import REQUESTS
from shared.plan import Plan, UpdateKind
from shared.secure_sum.assembly import header_of, seats_drawn
from shared.secure_sum.consistency import judged
from shared.secure_sum.correction import conflicts, opened
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.header import Header
from shared.secure_sum.seat import expect_answer, read_boxes
from shared.secure_sum.share import box_bytes, sealed_bytes

from ..channel import Channel
from ..federation import refusals
from .open_round import FinalList, OpenRounds
from .roll import Roll

#: Writes down, durably, which list a round is summed over: header hash, list hash, and how many devices are in it.
KeepList = Callable[[SumList], None]


@dataclass(frozen=True)
class Sent:
    """What one device sent: its entry, and its boxes, one for each sealed seat."""

    entry: Entry
    sealed: bytes


@dataclass(frozen=True)
class Holder:
    """Who holds a seat, or a pad: its place in the header, and its node."""

    place: int
    node: int


class SecureSum:
    """The way from a cohort to the sum of its vectors, in one epoch of enrolment. With `rounds`, a round that is left open there is
    gone on with, and those who hold seats are asked again while it is open, if too few of them answer."""

    def __init__(self, channel: Channel, roll: Roll, keep: KeepList, rounds: OpenRounds | None = None) -> None:
        self._channel, self._roll, self._keep, self._rounds = channel, roll, keep, rounds
        self._dropped = channel.traffic.dropped

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        """The sum of a cohort's vectors modulo 2^32, uint32 (kind's n_values,), and how many devices are in it; zeros and 0 if it
        could not be opened, which is counted."""
        nothing = np.zeros(kind.n_values, np.uint32), 0
        asked = self._request(plan, kind, request)
        body_sha256 = hashlib.sha256(encode(REQUESTS, kind.request, asked)).digest()
        header = header_of(plan, kind, asked, body_sha256, self._roll.epoch)
        try:
            final = self._rounds.final_list(header.round) if self._rounds else None
            if final is not None:
                sent, holders = self._as_written(header, final)
                return self._opened(header, sent, holders), len(sent)
            sent = self._sent(header, self._channel.ask(cohort, kind.request, asked))
            if len(sent) < header.min_survivors:
                return nothing[0], len(sent)
            sent, holders = self._agreed(header, sent)
            if len(sent) < header.min_survivors:
                return nothing[0], len(sent)
            return self._opened(header, sent, holders), len(sent)
        except SumError as error:
            self._dropped[f"sum_{error.reason}"] += 1
            return nothing

    def _request(self, plan: Plan, kind: UpdateKind, request: Mapping[str, Any]) -> dict[str, Any]:
        """The whole request of a round: the one that its devices were asked before, if it is left open, or a new one, which is
        written down. RunError if what is learned stands elsewhere than when it was opened."""
        number = request["round"]
        if self._rounds is not None and (body := self._rounds.body(number)):
            asked = decode(REQUESTS, body)[1]
            if {**asked, **request} != asked:
                raise RunError(f"expected the request that round {number} was opened with")
            return asked
        asked = {**request, **self._seated(plan, kind, number)}
        if self._rounds is not None:
            self._rounds.keep_body(number, encode(REQUESTS, kind.request, asked))
        return asked

    def _as_written(self, header: Header, final: FinalList) -> tuple[list[Sent], list[Holder]]:
        """The devices and seats of a list that is final, as they were written down."""
        entries, size = SumList.from_bytes(header, final.entries).entries, sealed_bytes(header)
        sent = [Sent(entry, final.boxes[i * size : (i + 1) * size]) for i, entry in enumerate(entries)]
        return sent, [holder for holder in self._holders(header) if holder.place in final.places]

    def _seated(self, plan: Plan, kind: UpdateKind, round_number: int) -> dict[str, Any]:
        """The fields of a training request that say who holds its seats: of devices that were drawn, those whose nodes are not there
        are named absent, as far as may be."""
        epoch, roll = self._roll.epoch, self._roll
        fields = {"epoch": epoch.number, "seats": b"", "seats_proof": b"", "absent": b""}
        drawn = seats_drawn(plan, kind, round_number, epoch)
        if not drawn or plan.sum is None:
            return fields
        here = self._channel.connected()
        away = [index for index in drawn if roll.node_at(index) not in here or self._has_left(index)]
        spare = len(drawn) - plan.sum.seats if len(drawn) < epoch.n_devices else 0
        absent = set(away[:spare])
        seated = [index for index in drawn if index not in absent][: plan.sum.seats]
        return {
            **fields,
            "seats": b"".join(roll.leaves[index] for index in seated),
            "seats_proof": roll.proof(seated),
            "absent": np.array(sorted(absent), ">u4").tobytes(),
        }

    def _has_left(self, index: int) -> bool:
        node = self._roll.node_at(index)
        return node is None or self._channel.enrolment.has_left(node)

    def _sent(self, header: Header, replies: Mapping[int, Mapping[str, Any]]) -> list[Sent]:
        """What counts of the replies, in the order of the enrolment."""
        out = []
        for node, fields in replies.items():
            index = self._roll.index_of(node)
            if index is None:
                self._dropped["sum_outside"] += 1
                continue
            digest = hashlib.sha256(fields["sealed"]).digest()
            entry = Entry(index, self._roll.leaves[index], fields["ephemeral"], digest, fields["signature"])
            try:
                if len(fields["sealed"]) != sealed_bytes(header):
                    raise SumError("length", "expected a box for every sealed seat")
                entry.expect_signed(header)
            except SumError as error:
                self._dropped[f"sum_{error.reason}"] += 1
                continue
            out.append(Sent(entry, fields["sealed"]))
        return sorted(out, key=lambda one: one.entry.index)

    def _count(self, reason: str, times: int) -> None:
        if times:
            self._dropped[reason] += times

    # ---- first the seats say who cannot be in the sum

    def _agreed(self, header: Header, sent: list[Sent]) -> tuple[list[Sent], list[Holder]]:
        """The devices and the seats that have nothing against each other: as few as can be are left out, each counted."""
        holders = self._holders(header)
        listed = SumList.of(header, [one.entry for one in sent])
        opinions = self._asked(listed, sent, holders, "opinion_request")
        code, n = header.code, len(sent)
        holders = [holder for holder in holders if holder.node in opinions]
        refused = np.zeros((len(holders), n), np.bool_)
        told = np.zeros((len(holders), n, code.tests), np.uint32)
        read = np.ones(len(holders), np.bool_)
        for row, holder in enumerate(holders):
            try:
                places, words = _opinion(listed, opinions[holder.node])
            except WireError:
                self._dropped["sum_opinion"] += 1
                read[row] = False
                continue
            refused[row, places] = True
            told[row] = words
        against_all: Bools = read & refused.all(axis=1)  # against nobody in particular: it is out, and they are not
        self._count("sum_bad_seat", int(against_all.sum()))
        heard: Bools = read & ~against_all
        holders = [holder for row, holder in enumerate(holders) if heard[row]]
        refused, told = refused[heard], told[heard]
        bad = np.zeros(n, np.bool_)
        seats = np.array([row for row, one in enumerate(holders) if one.place < len(header.seats)], np.int64)
        if code.tests:
            sitting = np.array([holders[row].place for row in seats], np.int64)
            judgement = judged(code, sitting, told[seats])
            bad = judgement.bad
            refused[seats] |= judgement.edges
        edges = refused & ~bad
        if code.tests:
            out_seats, out_devices = conflicts(edges[seats])
            out_seats = seats[out_seats]
            out_devices = np.union1d(out_devices, np.flatnonzero(np.delete(edges, seats, axis=0).any(axis=0)))
        else:  # every seat is needed: whom any of them cannot read is out
            out_seats, out_devices = np.empty(0, np.int64), np.flatnonzero(edges.any(axis=0))
        bad[out_devices] = True
        self._count("sum_bad_shares", int(bad.sum()))
        self._count("sum_bad_seat", len(out_seats))
        gone = set(out_seats.tolist())
        return (
            [one for one, out in zip(sent, bad.tolist(), strict=True) if not out],
            [holder for row, holder in enumerate(holders) if row not in gone],
        )

    # ---- then they add up

    def _opened(self, header: Header, sent: list[Sent], holders: list[Holder]) -> Words:
        """The sum of what was sent. SumError if too few seats answer, or lie."""
        listed = SumList.of(header, [one.entry for one in sent])
        if self._rounds is not None:
            boxes, asked = b"".join(one.sealed for one in sent), tuple(holder.place for holder in holders)
            self._rounds.keep_list(header.round, FinalList(listed.canonical, boxes, asked))
        self._keep(listed)
        field, n_values = header.code.field, header.n_values
        answers: dict[int, Words] = {}
        for node, fields in self._asked(listed, sent, holders, "sum_request").items():
            place = next(holder.place for holder in holders if holder.node == node)
            n_words = n_values if place >= len(header.seats) else header.code.n_blocks(n_values)
            try:
                if fields["list_sha256"] != listed.sha256:
                    raise SumError("other_list", "expected an answer for the list that was asked")
                expect_answer(listed, place, fields["values"], fields["signature"])
                answers[place] = field.unpack(fields["values"], n_words)
            except WireError:
                self._dropped["sum_answer"] += 1
        pads = [answers.pop(len(header.seats) + i, None) for i in range(len(header.pads))]
        if any(pad is None for pad in pads):
            raise SumError("few", "expected an answer of every helper that laid a pad")
        places = sorted(answers)
        if len(places) < header.code.needed:
            raise SumError("few", "expected answers of more seats")
        sums = np.stack([answers[place] for place in places])
        found = opened(header.code, np.array(places, np.int64), sums, n_values)
        self._count("sum_lying_seat", len(found.liars))
        values = found.values
        for pad in pads:
            assert pad is not None
            values = field.minus(values, pad)
        return (field.to_signed(values) & 0xFFFFFFFF).astype(np.uint32)

    def _holders(self, header: Header) -> list[Holder]:
        nodes = [self._roll.node_of(leaf) for leaf in (*header.seats, *header.pads)]
        return [Holder(place, node) for place, node in enumerate(nodes) if node is not None]

    def _asked(
        self, listed: SumList, sent: Sequence[Sent], holders: Sequence[Holder], name: str
    ) -> dict[int, dict[str, Any]]:
        """The replies of those who hold seats to a request about a list, by node: each gets its own boxes."""
        header = listed.header
        shared = {
            "audience": self._roll.epoch.audience,
            "epoch": self._roll.epoch.number,
            "header": header.canonical,
            "entries": listed.canonical,
            "proof": self._roll.proof([entry.index for entry in listed.entries]),
        }
        size, boxes = box_bytes(header), [one.sealed for one in sent]
        requests = {}
        for holder in holders:
            sealed = header.t_priv <= holder.place < len(header.seats)
            own = read_boxes(boxes, size, holder.place - header.t_priv) if sealed else b""
            requests[holder.node] = {**shared, "boxes": own}
        return self._answers(header, holders, name, requests)

    def _answers(
        self, header: Header, holders: Sequence[Holder], name: str, requests: Mapping[int, Mapping[str, Any]]
    ) -> dict[int, dict[str, Any]]:
        """Replies by node. Those who say nothing are asked again while the round is open and too few have answered: whoever was
        restarted says the same as before. Who refuses would refuse again."""
        out: dict[int, dict[str, Any]] = {}
        attempt, silent = 0, dict(requests)
        while silent:
            before = refusals(self._channel.traffic).total()
            out |= self._channel.ask_each(name, silent)
            refused = refusals(self._channel.traffic).total() - before
            silent = {node: request for node, request in silent.items() if node not in out}
            places = [holder.place for holder in holders if holder.node in out]
            n_pads = sum(place >= len(header.seats) for place in places)
            if n_pads == len(header.pads) and len(places) - n_pads >= header.code.needed:
                break
            if self._rounds is None or len(silent) <= refused or not self._rounds.wait(header.round, attempt):
                break
            attempt += 1
        return out


def _opinion(listed: SumList, fields: Mapping[str, Any]) -> tuple[list[int], Words]:
    """The places that a seat refuses, and its words (n, tests); WireError for what is neither."""
    n, code = len(listed.entries), listed.header.code
    places = np.frombuffer(fields["refused"], ">u4").astype(np.int64)
    if fields["list_sha256"] != listed.sha256 or (places >= n).any() or (np.diff(places) <= 0).any():
        raise SumError("opinion", "expected an opinion on the list that was asked")
    return places.tolist(), code.field.unpack(fields["tests"], n * code.tests).reshape(n, code.tests)
