"""One file, replaced in one move: killed at any moment, a device finds the old state or the new one."""

import os

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from client import store as store_module
from client.store import STATE_FILE, Store, pack, unpack
from shared.errors import DataError


@given(
    st.sampled_from([np.float32, np.float64, np.int64, np.bool_]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
    )
)
def test_arrays_go_round_bit_for_bit_and_come_back_writable(array):
    again = unpack(cbor2.loads(cbor2.dumps(pack(array))))
    assert again.dtype == array.dtype and again.shape == array.shape and again.tobytes() == array.tobytes()
    again[...] = 0


def test_a_folder_without_a_state_has_no_device(tmp_path):
    store = Store(tmp_path / "phone")
    assert not store.exists()
    with pytest.raises(DataError, match="missing"):
        store.load()


def test_state_goes_round_and_the_folder_holds_one_file(tmp_path):
    store = Store(tmp_path / "phone")
    store.save({"n": 1})
    store.save({"n": 2, "data": b"\0\1"})
    assert Store(tmp_path / "phone").load() == {"version": 1, "n": 2, "data": b"\0\1"}
    assert [f.name for f in (tmp_path / "phone").iterdir()] == [STATE_FILE]


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, no handler catches it."""


@pytest.mark.parametrize("written", [0.0, 0.3, 0.9, 1.0])
def test_killed_while_writing_or_before_the_move_the_old_state_is_there(tmp_path, monkeypatch, written):
    store = Store(tmp_path)
    store.save({"n": 1})
    real = type(tmp_path).write_bytes

    def half(path, data: bytes) -> int:
        real(path, data[: int(len(data) * written)])
        raise Killed

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        if written < 1:
            patch.setattr(type(tmp_path), "write_bytes", half)
        else:
            patch.setattr(store_module.os, "replace", killed)
        with pytest.raises(Killed):
            store.save({"n": 2})
    assert len(list(tmp_path.iterdir())) == 2, "the half-written file is still there"
    assert Store(tmp_path).load()["n"] == 1
    Store(tmp_path).save({"n": 3})
    assert Store(tmp_path).load()["n"] == 3
    assert [f.name for f in tmp_path.iterdir()] == [STATE_FILE]


def test_killed_after_the_move_the_new_state_is_there(tmp_path, monkeypatch):
    Store(tmp_path).save({"n": 1})
    move = os.replace

    def replaced(*names):
        move(*names)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "replace", replaced)
        with pytest.raises(Killed):
            Store(tmp_path).save({"n": 2})
    assert Store(tmp_path).load()["n"] == 2


@pytest.mark.parametrize(
    "data", [b"", b"\xa1", b"not cbor", cbor2.dumps([1, 2]), cbor2.dumps({"n": 1}), cbor2.dumps({"version": 99})]
)
def test_a_damaged_state_is_a_clear_error(tmp_path, data):
    (tmp_path / STATE_FILE).write_bytes(data)
    with pytest.raises(DataError, match="expected"):
        Store(tmp_path).load()
