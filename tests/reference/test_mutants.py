"""Operators that make wrong versions of a source: each change where it may be, and only there."""

import sys

import pytest

from reference.mutants import OPERATORS, is_replaced, mutants, replace_source

SOURCE = '''
def f(x, n=2):
    """Text is left alone."""
    total, k = 0.0, 1
    while True:
        if x[k] <= -0.5 or n == 3:
            break
        total += x[k]  # added
        k = k + 1
    if total > 4.0:
        return True
    return total
'''


def changes(source, operator):
    return [(m.before, m.after) for m in mutants(source) if m.operator == operator]


def test_every_change_stands_where_its_operator_allows_one():
    assert changes(SOURCE, "sign") == [
        ("-0.5", "0.5"),
        ("total += x[k]", "total -= x[k]"),
        ("k + 1", "(k - 1)"),
    ]
    assert changes(SOURCE, "comparison") == [
        ("x[k] <= -0.5", "(x[k] < -0.5)"),
        ("x[k] <= -0.5", "(x[k] > -0.5)"),
        ("n == 3", "(n != 3)"),
        ("total > 4.0", "(total <= 4.0)"),
        ("total > 4.0", "(total >= 4.0)"),
    ]
    assert changes(SOURCE, "constant") == [
        ("0.0", "1.0"),
        ("1", "2"),
        ("True", "False"),
        ("0.5", "1.0"),
        ("3", "4"),
        ("1", "2"),
        ("4.0", "8.0"),
        ("True", "False"),
    ]


def test_a_dropped_statement_leaves_no_name_and_no_path_without_a_value():
    """Not the first binding, not the last return, not the only way out of an endless loop."""
    assert [before.splitlines()[0] for before, _ in changes(SOURCE, "statement")] == [
        "while True:",
        "total += x[k]",
        "k = k + 1",
        "if total > 4.0:",
        "return True",
    ]


def test_applied_in_place_and_only_to_its_own_source():
    found = mutants(SOURCE)
    assert len({m.apply(SOURCE) for m in found}) == len(found) > 15
    for m in found:
        compile(m.apply(SOURCE), m.operator, "exec")
        assert m.operator in OPERATORS and m.function == "f"
    with pytest.raises(ValueError, match="expected"):
        found[0].apply("\n" + SOURCE)


def test_letters_of_several_bytes_do_not_shift_the_place():
    source = "def f(x):\n    θ = 'ü'; return x - 1.5  # ¼\n"
    (m,) = [m for m in mutants(source) if m.operator == "sign"]
    assert m.apply(source) == source.replace("x - 1.5", "(x + 1.5)")


def test_only_the_functions_that_are_wanted():
    source = "def f(x):\n    return -x\nclass C:\n    def g(self):\n        return -1\n"
    assert {m.function for m in mutants(source)} == {"f", "g"}
    assert {m.function for m in mutants(source, lambda f: f.name == "g")} == {"g"}


def test_a_module_is_imported_from_its_mutant():
    name, text = "reference.hard_cases", "value = 3\n"
    kept = sys.modules.pop(name, None)
    finders = list(sys.meta_path)
    try:
        replace_source(name, text)
        from importlib import import_module

        assert not is_replaced(name)
        assert import_module(name).value == 3 and is_replaced(name)
        assert not is_replaced("reference.mutants")
        with pytest.raises(ValueError, match="already"):
            replace_source(name, text)
    finally:
        sys.meta_path[:] = finders
        sys.modules.pop(name, None)
        if kept is not None:
            sys.modules[name] = kept
