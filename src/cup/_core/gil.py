"""Which paths are taken: those that lean on the GIL, or those under a mutex.

The fast paths of the services publish and then check (Dekker's pattern), which a GIL
makes safe. Without one the paths under a mutex are selected, at import. Setting
`CUP_FORCE_MUTEX=1` in the environment selects them, too: the test suite runs so once.
"""

from __future__ import annotations

import os
import sys
from typing import Final


def _gil_enabled() -> bool:
    probe = getattr(sys, "_is_gil_enabled", None)
    return True if probe is None else bool(probe())


MUTEX_PATHS: Final[bool] = bool(os.environ.get("CUP_FORCE_MUTEX")) or not _gil_enabled()
"""True where no step may rely on the GIL."""
