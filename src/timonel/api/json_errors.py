"""Why a text is no JSON, in the words of upstream's decoder. Only ever run on bodies that orjson refused."""

from __future__ import annotations

import re

import orjson

from timonel.api.field_errors import quote


def explain_json_error(body: bytes, exc: orjson.JSONDecodeError) -> str:
    """The reason in upstream's words, as far as it can be told from where the reader stopped."""
    try:
        body.decode()
    except UnicodeDecodeError as decode_error:
        return f"invalid UTF-8 at byte {decode_error.start}"
    if "recursion" in exc.msg or "depth" in exc.msg:  # the first until orjson 3.12
        return "exceeded max depth"
    text = body.decode()
    problem = _JsonScan(text).first_problem()
    return problem or f"invalid JSON: {exc.msg}"


_string = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_string_start = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_scalar = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_space = re.compile(r"[ \t\r\n]*")
_END = "unexpected end of JSON input"


class _JsonScan:
    """Walks tokens with a stack of open brackets, only to say what is wrong and where; never in the good case."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def first_problem(self) -> str | None:
        stack: list[str] = []
        expect = "value"
        while True:
            match = _space.match(self.text, self.position)
            assert match is not None
            self.position = match.end()
            char = self.text[self.position : self.position + 1]
            if not char:
                return None if expect == "end" else _END
            match expect:
                case "value" | "first item":
                    if char in "{[":
                        stack.append(char)
                        self.position += 1
                        expect = "first key" if char == "{" else "first item"
                        continue
                    if char == "]" and expect == "first item":
                        self.position += 1
                        stack.pop()
                    elif problem := self._scalar(char):
                        return problem
                    expect = self._after(stack)
                case "key" | "first key":
                    if char == "}" and expect == "first key":
                        self.position += 1
                        stack.pop()
                        expect = self._after(stack)
                    elif char != '"':
                        return self._invalid(char, "looking for beginning of object key string")
                    elif problem := self._string():
                        return problem
                    else:
                        expect = "colon"
                case "colon":
                    if char != ":":
                        return self._invalid(char, "after object key")
                    self.position += 1
                    expect = "value"
                case "more":
                    closing = "}" if stack[-1] == "{" else "]"
                    if char == ",":
                        expect = "key" if stack[-1] == "{" else "value"
                    elif char == closing:
                        stack.pop()
                        expect = self._after(stack)
                    else:
                        what = "object key:value pair" if closing == "}" else "array element"
                        return self._invalid(char, f"after {what}")
                    self.position += 1
                case "end":
                    return self._invalid(char, "after top-level value")

    def _after(self, stack: list[str]) -> str:
        return "more" if stack else "end"

    def _scalar(self, char: str) -> str | None:
        if char == '"':
            return self._string()
        match = _scalar.match(self.text, self.position)
        if match is None:
            rest = self.text[self.position :]
            if rest in ("-", *(word[:length] for word in ("true", "false", "null") for length in range(1, len(word)))):
                return _END
            return self._invalid(char, "looking for beginning of value")
        self.position = match.end()
        return None

    def _string(self) -> str | None:
        match = _string.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
            return None
        start = _string_start.match(self.text, self.position)
        end = start.end() if start else len(self.text)
        char = self.text[end : end + 1]
        if not char or (char == "\\" and end + 1 >= len(self.text)):
            return _END
        if char == "\\":
            return self._invalid(self.text[end + 1], "in string escape code")
        return self._invalid(char, "in string literal")

    def _invalid(self, char: str, where: str) -> str:
        shown = {"'": "'\\''", '"': "'\"'"}.get(char) or f"'{quote(char)[1:-1]}'"
        return f"invalid character {shown} {where}"
