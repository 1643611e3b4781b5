"""Wrong versions of a source, one small change each, to see whether tests notice.

Four operators, after DeMillo, Lipton & Sayward (1978, "Hints on test data selection"):

============  =====================================================================
operator      change
============  =====================================================================
`sign`        `a + b` and `a - b`, `a += b` and `a -= b` change places; `-a` is `a`
`comparison`  a bound moves: `<` and `<=`, `>` and `>=` change places; or the answer
              is the opposite: `<` is `>=`, `==` is `!=`, ...
`constant`    `True` and `False` change places; 0.0 is 1.0, any other float twice
              itself; an integer is one more
`statement`   a statement is dropped, where the function still has a value for
              every name that it reads and every path that returned still does
============  =====================================================================

A mutant is an edit of the text: `mutants(source)` lists them, `mutant.apply(source)` is the text
of the wrong version, and `replace_source(module, text)` makes Python import that instead of the
file. For instance, all wrong versions of one function:

>>> text = "def f(u, i):\\n    return u + i\\n"
>>> [(m.operator, m.before, m.after, m.apply(text)) for m in mutants(text)]
[('sign', 'u + i', '(u - i)', 'def f(u, i):\\n    return (u - i)\\n')]
"""

from __future__ import annotations

import ast
import copy
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OPERATORS = ("sign", "comparison", "constant", "statement")

SWAPPED: dict[type, type] = {ast.Add: ast.Sub, ast.Sub: ast.Add}
MOVED: dict[type, type] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
OPPOSITE: dict[type, type] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: `before`, at `line` (from 1) and `column` (from 0), is replaced by `after`."""

    operator: str
    function: str
    line: int
    column: int
    end_line: int
    end_column: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """The text with this change.

        Raises
        ------
        ValueError
            If `source` is not the text that the mutant is of.
        """
        text, starts = _by_line(source)
        first = starts[self.line - 1] + self.column
        last = starts[self.end_line - 1] + self.end_column
        if text[first:last].decode() != self.before:
            raise ValueError(f"line {self.line}: expected {self.before!r} there")
        return (text[:first] + self.after.encode() + text[last:]).decode()


def _by_line(source: str) -> tuple[bytes, list[int]]:
    """The text as bytes, which is what syntax trees count, and where its lines start."""
    starts, text = [0], source.encode()
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return text, starts


def mutants(source: str, wanted: Callable[[ast.FunctionDef], bool] | None = None) -> list[Mutant]:
    """All mutants of the functions of `source`, in order of place and operator.

    Parameters
    ----------
    source : str
    wanted : callable, optional
        Whether to take a function, by its syntax tree; default: all. Functions within a function
        belong to it.

    Returns
    -------
    list of Mutant
    """
    found, lines = [], _by_line(source)
    for function in _functions(ast.parse(source)):
        if wanted is None or wanted(function):
            for node, operator, new in _changes(function):
                found.append(_edit(lines, function, node, operator, new))
    return sorted(found, key=lambda m: (m.line, m.column, OPERATORS.index(m.operator), m.after))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        else:
            yield from _functions(node)


def _edit(lines, function, node, operator, new) -> Mutant:
    after = ast.unparse(new)
    if isinstance(node, ast.expr) and not isinstance(new, ast.Constant):
        after = f"({after})"
    text, starts = lines
    place = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
    before = text[starts[place[0] - 1] + place[1] : starts[place[2] - 1] + place[3]].decode()
    return Mutant(operator, function.name, *place, before, after)


def _changes(function: ast.FunctionDef):
    """(node, operator, what it becomes) of every change in a function's body."""
    for statement in function.body:
        for node in ast.walk(statement):
            if not _is_text(node):
                yield from ((node, *change) for change in _of_node(node))
    yield from ((node, "statement", ast.Pass()) for node in _droppable(function))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of_node(node: ast.AST):
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPPED:
        swapped = copy.deepcopy(node)
        swapped.op = SWAPPED[type(node.op)]()
        yield "sign", swapped
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    elif isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            for table in (MOVED, OPPOSITE):
                if type(op) in table:
                    moved = copy.deepcopy(node)
                    moved.ops[k] = table[type(op)]()
                    yield "comparison", moved
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield "constant", ast.Constant(_other(node.value))


def _other(value: bool | int | float) -> bool | int | float:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return 2.0 * value if value else 1.0


def _droppable(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Statements without which every name still has a value, and every path its answer."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    bound = {a.arg for a in named} | {a.arg for a in (arguments.vararg, arguments.kwarg) if a}
    ended = _ends(function.body)
    loops = [n for n in ast.walk(function) if _is_endless(n)]
    for node in _in_order(function.body):
        new = _bound_by(node)
        fixed = isinstance(node, ast.Pass | ast.FunctionDef | ast.Global | ast.Import) or (
            isinstance(node, ast.Expr) and _is_text(node)
        )
        if (
            not fixed
            and new <= bound
            and ended == _ends(function.body, without=node)
            and all(n is node or _exits(n, (ast.Break, ast.Return), node) for n in loops)
        ):
            yield node
        if not isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
            bound |= new
        elif isinstance(node, ast.For):
            bound |= _names(node.target)


def _in_order(body) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef):
                yield from _in_order(getattr(node, part, []))


def _bound_by(node: ast.AST) -> set[str]:
    """Names that a statement, or a part of it, binds."""
    return {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _names(target: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}


def _ends(body, without: ast.stmt | None = None) -> bool:
    """Whether no path leaves at the end of these statements."""
    for node in body:
        if node is without:
            continue
        if isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break):
            return True
        if isinstance(node, ast.If) and node.orelse:
            if _ends(node.body, without) and _ends(node.orelse, without):
                return True
        if _is_endless(node) and not _exits(node, (ast.Break,), without):
            return True
    return False


def _is_endless(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and node.test.value is True
    )


def _exits(node: ast.AST, kinds, without: ast.AST | None) -> bool:
    """Whether a statement of these kinds is left in `node`."""
    if node is without:
        return False
    if isinstance(node, kinds):
        return True
    return any(_exits(part, kinds, without) for part in ast.iter_child_nodes(node))


class _Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a text instead of its file."""

    def __init__(self, module: str, text: str, origin: str):
        self.module, self.text, self.origin = module, text, origin

    def find_spec(self, fullname, path=None, target=None):
        """The module's specification, or None for any other."""
        if fullname != self.module:
            return None
        spec = importlib.util.spec_from_loader(fullname, self, origin=self.origin)
        if spec is not None:
            spec.has_location = True
        return spec

    def create_module(self, spec):
        """As Python would."""
        return None

    def exec_module(self, module):
        """Run the text as the module."""
        exec(compile(self.text, self.origin, "exec"), module.__dict__)


def replace_source(module: str, text: str, origin: str = "<mutant>") -> None:
    """Make this process import `module` from `text`.

    Parameters
    ----------
    module : str
        Full name, not imported so far.
    text : str
        Its source.
    origin : str, optional
        What it gives as its file.

    Raises
    ------
    ValueError
        If the module has been imported: others may hold on to parts of it.
    """
    if module in sys.modules:
        raise ValueError(f"{module} has been imported already")
    sys.meta_path.insert(0, _Replaced(module, text, origin))


def is_replaced(module: str) -> bool:
    """Whether this process has imported `module`, from the text given to `replace_source`."""
    return isinstance(getattr(sys.modules.get(module), "__loader__", None), _Replaced)
