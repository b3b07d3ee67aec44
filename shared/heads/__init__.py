"""Heads: the chances that an interest lapses, and that a quiet one is taken up, each a logistic model of the same inputs.

Both start from planted (public) people, and go on in private rounds (docs/learning.md). `inputs` says what they look at, `start`
where they begin, `learning` and `crowd` what one device adds to a round, `model` what they say.
"""

from .crowd import crowd_of as crowd_of
from .crowd import pair_shares as pair_shares
from .learning import HeadRows as HeadRows
from .learning import curvature_vectors as curvature_vectors
from .learning import update_vectors as update_vectors
from .model import Heads as Heads
from .start import TASKS as TASKS
from .start import HeadsStart as HeadsStart
from .symmetric import packed as packed
from .symmetric import packed_length as packed_length
from .symmetric import unpacked as unpacked
