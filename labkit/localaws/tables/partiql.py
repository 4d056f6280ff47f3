"""PartiQL for DynamoDB: statements read into the parts of DynamoDB's own requests.

Follows the Amazon DynamoDB Developer Guide, "PartiQL - a SQL-compatible query language for Amazon
DynamoDB". The grammar: SELECT ... FROM "table"[."index"] [WHERE ...] [ORDER BY ...], INSERT INTO
... VALUE {...}, UPDATE ... SET/REMOVE ... WHERE ... [RETURNING ...], DELETE FROM ... WHERE ....
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from labkit.localaws.call import AwsError

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign><<|>>|<>|<=|>=|!=|\|\||[-+*/=<>()\[\]{},.:?])
    )""",
    re.VERBOSE,
)
_FUNCTIONS = ("begins_with", "contains", "attribute_type", "size")


class _Token(NamedTuple):
    kind: str
    text: str


@dataclass
class Condition:
    """A WHERE clause as a condition expression, and the equalities that all of it demands."""

    text: str = ""
    equal: dict[str, Any] = field(default_factory=dict)


@dataclass
class Statement:
    """One statement in DynamoDB's own terms.

    ``verb`` is SELECT, INSERT, UPDATE or DELETE. ``names`` and ``values`` are what the placeholders
    in ``where`` and ``update`` stand for.
    """

    verb: str
    table: str
    index: str | None = None
    # The document paths selected, None for all.
    paths: list[list[str]] | None = None
    item: dict[str, Any] = field(default_factory=dict)
    update: str = ""
    where: Condition = field(default_factory=Condition)
    descending: bool = False
    returning: str = ""
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def parse(text: str, parameters: Sequence[Any] | None = None) -> Statement:
    """The statement in *text*; raises ValidationException when it is none."""
    return _Parser(text, list(parameters or ())).statement()


def malformed(detail: str) -> AwsError:
    """The error for a statement that can't be read."""
    return AwsError(
        "ValidationException", f"Statement wasn't well formed, can't be processed: {detail}"
    )


class _Parser:
    def __init__(self, text: str, parameters: list[Any]) -> None:
        self._tokens: list[_Token] = []
        self._at = 0
        self._parameters = parameters
        self._asked = 0
        self._made = Statement("", "")
        self._equal: list[tuple[str, Any]] = []
        position = 0
        text = text.rstrip().rstrip(";")
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise malformed(f"Unexpected token {text[position:].strip()[:1]}")
            self._tokens.append(_Token(match.lastgroup, match.group(match.lastgroup)))
            position = match.end()

    # -- statements --------------------------------------------------------------------------

    def statement(self) -> Statement:
        made = self._made
        verb = self._word()
        made.verb = verb
        if verb == "SELECT":
            self._select()
        elif verb == "INSERT":
            self._expect("INTO")
            self._table()
            self._expect("VALUE")
            value = self._literal()
            if "M" not in value:
                raise malformed("VALUE must be a map")
            made.item = value["M"]
        elif verb == "UPDATE":
            self._update()
        elif verb == "DELETE":
            self._expect("FROM")
            self._table()
            self._where()
            self._returning()
        else:
            raise malformed(f"Unexpected keyword {verb or self._peek().text}")
        if self._at < len(self._tokens):
            raise malformed(f"Unexpected token after expression: {self._peek().text}")
        if self._asked != len(self._parameters):
            raise AwsError(
                "ValidationException",
                "Number of parameters in request and statement don't match.",
            )
        return made

    def _select(self) -> None:
        made = self._made
        if not self._take("*"):
            made.paths = [self._plain_path()]
            while self._take(","):
                made.paths.append(self._plain_path())
        self._expect("FROM")
        self._table()
        self._where()
        if self._word_is("ORDER"):
            self._expect("BY")
            self._plain_path()
            made.descending = self._word_is("DESC")
            if not made.descending:
                self._word_is("ASC")
            while self._take(","):
                self._plain_path()
                made.descending = self._word_is("DESC")

    def _update(self) -> None:
        self._table()
        clauses: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}
        while True:
            if self._word_is("SET"):
                self._assignment(clauses)
                while self._take(","):
                    self._assignment(clauses)
            elif self._word_is("REMOVE"):
                clauses["REMOVE"].append(self._path())
                while self._take(","):
                    clauses["REMOVE"].append(self._path())
            else:
                break
        if not any(clauses.values()):
            raise malformed("UPDATE needs SET or REMOVE")
        self._made.update = " ".join(
            f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts
        )
        self._where()
        self._returning()

    def _assignment(self, clauses: dict[str, list[str]]) -> None:
        path = self._path()
        self._need("=")
        name = self._peek().text.lower()
        if name in ("set_add", "set_delete"):
            self._at += 1
            self._need("(")
            self._path()
            self._need(",")
            clauses["ADD" if name == "set_add" else "DELETE"].append(f"{path} {self._value()}")
            self._need(")")
            return
        clauses["SET"].append(f"{path} = {self._sum()}")

    def _sum(self) -> str:
        text = self._term()
        while self._peek().text in ("+", "-"):
            text += f" {self._next().text} {self._term()}"
        return text

    def _term(self) -> str:
        if self._peek().text.lower() in ("list_append", "if_not_exists"):
            name = self._next().text.lower()
            self._need("(")
            first = self._sum()
            self._need(",")
            second = self._sum()
            self._need(")")
            return f"{name}({first}, {second})"
        return self._operand()

    def _returning(self) -> None:
        if self._word_is("RETURNING"):
            self._made.returning = f"{self._word()} {self._word()}"
            self._need("*")

    # -- conditions --------------------------------------------------------------------------

    def _where(self) -> None:
        if not self._word_is("WHERE"):
            return
        text = self._or()
        self._made.where = Condition(text, dict(self._equal))

    def _or(self) -> str:
        known = len(self._equal)
        text = self._and()
        while self._word_is("OR"):
            text += f" OR {self._and()}"
            # What is equal in one branch only is demanded by none.
            del self._equal[known:]
        return text

    def _and(self) -> str:
        text = self._not()
        while self._word_is("AND"):
            text += f" AND {self._not()}"
        return text

    def _not(self) -> str:
        if self._word_is("NOT"):
            known = len(self._equal)
            text = f"NOT {_grouped(self._not())}"
            del self._equal[known:]
            return text
        if self._peek().text == "(":
            self._at += 1
            text = self._or()
            self._need(")")
            return _grouped(text)
        return self._comparison()

    def _comparison(self) -> str:
        start = self._at
        left = self._operand()
        if self._word_is("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return f"{left} BETWEEN {low} AND {self._operand()}"
        if self._word_is("IN"):
            end = "]" if self._take("[") else ")"
            if end == ")":
                self._need("(")
            listed = [self._operand()]
            while self._take(","):
                listed.append(self._operand())
            self._need(end)
            return f"{left} IN ({', '.join(listed)})"
        if self._word_is("IS"):
            negated = self._word_is("NOT")
            what = self._word()
            if what == "MISSING":
                return f"attribute_{'' if negated else 'not_'}exists({left})"
            text = f"attribute_type({left}, {self._keep({'S': 'NULL'})})"
            return f"NOT ({text})" if negated else text
        sign = self._peek().text
        if sign not in ("=", "<>", "!=", "<", "<=", ">", ">="):
            if self._tokens[start].text.lower() in ("begins_with", "contains", "attribute_type"):
                return left
            raise malformed(f"Unexpected token {sign}")
        self._at += 1
        right = self._operand()
        if sign == "=" and right.startswith(":") and left in self._made.names:
            self._equal.append((self._made.names[left], self._made.values[right]))
        return f"{left} {'<>' if sign == '!=' else sign} {right}"

    def _operand(self) -> str:
        token = self._peek()
        follows = self._tokens[self._at + 1].text if self._at + 1 < len(self._tokens) else ""
        if token.kind == "word" and token.text.lower() in _FUNCTIONS and follows == "(":
            self._at += 2
            arguments = [self._operand()]
            while self._take(","):
                arguments.append(self._operand())
            self._need(")")
            return f"{token.text.lower()}({', '.join(arguments)})"
        literal = token.kind in ("string", "number") or token.text in ("?", "-", "[", "{", "<<")
        if literal or token.text.upper() in ("TRUE", "FALSE", "NULL"):
            return self._value()
        return self._path()

    # -- pieces ------------------------------------------------------------------------------

    def _table(self) -> None:
        self._made.table = self._name()
        if self._take("."):
            self._made.index = self._name()

    def _name(self) -> str:
        token = self._next()
        if token.kind == "quoted":
            return token.text[1:-1].replace('""', '"')
        if token.kind == "word":
            return token.text
        raise malformed(f"Unexpected token {token.text}")

    def _elements(self) -> list[str | int]:
        found: list[str | int] = [self._name()]
        while True:
            if self._take("."):
                found.append(self._name())
            elif self._take("["):
                token = self._next()
                if token.kind == "number":
                    found.append(int(token.text))
                elif token.kind == "string":
                    found.append(token.text[1:-1])
                else:
                    raise malformed(f"Unexpected token {token.text}")
                self._need("]")
            else:
                return found

    def _plain_path(self) -> list[str]:
        path: list[str] = []
        for element in self._elements():
            if isinstance(element, int):
                path[-1] += f"[{element}]"
            else:
                path.append(element)
        return path

    def _path(self) -> str:
        text = ""
        for element in self._elements():
            if isinstance(element, int):
                text += f"[{element}]"
            else:
                name = f"#n{len(self._made.names)}"
                self._made.names[name] = element
                text += f".{name}" if text else name
        return text

    def _value(self) -> str:
        return self._keep(self._literal())

    def _keep(self, value: Any) -> str:
        name = f":v{len(self._made.values)}"
        self._made.values[name] = value
        return name

    def _literal(self) -> dict[str, Any]:
        token = self._next()
        if token.kind == "string":
            return {"S": token.text[1:-1].replace("''", "'")}
        if token.kind == "number":
            return {"N": token.text}
        if token.text == "-":
            return {"N": f"-{self._next().text}"}
        if token.text == "?":
            self._asked += 1
            if self._asked > len(self._parameters):
                raise AwsError(
                    "ValidationException",
                    "Number of parameters in request and statement don't match.",
                )
            return self._parameters[self._asked - 1]
        if token.text.upper() in ("TRUE", "FALSE"):
            return {"BOOL": token.text.upper() == "TRUE"}
        if token.text.upper() == "NULL":
            return {"NULL": True}
        if token.text == "[":
            return {"L": self._listed("]")}
        if token.text == "<<":
            members = self._listed(">>")
            kinds = {next(iter(member)) for member in members}
            if len(kinds) != 1 or not kinds <= {"S", "N", "B"}:
                raise malformed("A set holds strings, numbers or binary values")
            kind = kinds.pop()
            return {f"{kind}S": [member[kind] for member in members]}
        if token.text == "{":
            held: dict[str, Any] = {}
            while not self._take("}"):
                if held:
                    self._need(",")
                name = self._next()
                if name.kind not in ("string", "quoted"):
                    raise malformed(f"Unexpected token {name.text}")
                self._need(":")
                held[name.text[1:-1].replace("''", "'")] = self._literal()
            return {"M": held}
        raise malformed(f"Unexpected token {token.text}")

    def _listed(self, end: str) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = []
        while not self._take(end):
            if members:
                self._need(",")
            members.append(self._literal())
        return members

    # -- tokens ------------------------------------------------------------------------------

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "")

    def _next(self) -> _Token:
        token = self._peek()
        if token.kind == "end":
            raise malformed("Unexpected end of statement")
        self._at += 1
        return token

    def _word(self) -> str:
        token = self._next()
        return token.text.upper() if token.kind == "word" else ""

    def _word_is(self, word: str) -> bool:
        token = self._peek()
        if token.kind == "word" and token.text.upper() == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._word_is(word):
            raise malformed(f"Expected {word}, found {self._peek().text or 'end of statement'}")

    def _take(self, sign: str) -> bool:
        token = self._peek()
        if token.kind == "sign" and token.text == sign:
            self._at += 1
            return True
        return False

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise malformed(f"Expected {sign}, found {self._peek().text or 'end of statement'}")


def _grouped(text: str) -> str:
    """A condition in parentheses, once: DynamoDB refuses redundant ones."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            if place == len(text) - 1 and text[0] == "(":
                return text
            break
    return f"({text})"
