"""What the app on a device is told, by `on_step`: every step that closes, and every alert, once.

`on_step` is called after the call that closed the step, while no thread holds the device: it may call
anything, wait for other threads, close the device or have it forgotten. Alerts that were raised while it had no `on_step`, as by
a process that answers the server, lie in the vault as not told yet; when it opens the device with one, it is told of them,
step by step, with p NaN for steps before the last. Alerts are told once: the vault has it as soon as `on_step` returned, or
closed the device. Where it did not return, because it raised or its process died, they are told again when the device is
next opened. An Exception is counted as `callback`; anything else, as SystemExit, passes to whoever called the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shared.arrays import Floats

from .detection.alerts import Alert
from .gate import Gate
from .owner import OwnerControls
from .state import DeviceState, Told
from .turns import in_turn
from .vault.vault import Vault

#: Told at the close of a step: the step, p (C,) (NaN where there is no score), the alerts it raised.
OnStep = Callable[[int, Floats, list[Alert]], None]


class AppTold(OwnerControls):
    """A device as far as it tells the app what happens."""

    _state: DeviceState

    def __init__(self, vault: Vault, gate: Gate, server_key: bytes, on_step: OnStep | None) -> None:
        super().__init__(vault, gate, server_key)
        self._on_step = on_step
        self._telling: int | None = None  # the step that the app is being told of

    def close(self) -> None:
        """See `OwnerControls.close`. An `on_step` that closes the device has been told."""
        if self._telling is not None and self._turn.calls_here:
            self._note_told(self._telling)
        super().close()

    def _tell(self, told: Told) -> None:
        """Have the app told of a closed step, once nobody holds this device."""
        if self._on_step is not None:
            self._turn.waiting.append(partial(self._hand_over, self._on_step, told))

    def _hand_over(self, on_step: OnStep, told: Told) -> None:
        """Tell the app of a closed step; its errors are its own."""
        self._telling = told.step
        try:
            on_step(*told)
        except Exception:
            self._note_callback()
        else:
            self._note_told(told.step)
        finally:
            self._telling = None

    def _tell_late(self) -> None:
        """Tell the app what it was not told yet."""
        for told in self._state.to_tell() if self._on_step is not None else []:
            try:
                self._on_step(*told)  # type: ignore[misc]
            except Exception:
                self._tell(told)
            else:
                self._note_told(told.step)

    @in_turn
    def _note_callback(self) -> None:
        self.problems["callback"] += 1

    @in_turn
    def _note_told(self, step: int) -> None:
        """Write down that the app was told of a step, if there were alerts."""
        with self._quietly():
            if step in self._state.untold:
                after = self._state.told(step)
                with self._vault.writing("alerts"):
                    after.put_alerts(self._vault)
                self._state = after
