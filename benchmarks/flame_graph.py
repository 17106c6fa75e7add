"""How are stacks shown as one picture, in a file that needs nothing else?

A flame graph (Gregg, 2011), hanging from the top: the width of a box is what it and all below have spent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

from benchmarks.profiling import Frame, Profile

ROW_PX = 18
LEAST_SHARE = 0.0005
"""Smaller boxes would be thinner than a point."""

_SCRIPT = """\
"use strict";
const boxes = [...document.querySelectorAll("button")];
const show = (x, w) => boxes.forEach((box) => {
  const left = (box.dataset.x - x) / w, width = box.dataset.w / w;
  box.hidden = left >= 1 - 1e-9 || left + width <= 1e-9;
  const from = Math.max(0, left);
  box.style.left = 100 * from + "%";
  box.style.width = 100 * (Math.min(1, left + width) - from) + "%";
});
const said = document.querySelector("output");
boxes.forEach((box) => {
  box.onclick = () => show(+box.dataset.x, +box.dataset.w);
  box.onmouseenter = box.onfocus = () => { said.textContent = box.title; };
});
document.onkeydown = (event) => { if (event.key === "Escape") show(0, 1); };
"""
_STYLE = """\
:root { color-scheme: light dark; --ink: #16181d; --paper: #fff; --light: 78%; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaf0; --paper: #14161b; --light: 32%; } }
body { margin: 1rem; font: 14px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.1rem; margin: 0; }
output { display: block; min-height: 2.8em; overflow-wrap: anywhere; }
main { position: relative; }
button { position: absolute; height: 17px; padding: 0 2px; border: 0; border-radius: 2px; overflow: hidden;
  white-space: nowrap; text-align: left; font: 11px/17px ui-monospace, monospace; color: inherit; cursor: pointer;
  border-right: 1px solid var(--paper); box-sizing: border-box; background: hsl(var(--hue) 60% var(--light)); }
button:hover, button:focus { outline: 2px solid var(--ink); z-index: 1; }
"""


@dataclass(slots=True)
class _Node:
    frame: Frame
    weight: float = 0.0
    below: dict[Frame, _Node] = field(default_factory=dict)


def to_html(profile: Profile) -> str:
    """The page: light and dark, no network; a click widens a box, Escape goes back."""
    root, total = _tree(profile), sum(profile.stacks.values())
    boxes = list(_boxes(profile, root, total)) if total > 0 else []
    depth = 1 + max((depth for depth, _ in boxes), default=0)
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = escape(f"{profile.kind}: {profile.tool}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>{escape(profile.about)}.  Click a box to widen it, press Escape to see all.</p>\n<output></output>\n"
        f'<main style="height: {depth * ROW_PX}px">\n'
        + "".join(box for _, box in boxes)
        + f"</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _tree(profile: Profile) -> _Node:
    root = _Node(Frame("all", "", 0))
    for stack, weight in profile.stacks.items():
        node = root
        node.weight += weight
        for frame in stack:
            node = node.below.setdefault(frame, _Node(frame))
            node.weight += weight
    return root


def _boxes(profile: Profile, root: _Node, total: float) -> Iterator[tuple[int, str]]:
    """Row and element of each node that is wide enough."""
    left = [(root, 0.0, 0)]
    while left:
        node, x, depth = left.pop()
        yield depth, _box(profile, node, total, x, depth)
        for child in sorted(node.below.values(), key=lambda child: -child.weight):
            if child.weight >= LEAST_SHARE * total:
                left.append((child, x, depth + 1))
            x += child.weight / total


def _box(profile: Profile, node: _Node, total: float, x: float, depth: int) -> str:
    frame, share = node.frame, node.weight / total
    title = escape(
        f"{frame if depth else frame.function}: {profile.amount(node.weight)}, {100 * share:.1f} %", quote=True
    )
    hue = crc32(frame.file.partition("/")[0].encode()) % 360  # a package has one colour
    style = f"--hue: {hue}; top: {depth * ROW_PX}px; left: {100 * x:.3f}%; width: {100 * share:.3f}%"
    name, data = escape(frame.function), f'data-x="{x:.6f}" data-w="{share:.6f}"'
    return f'<button style="{style}" {data} title="{title}">{name}</button>\n'
