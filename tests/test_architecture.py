"""The shape of the house, read from its syntax trees."""

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evsim

ROOT = Path(__file__).parents[1]
PACKAGES = ("evsim", "reference", "validation")
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
FRAMEWORKS = {"torch", "snntorch", "spikingjelly", "norse", "sinabs", "nirtorch"}
#: Rooms of `evsim` with a door to the others, and what may come through it; `evsim/testing`
#: has one to `reference`.
DOORS = {"evsim/cli.py": ("validation", "reference"), "evsim/files.py": ("validation.evtrace",)}
#: Kernels outside `evsim` whose point is their speed, each beside its plain twin; in the sparse
#: ones sums may be taken in any order, and products fused with them.
COMPILED = ("reference/sparse_backward.py", "reference/ttfs_event.py")
SPARSE_KERNELS = ("reference/sparse_backward.py",)
REORDERED = {"reassoc", "contract"}
LONGEST_MODULE, LONGEST_FUNCTION, LONGEST_TEST = 400, 50, 600
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def imported(tree):
    """Every module that a tree imports, `from a import b` as `a.b`, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import, line {node.lineno}"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            if node.args and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value, node.lineno


def doors(name):
    """What of the others a module of `evsim` may import."""
    return ("reference",) if name.startswith("evsim/testing/") else DOORS.get(name, ())


def within(module, *parents):
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


@pytest.mark.parametrize("name", TREES)
def test_imports_point_one_way(name):
    package = name.partition("/")[0]
    for module, line in imported(TREES[name]):
        where = f"{name}:{line} imports {module}"
        if package == "evsim" and within(module, "reference", "validation"):
            assert within(module, *doors(name)), where
        if package == "reference":
            assert not within(module, "evsim", "validation"), where


def test_data_only_modules_do_not_reach_up():
    """Models know nothing of networks; nothing below knows of simulate."""
    above = ("network", "delivery", "record", "simulate", "files", "nir", "cli", "sweep", "lists")
    for name, tree in TREES.items():
        if name.startswith("evsim/models/") or name in ("evsim/jit.py", "evsim/dispatch.py"):
            for module, line in imported(tree):
                assert not within(module, *(f"evsim.{a}" for a in above)), f"{name}:{line}"


def test_all_models_are_known_before_anything_compiles():
    """An index of compiled code may name any of them: see `evsim.models`."""
    files = {path.stem for path in (ROOT / "evsim" / "models").glob("*.py")} - {"__init__"}
    code = (
        "import sys, evsim.models.verbs; print(*[m for m in sys.modules if 'evsim.models.' in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) == {f"evsim.models.{name}" for name in files}


def top_level(tree):
    """Nodes that run on import: the bodies of functions left out."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.Lambda)):
            is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            waiting += [] if is_typing else list(ast.iter_child_nodes(node))


@pytest.mark.parametrize("name", TREES)
def test_frameworks_are_imported_inside_functions(name):
    for node in top_level(TREES[name]):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for module, line in imported(ast.Module([node], [])):
                assert not within(module, *FRAMEWORKS), f"{name}:{line} imports {module}"


@pytest.mark.parametrize("name", TREES)
def test_modules_and_functions_stay_small(name):
    lines = FILES[name].read_text().count("\n")
    assert lines <= LONGEST_MODULE, f"{name} has {lines} lines"
    for node in ast.walk(TREES[name]):
        if isinstance(node, FUNCTIONS):
            length = node.end_lineno - node.body[0].lineno + 1 - docstring_lines(node)
            assert length <= LONGEST_FUNCTION, f"{name}: {node.name} has {length} lines"


def docstring_lines(node):
    if ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


def test_test_files_stay_readable():
    for path in (ROOT / "tests").rglob("*.py"):
        lines = path.read_text().count("\n")
        allowed = LONGEST_TEST if path.parent.name == "tests" else 2 * LONGEST_TEST
        assert lines <= allowed, f"{path.name} has {lines} lines"


def public(tree, methods):
    """Public classes and functions of a module, and perhaps public methods, with their names."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield node.name, node
            if methods and isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, FUNCTIONS) and not method.name.startswith("_"):
                        yield f"{node.name}.{method.name}", method


def implements_a_verb(node):
    """Whether a function is the body of a verb, which `evsim.models.verbs` describes."""
    return any("implement" in ast.dump(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("name", TREES)
def test_everything_public_says_what_it_is(name):
    tree = TREES[name]
    if FILES[name].read_text().strip():
        assert ast.get_docstring(tree), f"{name} has no docstring"
    for label, node in public(tree, name.startswith("evsim/")):
        if not implements_a_verb(node):
            assert ast.get_docstring(node), f"{name}: {label} has no docstring"


@pytest.mark.parametrize("name", [name for name in TREES if name.startswith("evsim/")])
def test_compilation_happens_in_one_place(name):
    """`njit` in one file of evsim, `fastmath` in none, no `jit` under another name."""
    for node in ast.walk(TREES[name]):
        for word in (getattr(node, "attr", None), getattr(node, "id", None)):
            assert word not in ("njit", "jit", "vectorize", "guvectorize") or name == "evsim/jit.py"
        assert getattr(node, "arg", None) != "fastmath", f"{name}:{node.lineno}"
        assert getattr(node, "value", None) != "fastmath", f"{name}: fastmath"
        assert getattr(node, "attr", None) != "jitclass"


@pytest.mark.parametrize("name", [name for name in TREES if not name.startswith("evsim/")])
def test_closed_forms_and_oracles_are_not_compiled(name):
    """But for a few kernels, of which the sparse ones may reorder arithmetic and no more."""
    modules = {module.partition(".")[0] for module, _ in imported(TREES[name])}
    assert "numba" not in modules or name in COMPILED
    nodes = list(ast.walk(TREES[name]))
    options = [n.value for n in nodes if isinstance(n, ast.keyword) and n.arg == "fastmath"]
    allowed = {"FAST"} if name in SPARSE_KERNELS else set()
    assert {ast.unparse(option) for option in options} == allowed
    for node in nodes:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAST":
            assert ast.literal_eval(node.value) == REORDERED


@pytest.mark.parametrize("name", TREES)
def test_nothing_is_hidden(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{name}: star import"
        if name.startswith("evsim/"):
            assert not isinstance(node, ast.Assert), f"{name}:{node.lineno} asserts"
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), name


def test_every_folder_of_code_is_a_package():
    """A folder without `__init__.py` would be left out of the installed package."""
    for path in FILES.values():
        assert (path.parent / "__init__.py").exists(), path.parent.relative_to(ROOT)


def test_public_names_are_real_and_complete():
    code = (
        "import sys, evsim; before = set(sys.modules);"
        "missing = [n for n in evsim.__all__ if not hasattr(evsim, n)];"
        "assert not missing, missing; assert set(evsim._HOME) == set(evsim.__all__);"
        "assert set(evsim.__all__) <= set(dir(evsim))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_functions_that_name_the_package_can_be_sent_to_other_processes():
    assert pickle.loads(pickle.dumps(evsim)) is evsim


def test_neither_import_nor_simulation_loads_a_framework():
    code = f"""
import sys, time
began = time.perf_counter()
import evsim
print(time.perf_counter() - began)
assert "numba" not in sys.modules, "import evsim loads numba"
evsim.simulate, evsim.from_nir, evsim.load, evsim.LIF
net = evsim.Network()
net.add_population("p", 1, evsim.IF(bias=1.0))
evsim.simulate(net, {{}}, 1.5)
loaded = {FRAMEWORKS!r} & set(sys.modules)
assert not loaded, loaded
assert not {{"reference", "validation"}} & set(sys.modules)
"""
    environment = {"NUMBA_DISABLE_JIT": "1", "PATH": "", "HOME": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 5.0  # ten times what is promised


def test_the_text_names_no_machine():
    """No home folders, no temporary folders, no addresses of somebody's machine."""
    personal = re.compile(
        r"/home/\w|/Users/\w|/root\b|/tmp/\w|/work/\w|\b[A-Z]:\\\\|\b127\.0\.0\.1|localhost"
    )
    kinds = ("*.py", "*.md", "*.cfg", "*.toml", "*.yml", "*.json", "*.txt")
    here = Path(__file__).name
    for kind in kinds:
        for path in ROOT.rglob(kind):
            parts = path.relative_to(ROOT).parts
            if any(p.startswith(".") or p in ("build", "dist") for p in parts) or path.name == here:
                continue
            found = personal.search(path.read_text(encoding="utf-8"))
            assert not found, f"{'/'.join(parts)} names {found.group()!r}"
