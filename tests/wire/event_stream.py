"""Which events are in a stream, by the letter of the standard?"""

from __future__ import annotations


class Interpreter:
    """The standard's own words ("Interpreting an event stream"), step by step, over the whole text at once.

    Two steps are ours: what is no UTF-8 in `data` is kept as it was sent, so only the decoded text can be compared; and
    a `retry` of more than 18 digits is ignored.
    """

    def __init__(self, stream: bytes) -> None:
        self.data = self.kind = self.last_id = ""
        self.retry_ms: int | None = None
        self.events: list[tuple[str, str, str]] = []  # kind, data, id
        for line in lines_of(stream.decode("utf-8", "replace").removeprefix("\ufeff")):
            self.process(line)

    def process(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            pass
        elif ":" in line:
            field, value = line[: line.index(":")], line[line.index(":") + 1 :]
            self.field(field, value[1:] if value[:1] == " " else value)
        else:
            self.field(line, "")

    def field(self, name: str, value: str) -> None:
        if name == "event":
            self.kind = value
        elif name == "data":
            self.data += value
            self.data += "\n"
        elif name == "id":
            if "\0" not in value:
                self.last_id = value
        elif name == "retry" and value != "" and all(letter in "0123456789" for letter in value) and len(value) <= 18:
            self.retry_ms = int(value)

    def dispatch(self) -> None:
        if self.data == "":
            self.kind = ""
            return
        if self.data[-1] == "\n":
            self.data = self.data[:-1]
        self.events.append((self.kind if self.kind != "" else "message", self.data, self.last_id))
        self.data = self.kind = ""


def lines_of(text: str) -> list[str]:
    """Lines end in CR LF, LF or CR; what no such end follows is no line."""
    lines, line, at = [], "", 0
    while at < len(text):
        if text[at] in "\r\n":
            lines.append(line)
            line = ""
            at += 2 if text[at : at + 2] == "\r\n" else 1
        else:
            line += text[at]
            at += 1
    return lines
