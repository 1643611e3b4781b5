"""evtrace files: what is written is read back, and nothing else is read."""

import gc
import io
import json
import os
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from validation import evtrace, evtrace_reader
from validation.evtrace import EvtraceError, from_dense, read, write

T, B, N = 6, 2, 3


def content():
    """Manifest and arrays of a small two-layer recording."""
    rng = np.random.default_rng(0)
    manifest = {
        "kind": "grid",
        "n_steps": T,
        "n_samples": B,
        "dt": 1e-3,
        "input_shape": [2],
        "layers": {
            "hidden": {"model": "snntorch.Leaky", "shape": [N]},
            "out": {"model": "snntorch.Leaky", "shape": [1, 2]},
        },
    }
    arrays = {
        "layers/hidden/membrane": rng.normal(size=(T, B, N)).astype(np.float32),
        "layers/hidden/params.beta": np.float32(0.9),
        "layers/hidden/initial_state.v": np.zeros((B, N), np.float32),
        "layers/out/input_current": rng.normal(size=(T, B, 1, 2)),
        **from_dense(rng.integers(0, 2, (T, B, 2)), "input_spikes"),
        **from_dense(rng.integers(0, 3, (T, B, N)), "layers/hidden/spikes"),
        **from_dense(np.zeros((T, B, 1, 2)), "layers/out/spikes"),
    }
    return manifest, arrays


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "a.npz", *content())
    return tmp_path / "a.npz"


def repack(path, change=None, *, manifest=None, raw=None):
    """Write the file again with other members, behind the writer's back."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if manifest is not None:
        stored = np.load(io.BytesIO(members["manifest.json.npy"]))
        loaded = json.loads(stored.tobytes())
        manifest(loaded)
        text = json.dumps(loaded).encode()
        members["manifest.json.npy"] = npy(np.frombuffer(text, np.uint8))
    if raw is not None:
        members["manifest.json.npy"] = npy(np.frombuffer(raw, np.uint8))
    for name, data in (change or {}).items():
        if data is None:
            del members[name]
        else:
            members[name] = data
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header(text, version=1):
    """An .npy header that says whatever it is told."""
    raw = text.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw


def refused(path, match):
    """The file is refused in one line, within a second."""
    gc.disable()  # it would go through all that other tests have left
    try:
        start = time.process_time()
        with pytest.raises(EvtraceError, match=match) as info:
            read(path)
        assert time.process_time() - start < 1.0
    finally:
        gc.enable()
    assert "\n" not in str(info.value)
    assert str(info.value).startswith(str(path))
    return str(info.value)


# ------------------------------------------------------------------------------------ round trips


def test_a_recording_comes_back(path):
    manifest, arrays = content()
    recording = read(path)
    assert recording.layers() == ["hidden", "out"]
    assert recording.manifest["layers"] == manifest["layers"]
    assert recording.arrays.keys() == arrays.keys()
    for key, a in arrays.items():
        assert recording.arrays[key].dtype == np.asarray(a).dtype
        np.testing.assert_array_equal(recording.arrays[key], a)
        assert not recording.arrays[key].flags.writeable


def test_layers_are_views(path):
    layer = read(path).layer("hidden")
    assert layer.entry["model"] == "snntorch.Leaky"
    assert layer.get("membrane").shape == (T, B, N)
    assert layer.get("synaptic_current") is None
    assert list(layer.params) == ["beta"] and layer.params["beta"] == np.float32(0.9)
    assert layer.spikes(T, B, N).shape == layer.spikes().shape == (T, B, N)
    assert read(path).layer("out").spikes().sum() == 0
    with pytest.raises(EvtraceError, match=r"spikes\.index'\[\d+\] is 2, not in \[0, 2\)"):
        layer.spikes(T, B, 2)


def test_spikes_that_were_not_recorded_are_not_zero(tmp_path):
    manifest = {"n_steps": 1, "n_samples": 1, "layers": {"a": {"shape": [1]}}}
    write(tmp_path / "a.npz", manifest, {})
    assert read(tmp_path / "a.npz").layer("a").spikes() is None
    assert read(tmp_path / "a.npz").input_spikes() is None


plain = st.sampled_from(["?", "i1", "u2", "<i8", ">i4", "<f2", "<f4", ">f8"])
values = plain.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements={"allow_nan": False} if "f" in dtype else None,
    )
)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\\/"),
    min_size=1,
    max_size=20,
).filter(lambda s: s not in (".", "..", "layers", "input_spikes", "manifest.json"))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names.filter(lambda s: not s.startswith("input_spikes.")), values))
@example({"x.npy": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "ü": np.array(-0.0)})
def test_any_array_comes_back(tmp_path, arrays):
    write(tmp_path / "a.npz", {"n_steps": 0, "n_samples": 0, "layers": {}}, arrays)
    found = read(tmp_path / "a.npz").arrays
    assert list(found) == list(arrays)
    for key, a in arrays.items():
        assert found[key].shape == a.shape
        assert found[key].dtype == a.dtype.newbyteorder("=")
        assert found[key].tobytes() == a.astype(a.dtype.newbyteorder("=")).tobytes()


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.bool_, np.uint8, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=5, min_side=0, max_side=4),
        elements=st.integers(0, 1),
    )
)
def test_events_hold_the_dense_spikes(dense):
    events = from_dense(2 * dense if dense.dtype != bool else dense, "k")
    flat = dense.reshape(*dense.shape[:2], int(np.prod(dense.shape[2:])))
    recording = evtrace.Recording("", {}, events)
    out = recording.dense("k", flat.shape[2], *flat.shape[:2])
    np.testing.assert_array_equal(out, flat if dense.dtype == bool else 2 * flat)
    rows = np.array([events[f"k.{f}"] for f in ("step", "sample", "index")])
    assert (np.lexsort(rows[::-1]) == np.arange(rows.shape[1])).all()


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf])
def test_only_numbers_of_spikes_become_events(value):
    dense = np.zeros((2, 3, 4))
    dense[1, 2, 3] = value
    with pytest.raises(EvtraceError, match=r"at index \(1, 2, 3\)"):
        from_dense(dense)


def test_layers_may_be_a_list(path):
    def to_list(m):
        m["layers"] = [{"name": k, **v} for k, v in m["layers"].items()]

    repack(path, manifest=to_list)
    assert read(path).layers() == ["hidden", "out"]
    assert read(path).layer("out").size == 2


def test_a_shape_that_is_not_stated_is_that_of_the_data(path):
    repack(path, manifest=lambda m: m["layers"]["hidden"].pop("shape"))
    assert read(path).layer("hidden").shape == (N,)


def test_equal_content_gives_equal_files(path, tmp_path):
    write(tmp_path / "b.npz", *content())
    assert (tmp_path / "b.npz").read_bytes() == path.read_bytes()


def test_numpy_reads_the_file_too(path):
    with np.load(path) as file:
        np.testing.assert_array_equal(
            file["layers/hidden/membrane"], content()[1]["layers/hidden/membrane"]
        )


def test_big_endian_and_fortran_members_are_read(path):
    a = np.asfortranarray(content()[1]["layers/hidden/membrane"].astype(">f4"))
    import hashlib

    def digest(m):
        m["arrays"]["layers/hidden/membrane"] = [
            ">f4",
            list(a.shape),
            hashlib.sha256(a.tobytes("C")).hexdigest(),
        ]

    repack(path, {"layers/hidden/membrane.npy": npy(a)}, manifest=digest)
    found = read(path).layer("hidden").get("membrane")
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found, a)


def test_other_kinds(tmp_path):
    events = {
        "graph.nir": np.zeros(3, np.uint8),
        "inputs/in/times": np.array([0.1, 0.2]),
        "inputs/in/units": np.array([0, 1]),
    }
    write(tmp_path / "a.npz", {"kind": "events", "until": 1.0}, events)
    assert read(tmp_path / "a.npz").kind == "events"
    ttfs = {f"layers/a/{q}": np.zeros(1) for q in ("times", "weight", "v_th", "windows")}
    write(tmp_path / "b.npz", {"kind": "ttfs", "layers": {"a": {}}}, ttfs)
    assert read(tmp_path / "b.npz").layers() == ["a"]
    with pytest.raises(EvtraceError, match="until"):
        write(tmp_path / "c.npz", {"kind": "events"}, events)
    del events["inputs/in/units"]
    with pytest.raises(EvtraceError, match="inputs/in/units"):
        write(tmp_path / "c.npz", {"kind": "events", "until": 1.0}, events)
    with pytest.raises(EvtraceError, match="layers/a/v_th"):
        del ttfs["layers/a/v_th"]
        write(tmp_path / "c.npz", {"kind": "ttfs", "layers": {"a": {}}}, ttfs)
    assert not (tmp_path / "c.npz").exists()


# ---------------------------------------------------------------------------------------- writing


def test_the_writer_runs_alone(tmp_path):
    """Copied to another machine, with NumPy and nothing else."""
    (tmp_path / "evtrace.py").write_bytes(open(evtrace.__file__, "rb").read())
    script = (
        "import sys; sys.path.insert(0, '.'); import evtrace; "
        "evtrace.write('a.npz', {'n_steps': 1, 'n_samples': 1, 'layers': {}}, {'x': [1]}); "
        "loaded = {m.split('.')[0] for m in sys.modules}; "
        "assert not loaded & {'validation', 'evsim', 'torch', 'scipy'}, loaded"
    )
    subprocess.run([sys.executable, "-S", "-c", paths() + script], cwd=tmp_path, check=True)
    assert read(tmp_path / "a.npz").arrays["x"].tolist() == [1]


def test_the_copied_reader_runs_beside_the_copied_writer(tmp_path):
    for module in (evtrace, evtrace_reader):
        name = os.path.basename(module.__file__)
        (tmp_path / name).write_bytes(open(module.__file__, "rb").read())
    write(tmp_path / "a.npz", *content())
    script = (
        "import sys; sys.path.insert(0, '.'); sys.modules['validation'] = None; import evtrace; "
        "r = evtrace.read('a.npz'); assert isinstance(r, evtrace.Recording)"
    )
    subprocess.run([sys.executable, "-S", "-c", paths() + script], cwd=tmp_path, check=True)


def paths():
    """NumPy's folder as the only one on the path (-S drops site-packages and .pth files)."""
    folder = os.path.dirname(os.path.dirname(np.__file__))
    return f"import sys; sys.path.append({folder!r}); "


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("x", [0.0, np.nan], r"'x': holds NaN, first at index \(1,\)"),
        ("x", [[1.0, np.nan]], r"index \(0, 1\)"),
        ("x", [None], "'x': dtype object"),
        ("x", ["a"], "'x': dtype <U1"),
        ("x", [1j], "'x': dtype complex"),
        ("x", [[1], [1, 2]], "'x': "),
        ("/x", 0, "'/x' is not allowed"),
        ("../x", 0, "is not allowed"),
        ("a/../x", 0, "is not allowed"),
        ("a//x", 0, "is not allowed"),
        ("a\\x", 0, "is not allowed"),
        ("a\0", 0, "is not allowed"),
        ("", 0, "is not allowed"),
        ("\ud800", 0, "is not allowed"),
        ("manifest.json", 0, "is not allowed"),
        (3, 0, "must be str, not int"),
        ("layers/nobody/membrane", 0, "'layers/nobody/membrane' belongs to no layer"),
    ],
)
def test_the_writer_refuses(tmp_path, key, value, match):
    manifest, arrays = content()
    with pytest.raises(EvtraceError, match=match):
        write(tmp_path / "b.npz", manifest, {**arrays, key: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (float("nan"), r"manifest\['x'\]\['y'\]\[0\] is nan"),
        (object(), r"manifest\['x'\]\['y'\]\[0\] is <object"),
        ({1: 2}, r"manifest\['x'\]\['y'\]\[0\] has the key 1"),
        (1 << 80, "JSON cannot hold"),
    ],
)
def test_the_writer_names_what_json_cannot_hold(tmp_path, value, match):
    manifest, arrays = content()
    with pytest.raises(EvtraceError, match=match):
        write(tmp_path / "b.npz", {**manifest, "x": {"y": [value]}}, arrays)


def test_an_interrupted_writer_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evtrace, "digest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, *content())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere/a\.npz"):
        write(tmp_path / "nowhere" / "a.npz", *content())
    with pytest.raises(IsADirectoryError):
        write(tmp_path, *content())


# ----------------------------------------------------------------------------------- hostile files


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.npz")
    refused(tmp_path, "folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "regular")


@pytest.mark.parametrize(
    "data",
    [b"", b"hello\n", b"PK\x05\x06" + bytes(18), np.random.default_rng(0).bytes(100_000)],
    ids=["empty", "text", "empty zip", "noise"],
)
def test_what_is_no_recording(tmp_path, data):
    (tmp_path / "a.npz").write_bytes(data)
    refused(tmp_path / "a.npz", "empty|no zip|holds no manifest")


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    for n in range(0, len(data), 97):
        path.write_bytes(data[:n])
        refused(path, ".")
    path.write_bytes(data + b"x")
    refused(path, "damaged")


def test_every_flipped_byte_is_reported(path):
    """And the layer is named where one of its arrays is what changed."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        starts = [i.header_offset for i in infos] + [archive.start_dir]
    rng = np.random.default_rng(1)
    head = [s + i for s in (starts[0], starts[3], archive.start_dir) for i in range(60)]
    tail = list(range(len(data) - 110, len(data)))
    named = 0
    for at in [*head, *tail, *rng.integers(0, len(data), 400)]:
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        message = refused(path, ".")
        member = np.searchsorted(starts, at, side="right") - 1
        if at < archive.start_dir:
            key = infos[member].filename.removesuffix(".npy")
            body = starts[member] + 30 + len(infos[member].filename)
            if key != "manifest.json" and at >= body:
                named += repr(key) in message  # a spare bit of a packed stream changes no array
                assert repr(key) in message or "outside of its arrays" in message
    assert named > 100


def test_changed_data_are_reported_without_the_whole_file_checksum(path):
    other = content()[1]["layers/hidden/membrane"].copy()
    other[3, 1, 2] += 1
    repack(path, {"layers/hidden/membrane.npy": npy(other)})
    refused(path, "'layers/hidden/membrane': sha256")


def test_a_forged_comment_is_reported(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"evtrace sha256:" + b"0" * 64
    refused(path, "changed after it was written")


def test_missing_and_unlisted_arrays(path):
    repack(path, {"layers/out/spikes.step.npy": None})
    refused(path, "'layers/out/spikes.step' is listed in the manifest but is missing")
    repack(path, manifest=lambda m: m["arrays"].pop("layers/out/spikes.step"))
    repack(path, {"extra.npy": npy(np.zeros(1))})
    refused(path, "'extra' is not listed")


def test_duplicate_members(path):
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("layers/hidden/membrane.npy", npy(np.zeros(1)))
    refused(path, "'layers/hidden/membrane' is there twice")


@pytest.mark.parametrize(
    "name",
    ["../evil.npy", "/etc/x.npy", "a/../../x.npy", "a\\x.npy", "layers//x.npy", "./x.npy"],
)
def test_paths_that_leave_the_archive(path, name):
    repack(path, {name: npy(np.zeros(1))})
    refused(path, "not allowed")


def test_other_members(path):
    repack(path, {"readme.txt": b"hello"})
    refused(path, "'readme.txt', which is no .npy")


def test_a_pickle_is_not_loaded(path, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    evil = np.empty(1, object)
    evil[0] = Evil()
    repack(path, {"layers/hidden/membrane.npy": npy(evil, allow_pickle=True)})
    refused(path, "'layers/hidden/membrane': holds Python objects")
    assert not (tmp_path / "owned").exists()


HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    ("member", "match"),
    [
        (header(HEADER % ("'<f4'", "(1000000000000,)")), "declares float32"),
        (header(HEADER % ("'<f4'", "(-1,)")), "impossible shape"),
        (header(HEADER % ("'<f4'", f"({2**70},)")), "impossible shape"),
        (header(HEADER % ("'<f4'", "(0," + "1," * 70 + ")")), "impossible shape"),
        (header(HEADER % ("'<f4'", "(0, 1000000000000000, 1000000)")), "hidden/membrane"),
        (header(HEADER % ("'<f4'", "(True,)")), "hidden/membrane"),
        (header(HEADER % ("'<f4'", "5")), "broken .npy header"),
        (header(HEADER % ("'S1000000000'", "(1,)")), "dtype"),
        (header(HEADER % ("[('a','<f4')]", "(1,)")), "dtype"),
        (header(HEADER % ("'<c8'", "(1,)")), "dtype"),
        (header(HEADER % ("'<M8[s]'", "(1,)")), "dtype"),
        (header("__import__('os').system('true')"), "broken .npy header"),
        (header("(" * 9000), "broken .npy header"),
        (header("[" * 9000 + "]" * 9000), "broken .npy header"),
        (header("-" * 9000 + "1"), "broken .npy header"),
        (header("x" * 100_000, 2), "broken .npy header"),
        (header("{}", 3), "broken .npy header"),
        (b"\x93NUMPY\x09\x00", "broken .npy header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "broken .npy header"),
        (b"", "broken .npy header"),
        (npy(np.zeros((2, 2), np.float32)), "manifest says float32"),
        (npy(np.zeros((T, B, N), np.float64)), "manifest says float32"),
        (npy(np.zeros((T, B, N), np.float32))[:-1], "bytes, but"),
        (npy(np.zeros((T, B, N), np.float32)) + b"x", "bytes, but"),
    ],
)
def test_hostile_arrays(path, member, match):
    repack(path, {"layers/hidden/membrane.npy": member})
    assert "'layers/hidden/membrane'" in refused(path, match)


def hidden(**changes):
    return lambda m: m["layers"]["hidden"].update(changes)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.pop("arrays"), "arrays"),
        (lambda m: m.update(arrays=3), "arrays"),
        (lambda m: m["arrays"].update({"layers/hidden/membrane": 3}), "hidden/membrane"),
        (lambda m: m["arrays"]["layers/hidden/membrane"].pop(), "hidden/membrane"),
        (lambda m: m["arrays"]["layers/hidden/membrane"].__setitem__(0, "f4,("), "hidden/membr"),
        (lambda m: m["arrays"]["layers/hidden/membrane"].__setitem__(2, "0" * 64), "sha256"),
        (lambda m: m["arrays"].update({"x": ["f4", [], ""]}), "'x' is listed"),
        (lambda m: m.update(format="other"), "format 'other' version 1"),
        (lambda m: m.update(version=2), "version 2"),
        (lambda m: m.update(kind="movie"), "kind must be one of grid, events, ttfs"),
        (lambda m: m.update(kind=["grid"]), "kind must be"),
        (lambda m: m.pop("n_steps"), "n_steps"),
        (lambda m: m.update(n_steps=-1), "n_steps, not -1"),
        (lambda m: m.update(n_steps=True), "n_steps, not True"),
        (lambda m: m.update(n_samples=2.0), "n_samples, not 2.0"),
        (lambda m: m.update(n_steps=1 << 40), "n_steps"),
        (lambda m: m.update(n_steps=1 << 30), "layer 'hidden' declares"),
        (lambda m: m.update(n_steps=T + 1), "hidden/membrane' has shape"),
        (lambda m: m.update(dt=0), "dt"),
        (lambda m: m.update(dt="1"), "dt"),
        (lambda m: m.update(input_shape="x"), "input_shape"),
        (lambda m: m.update(input_shape=[1]), r"'input_spikes.index'\[\d+\] is 1, not in \[0, 1\)"),
        (lambda m: m.pop("input_shape"), "input_shape"),
        (lambda m: m.pop("layers"), "layers"),
        (lambda m: m.update(layers=7), "layers"),
        (lambda m: m.update(layers=[7]), r'"layers"\]\[0\]'),
        (lambda m: m.update(layers={"hidden": []}), r'"layers"\]\[0\]'),
        (lambda m: m.update(layers=[{"name": "a"}, {"name": "a"}]), "layer 'a' is there twice"),
        (lambda m: m.update(layers={"../x": {}}), "not allowed"),
        (lambda m: m["layers"].pop("out"), "'layers/out/input_current' belongs to no layer"),
        (hidden(shape=[-1]), "shape of layer 'hidden'"),
        (hidden(shape=[1.5]), "shape of layer 'hidden'"),
        (hidden(shape=3), "shape of layer 'hidden'"),
        (hidden(shape=[1 << 62, 1 << 62]), "layer 'hidden' declares"),
        (hidden(shape=[1] * 40), "layer 'hidden' declares"),
        (hidden(shape=[4]), "'layers/hidden/membrane' has shape"),
    ],
)
def test_hostile_manifests(path, change, match):
    repack(path, manifest=change)
    refused(path, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"[]", "must be a JSON object, not list"),
        (b"null", "must be a JSON object"),
        (b"[" * 500_000, "nested too deep"),
        (b'{"a":' * 500_000, "nested too deep"),
        (b'{"a": NaN}', "NaN is not finite"),
        (b'{"a": Infinity}', "Infinity is not finite"),
        (b'{"a": 1e999}', "1e999 is not finite"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "not JSON"),
        (b'{"a": 9999999999999999999999}', "too large"),
        (b'{"a": 1, "a": 2}', "key 'a' is there twice"),
        (b"{}", "format None"),
    ],
)
def test_hostile_json(path, text, match):
    repack(path, raw=text)
    refused(path, match)


def with_array(path, key, array):
    """Replace an array together with its listing."""
    import hashlib

    array = np.asarray(array)
    entry = [array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    repack(path, {f"{key}.npy": npy(array)}, manifest=lambda m: m["arrays"].update({key: entry}))


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("step", T, rf"\[1\] is {T}, not in \[0, {T}\)"),
        ("step", -1, r"\[1\] is -1"),
        ("sample", B, rf"\[1\] is {B}, not in \[0, {B}\)"),
        ("index", N, rf"\[1\] is {N}, not in \[0, {N}\)"),
        ("index", -(1 << 31), "is -2147483648"),
        ("count", 0, r"\[1\] is 0, not in \[1, "),
        ("count", -3, r"\[1\] is -3"),
    ],
)
def test_events_outside(path, field, value, match):
    events = content()[1][f"layers/hidden/spikes.{field}"].copy()
    events[1] = value
    with_array(path, f"layers/hidden/spikes.{field}", events)
    refused(path, rf"'layers/hidden/spikes\.{field}'.*{match}")


@pytest.mark.parametrize("bad", [np.zeros(1, np.int32), np.zeros(()), np.zeros((2, 2), np.int64)])
@pytest.mark.parametrize("field", ["step", "index", "count"])
def test_events_of_the_wrong_form(path, bad, field):
    with_array(path, f"layers/hidden/spikes.{field}", bad)
    refused(path, r"layers/hidden/spikes\.\w+'.* not integers")


def test_half_of_the_events(path):
    repack(
        path,
        {"layers/hidden/spikes.sample.npy": None},
        manifest=lambda m: m["arrays"].pop("layers/hidden/spikes.sample"),
    )
    refused(path, r"'layers/hidden/spikes\.sample' is missing")


def test_nan_is_named(path):
    a = content()[1]["layers/hidden/membrane"].copy()
    a[2, 1, 0] = np.nan
    with_array(path, "layers/hidden/membrane", a)
    refused(path, r"'layers/hidden/membrane': holds NaN, first at index \(2, 1, 0\)")


# -------------------------------------------------------------------------------- declared sizes


def test_a_zip_bomb_is_not_unpacked(path, tmp_path):
    size = evtrace_reader.BOMB_SIZE + 1
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("layers/hidden/x.npy", "w") as member:
            block = bytes(1 << 20)
            for _ in range(size // len(block) + 1):
                member.write(block)
    refused(path, "zip bomb")


def forge(path, key, offset, value):
    """Change a field of the zip directory's record of an array."""
    data = bytearray(path.read_bytes())
    at = data.rfind(f"{key}.npy".encode()) - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    struct.pack_into("<I" if offset != 10 else "<H", data, at + offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (24, 0xFFFFFFF0, "over the limit|zip bomb"),  # unpacked size
        (24, 100_000, "layers/hidden/membrane"),
        (24, 3, "layers/hidden/membrane"),
        (20, 0xFFFFFFF0, "changed after it was written"),  # packed size
        (42, 0x7FFFFFFF, "layers/hidden/membrane|damaged"),  # offset
        (10, 12, "layers/hidden/membrane"),  # method: bzip2
        (10, 14, "layers/hidden/membrane"),  # method: lzma
        (10, 99, "layers/hidden/membrane"),
        (8, 1, "layers/hidden/membrane|not allowed"),  # flags: encrypted
    ],
)
def test_a_forged_directory(path, offset, value, match):
    forge(path, "layers/hidden/membrane", offset, value)
    refused(path, match)


def test_a_directory_of_millions_is_not_parsed(tmp_path):
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 65000, 65000, 30 << 20, 0, 0)
    (tmp_path / "a.npz").write_bytes(bytes(30 << 20) + end)
    refused(tmp_path / "a.npz", "declares 65000 arrays")
    far = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 50, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 1, 1, 50, 0, 0)
    (tmp_path / "a.npz").write_bytes(far + locator + end)
    refused(tmp_path / "a.npz", f"declares {1 << 40} arrays")


def test_a_huge_sparse_file_is_refused_at_once(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        file.truncate(evtrace.TOTAL_LIMIT + 1)
    refused(tmp_path / "a.npz", "more than the limit")


def test_dense_spikes_of_an_absurd_size_are_not_allocated(path):
    with pytest.raises(EvtraceError, match="layers/hidden/spikes declares"):
        read(path).layer("hidden").spikes(1 << 20, 1 << 20, 3)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
@example(b"PK\x05\x06" + bytes(18))
def test_no_bytes_crash_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "noise.npz"
    path.write_bytes(data)
    refused(path, ".")
