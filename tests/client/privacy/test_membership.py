"""What a device is in epochs of enrolment: the rules by themselves, over values; and what its vault keeps of it, and how long."""

import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.answers import answer
from client.device import Device
from client.privacy.membership import MOST_EPOCHS, Answered, Member, Members
from client.vault.store import Store
from shared.clock import ReplayClock
from shared.codec import decode
from shared.errors import Refusal, RefusalCode
from shared.messages import REGISTER
from shared.secure_sum.epoch import MOST_WINDOW_S, unverified
from shared.secure_sum.leaves import expect_leaf
from tests.world.basics import examples, make_profile, open_device, view
from tests.world.enrolled import ENROLMENT_KEY, OTHER_ENROLLER, enrolled, member_of, signed_epoch
from tests.world.residue import nonces_there, raw, remnants, watched
from tests.world.signing import ASKED_AT_S, signed_request

#: In the middle of the epochs of these tests.
NOW_S = 100 * 86_400.0


def refused(what, *arguments) -> RefusalCode:
    with pytest.raises(Refusal) as refusal:
        what(*arguments)
    return refusal.value.code


def leaf(members: Members, number: int) -> bytes:
    return next(member.leaf for member in members.members if member.number == number)


def joined(members: Members, number: int, now_s: float = NOW_S, **more) -> Members:
    signed = signed_epoch([leaf(members, number)], now_s, number, **more)
    return members.joined(signed, ENROLMENT_KEY, more.get("audience", ""), now_s)[0]


# ---- keys


def test_keys_are_drawn_once_for_an_epoch_and_are_right_ones_that_differ():
    first = Members().drawn(3)
    assert first.drawn(3) is first, "asked again, the same keys"
    others = [Members().drawn(3).members[0] for _ in range(20)]
    everybody = [*first.members, *others]
    assert len({m.identity for m in everybody} | {m.seat for m in everybody}) == 2 * len(everybody)
    for member in everybody:
        expect_leaf(member.leaf)
        assert "secret" in repr(member) and member.identity.hex() not in repr(member) + repr(first)


def test_an_epoch_before_the_last_is_stale_and_gets_no_keys():
    members = Members().drawn(5)
    for number in (1, 4):
        assert refused(members.drawn, number) is RefusalCode.STALE
    assert refused(members.drawn(6).drawn, 5) is RefusalCode.STALE, "that its list never came takes nothing back"
    assert joined(members, 5).drawn(6).drawn(5).members[0].number == 5, "of one that runs the keys are still there"


@examples(100)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=12))
def test_there_are_two_epochs_at_most_and_the_last_one_that_runs_is_kept(asked):
    members, best = Members(), 0
    for number, signs in asked:
        running = [m for m in members.members if m.signed]
        try:
            members = members.drawn(number)
        except Refusal:
            assert number < best
            continue
        best = max(best, number)
        if running:
            assert running[-1] in members.members
        if signs and not next(m for m in members.members if m.number == number).signed:
            members = joined(members, number)
        numbers = [m.number for m in members.members]
        assert number in numbers and numbers == sorted(set(numbers)) and len(numbers) <= MOST_EPOCHS


# ---- the list


def test_an_epoch_is_joined_under_the_pinned_key_for_the_own_audience_and_while_it_runs():
    members = Members().drawn(1)
    own = [leaf(members, 1)]
    wrong = {
        "another signer": signed_epoch(own, NOW_S, key=OTHER_ENROLLER),
        "another audience": signed_epoch(own, NOW_S, audience="north"),
        "over": signed_epoch(own, NOW_S - 2 * MOST_WINDOW_S),
        "to come": signed_epoch(own, NOW_S + 2 * MOST_WINDOW_S),
        "no keys drawn for it": signed_epoch(own, NOW_S, 2),
        "cut": signed_epoch(own, NOW_S)[:-1],
        "a changed seed": _flipped(signed_epoch(own, NOW_S)),
        "nothing": b"",
    }
    for what, signed in wrong.items():
        assert refused(members.joined, signed, ENROLMENT_KEY, "", NOW_S) is RefusalCode.EPOCH, what
    right = signed_epoch(own, NOW_S)
    for key in (b"", bytes(32), ENROLMENT_KEY[::-1]):
        assert refused(members.joined, right, key, "", NOW_S) is RefusalCode.EPOCH, (
            "a device that pinned another, or none"
        )
    after, epoch = members.joined(right, ENROLMENT_KEY, "", NOW_S)
    assert after.serving(1, ENROLMENT_KEY, "", NOW_S) == (after.members[0], epoch) and epoch == unverified(right)
    for now_s in (epoch.begins_s - 1, epoch.ends_s):
        assert refused(after.serving, 1, ENROLMENT_KEY, "", now_s) is RefusalCode.EPOCH
    assert refused(after.serving, 2, ENROLMENT_KEY, "", NOW_S) is RefusalCode.EPOCH
    assert refused(members.serving, 1, ENROLMENT_KEY, "", NOW_S) is RefusalCode.EPOCH, "before its list came"


def _flipped(signed: bytes) -> bytes:
    """A signed epoch with one bit of its seed changed."""
    at = signed.index(unverified(signed).seed)
    return signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]


def test_of_one_epoch_there_is_one_list():
    """A list that is closed again has another seed: other seats, and the answers of the first would not count."""
    members = Members().drawn(1)
    first, second = (signed_epoch([leaf(members, 1)], NOW_S) for _ in range(2))
    after, _ = members.joined(first, ENROLMENT_KEY, "", NOW_S)
    assert after.joined(first, ENROLMENT_KEY, "", NOW_S)[0] == after
    assert refused(after.joined, second, ENROLMENT_KEY, "", NOW_S) is RefusalCode.EPOCH


# ---- what it answered as a seat


def test_what_was_answered_is_by_epoch_plan_kind_and_round():
    members = joined(Members().drawn(1), 1)
    slot = bytes(32), bytes(range(32)), "update", 7
    after = members.having_answered(1, slot, b"list")
    assert Answered(after.members[0]).answered(slot) == b"list" and Answered(members.members[0]).answered(slot) is None
    for other in ((*slot[:2], "risk_update", 7), (*slot[:3], 8), (slot[0], bytes(32), *slot[2:])):
        assert Answered(after.members[0]).answered(other) is None
    assert Members.of(after.plain()) == after and Members.of(None) == Members()


# ---- when it is over


def test_an_epoch_that_is_over_is_left_with_its_keys_and_what_runs_stays():
    members = joined(Members().drawn(1), 1)
    both = joined(members.drawn(2), 2, NOW_S + 86_400)
    ends_s = unverified(both.members[0].signed).ends_s
    assert both.without_past(ends_s - 1) is both
    (left,) = both.without_past(ends_s).members
    assert left.number == 2
    drawn = Members().drawn(3)
    assert drawn.without_past(1e12) is drawn, "nobody knows when an epoch is over whose list never came"


def test_keys_are_on_the_disk_before_they_leave(tmp_path):
    """A copy that was taken when the reply came holds them: a process killed just then can still read what is sealed to it."""
    device = open_device(tmp_path / "home", make_profile())
    _, fields = decode(REGISTER, answer(device, signed_request("enrolment_query", {"epoch": 4})))
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with open_device(tmp_path / "copy") as again:
        member = member_of(again, 4)
        assert member.leaf == fields["identity"] + fields["seat"]
        assert decode(REGISTER, answer(again, signed_request("enrolment_query", {"epoch": 4})))[1] == fields


@pytest.mark.parametrize("where", ["members", "commit", "anchor"])
def test_killed_on_the_way_of_its_keys_none_leave_that_it_does_not_have(tmp_path, monkeypatch, where):
    class Killed(BaseException):
        pass

    device = open_device(tmp_path / "home", make_profile())
    put, heads, advance = Store.put, Store._write_heads, type(device._vault.keys).advance

    def killed(name, real):
        def go(first, *rest):
            if where == name:
                raise Killed
            return real(first, *rest)

        return go

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", lambda s, t, *r: (_ for _ in ()).throw(Killed) if t == where else put(s, t, *r))
        patch.setattr(Store, "_write_heads", killed("commit", heads))
        patch.setattr(type(device._vault.keys), "advance", killed("anchor", advance))
        with pytest.raises(Killed):
            answer(device, signed_request("enrolment_query", {"epoch": 4}))
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with open_device(tmp_path / "copy") as again:
        assert [m.number for m in again.gate.members.members] == ([4] if where == "anchor" else [])
        assert decode(REGISTER, answer(again, signed_request("enrolment_query", {"epoch": 4})))[0] == "enrolment"


#: What a device does at last in an epoch that is over.
ENDS = {
    "a request": lambda device: answer(device, signed_request("alerts_query", {"step": 3}, ASKED_AT_S)),
    "a request that is refused": lambda device: answer(device, signed_request("train_request", ROUND, ASKED_AT_S)),
    "a step that closes": lambda device: device.close_until(102),
    "an opening": None,
}
ROUND = {"step": 3, "round": 1, "plan_sha256": bytes(32), "theta": bytes(4)}


@pytest.mark.parametrize("end", ENDS)
def test_keys_of_an_epoch_that_is_over_are_in_none_of_the_files(tmp_path, end):
    """Not even sealed, for somebody who has the vault's key; and they are not in its rows."""
    written, clock = set(), ReplayClock(NOW_S)
    with watched(written.add):
        device = enrolled(open_device(tmp_path, make_profile(), clock=clock))
        device.record(view(1))
        secret = member_of(device, 1)
        assert any(row.table == "members" for row in written)
        assert not remnants(written, nonces_there(device._vault.store), b"")
        clock.wait_until(NOW_S + MOST_WINDOW_S)
        assert device.gate.members.members, "until something happens"
        if ENDS[end] is None:
            device.close()
            device = open_device(tmp_path, clock=clock)
        else:
            ENDS[end](device)
        assert device.gate.members == Members() and not device.problems
        mine = {row for row in written if row.table == "members"}
        assert remnants(mine, nonces_there(device._vault.store), raw(tmp_path)) == []
        rows = [payload for table in device._vault.store.tables for _, payload in device._vault.store.rows(table)]
        assert rows and not any(key in row for row in rows for key in (secret.identity, secret.seat))
        device.close()


def test_what_runs_on_is_kept_when_an_older_epoch_ends(tmp_path):
    clock = ReplayClock(NOW_S)
    with open_device(tmp_path, make_profile(), clock=clock) as device:
        enrolled(device)
        clock.wait_until(NOW_S + MOST_WINDOW_S // 2 - 60)
        enrolled(device, 2)
        clock.wait_until(NOW_S + MOST_WINDOW_S // 2 + 60)
        left = member_of(device, 2)
        assert device.close_until(1) and device.gate.members.members == (left,)
    with open_device(tmp_path, clock=clock) as again:
        assert again.gate.members.members == (left,)


def test_a_disk_that_is_full_stops_no_opening(tmp_path, monkeypatch):
    """The keys go at the next one."""
    clock = ReplayClock(NOW_S)
    enrolled(open_device(tmp_path, make_profile(), clock=clock)).close()
    clock.wait_until(NOW_S + MOST_WINDOW_S)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_heads", lambda *_: (_ for _ in ()).throw(OSError("no room")))
        device = open_device(tmp_path, clock=clock)
        assert device.gate.members.members and sum(device.problems.values()) == 1
    device.close()
    with open_device(tmp_path, clock=clock) as again:
        assert again.gate.members == Members()


def test_a_member_s_secrets_are_in_no_text(tmp_path):
    with enrolled(open_device(tmp_path, make_profile())) as device:
        member: Member = member_of(device, 1)
        said = repr(device) + repr(device.gate.members) + repr(replace(member, number=2)) + repr(vars(Device))
        assert member.seat.hex() not in said and repr(member.seat) not in said
