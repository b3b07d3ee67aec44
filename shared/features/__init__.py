"""From per-step counters to the network's inputs and labels, for any number of leading axes."""

from .counters import MOST_EVENTS as MOST_EVENTS
from .counters import N_COUNTERS as N_COUNTERS
from .counters import N_KINDS as N_KINDS
from .counters import History as History
from .crowd import Crowd as Crowd
from .extraction import extract as extract
from .spec import FeatureSpec as FeatureSpec
from .spec import Group as Group
from .spec import Richer as Richer
from .windows import established as established
from .windows import labels as labels
from .windows import last_active as last_active
from .windows import quiet as quiet
from .windows import seen as seen
from .windows import taken_up as taken_up
