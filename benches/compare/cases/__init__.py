"""All comparisons, in the order in which they run and are told."""

from .beside import BESIDE
from .bulk import BULK
from .lines import LINES
from .oneshot import ONESHOT
from .pipelined import PIPELINED
from .roundtrip import ROUNDTRIP
from .slots import SLOTS

CASES = (ROUNDTRIP, PIPELINED, LINES, ONESHOT, BULK, BESIDE, SLOTS)
