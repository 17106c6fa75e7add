"""May this endpoint be measured?"""

from __future__ import annotations
