"""Which pages does the source write?"""

from __future__ import annotations

from docs.generator.pages import write_all

if __name__ == "__main__":
    for path in write_all():
        print(f"written: {path}")
