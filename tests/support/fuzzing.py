"""Files damaged at random, the same way each time, and programs that notice what that does."""

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np

from eprop_brian.base.cache import cache_folder
from eprop_brian.base.files import beside
from eprop_brian.devices.project import digest

_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
#: Which end a program that reads or writes where it must not.
_FOUND = re.compile("AddressSanitizer|runtime error|UndefinedBehavior|terminate called|fit: ")
_TYPES = ("<f8", "<f4", "<i8", "<i4", "<u8", "<i2", "|u1", "|b1", "<c16", ">f8", "<U3")
_NUMBERS = ("-1", "0", "1e999", "nan", "-inf", "99999999999999999999", "2147483648", "", "x" * 300)
#: Names that mean something to Python, C++, Brian2 or this package, or that are none.
_NAMES = (
    *("lambda", "class", "None", "int", "double", "std", "main", "template", "NULL", "M_PI"),
    *("v_post", "w", "I", "z", "e", "t", "i", "N", "dt", "xi", "not_refractory", "lastspike"),
    *("psi", "eps", "exp", "abs", "clip", "rand", "ms", "mV", "control", "trials", "input", "name"),
    *("__x", "_x", "x.y", "1a", "", "ä", "x" * 300, "nan", "inf", "True", "and", "a b", "../x"),
)
#: Values that a key may not be able to have. None may be run, and none may reach a terminal.
_VALUES = (
    *("true", "[]", "{}", "[1, 2]", "[[1]]", "[" * 3000, "1979-05-27", "1e-320", "0", "-1", "0.5"),
    *("1e999", "nan", "9" * 400, '"1e400 ms"', '"1 ms ms"', '"3 mV/ms"', '"1 mV**0.5"', '"-5 ms"'),
    *('"0 ms"', '"1e308 s"', '"1/0"', '"2**9999"', '"9**9**9"', '"1 if 1 else 2"', '"lambda: 1"'),
    *('"v"', '"dt"', '""', '"../x"', '"\\u001b[31m"', '"\\u0000"', '"x = (1"', '"x = 1; y"'),
    f'"{"(" * 3000}"',
)
_OPERATORS = (*"-+*/()<>,;\n", "**", "==", "%", "//", " and ")
_CHARACTERS = "\0\t\r\x1b\"'(\\\x7f\xa0\u2028\U0001f600a#["


def sanitized(project: Path, program: str) -> Path:
    """Build a project's program so that it ends where it does something undefined."""
    path = project / program
    kept = cache_folder() / "sanitized" / digest(project / "src", "g++", native=False)
    if not kept.exists():
        flags = " ".join(("-O0", *_SANITIZERS))
        # Last: what a Makefile says of optimisation is overruled, which takes a third of the time.
        make = ["make", "-j2", f"CXX=sh -c 'exec g++ \"$$@\" {flags}' g++", "CXXFLAGS="]
        subprocess.run(
            [*make, f"LDFLAGS={_SANITIZERS[0]}"], cwd=project, check=True, capture_output=True
        )
        with beside(kept) as copy:
            shutil.copyfile(path, copy)
    shutil.copyfile(kept, path)
    path.chmod(0o755)
    return path


def problem(program: Path, *arguments) -> str:
    """What is wrong with how a program ends; "" if it did its work or said why not."""
    try:
        done = subprocess.run(
            [str(program), *map(str, arguments)],
            env={"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it does not end"
    if any(not c.isprintable() and c != "\n" for c in done.stderr):
        return f"what it says acts on a terminal: {done.stderr!r}"
    if done.returncode in (0, 1, 2) and not _FOUND.search(done.stderr):
        return ""
    return f"status {done.returncode}: {done.stderr[-2000:]}"


def damaged(path: Path, rng: np.random.Generator) -> bytes:
    """The content of a file with something wrong."""
    data = path.read_bytes()
    if rng.random() < 0.25:
        return _bytes(data, rng)
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        name = list(arrays)[rng.integers(len(arrays))]
        members = {key: _member(value) for key, value in arrays.items()}
        members[name] = _array(arrays[name], rng)
        if rng.random() < 0.05:
            del members[name]
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            for key, content in members.items():
                file.writestr(f"{key}.npy", content)
        return out.getvalue()
    if path.suffix == ".npy":
        return _array(np.load(path), rng)
    return _text(data.decode(), rng).encode()


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    content = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(content[: rng.integers(len(content))])
    if kind == 1:
        start, length = rng.integers(len(content)), rng.integers(1, 64)
        content[start:start] = content[start : start + length]
        return bytes(content)
    # Where the archive's list of contents is, as often as anywhere else.
    first = 0 if kind == 2 else max(0, len(content) - 200)
    for place in rng.integers(first, len(content), rng.integers(1, 5)):
        content[place] = rng.integers(256)
    return bytes(content)


def _member(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _array(array: np.ndarray, rng: np.random.Generator) -> bytes:
    """An .npy whose numbers, shape, type or header are not those of an array."""
    kind = rng.integers(6)
    if kind == 0:
        content = bytearray(_member(array))
        length = 10 + int.from_bytes(content[8:10], "little")
        for place in rng.integers(6, length, rng.integers(1, 4)):
            content[place] = rng.choice([*b"0123456789(),'<f84i ", rng.integers(256)])
        return bytes(content)
    if kind == 1:
        with np.errstate(all="ignore"):
            return _member(array.astype(_TYPES[rng.integers(len(_TYPES))]))
    if kind == 2:
        shapes = ((0,), (), (1,), (0, *array.shape), (*array.shape, 1), array.shape[::-1])
        return _member(np.resize(array, shapes[rng.integers(len(shapes))]))
    if kind == 3:
        length = len(np.atleast_1d(array))
        size = rng.choice([0, max(0, length - 1), length + 1, 2 * length])
        return _member(np.resize(array, (size, *array.shape[1:])))
    array = np.array(array)
    if kind == 4 and array.dtype != bool:
        extreme = (
            [np.nan, np.inf, -np.inf, 1e300, -1e300, 0.5]
            if array.dtype.kind == "f"
            else [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, -1, 0, 1, array.size]
        )
        for place in rng.integers(max(1, array.size), size=rng.integers(1, 4)):
            if array.size:
                with np.errstate(over="ignore"):
                    array.flat[place] = extreme[rng.integers(6)]
        return _member(array)
    bits = rng.integers(0, 256, array.nbytes, dtype=np.uint8).tobytes()
    return _member(np.frombuffer(bits, dtype=array.dtype).reshape(array.shape))


def _text(text: str, rng: np.random.Generator) -> str:
    lines = text.splitlines(keepends=True)
    place, kind = rng.integers(len(lines)), rng.integers(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[rng.integers(len(lines))])
    else:
        number = _NUMBERS[rng.integers(len(_NUMBERS))]
        found = list(re.finditer(r"[-+.\deE]*\d[-+.\deE]*", lines[place]))
        if found:
            one = found[rng.integers(len(found))]
            lines[place] = lines[place][: one.start()] + number + lines[place][one.end() :]
    return "".join(lines)


def canary(path: Path) -> str:
    """Code that makes a file, if anybody runs it."""
    return f"__import__('pathlib').Path('{path}').touch()"


def mutated(text: str, rng: np.random.Generator, code: str = "") -> str:
    """A text of settings or equations with one mistake or two; `code` is one of the values."""
    for _ in range(rng.integers(1, 3)):
        text = _mutated_once(text, rng, code)
    return text


def _mutated_once(text: str, rng: np.random.Generator, code: str) -> str:
    kind = rng.integers(7)
    if kind < 2:
        words = sorted({*re.findall(r"[A-Za-z_]\w*", text)})
        name, count = _one(_NAMES, rng), int(rng.random() < 0.2)
        return re.sub(rf"\b{_one(words, rng)}\b", lambda _: name, text, count=count)
    if kind == 2:
        values = [*_VALUES, f'"{code}"', f"[{code}]"]
        keys = [*re.finditer(r"^(\s*\S+\s*=\s*)(.*)$", text, re.MULTILINE)]
        return _replaced(text, keys, _one(values, rng), 2, rng)
    if kind == 3:
        numbers = [*re.finditer(r"\d+(\.\d+)?", text)]
        return _replaced(text, numbers, _one(("-1", "0", "1e999", "1e-320", "1e20"), rng), 0, rng)
    if kind == 4:
        return _replaced(text, [*re.finditer("[-+*/<>=()]", text)], _one(_OPERATORS, rng), 0, rng)
    if kind == 5:
        place = rng.integers(len(text) + 1)
        return text[:place] + _one(_CHARACTERS, rng) + text[place + 1 :]
    lines = text.splitlines(keepends=True)
    line = lines.pop(rng.integers(len(lines))) if lines else ""
    if rng.random() < 0.5:
        lines[:0] = [line]
    return "".join(lines)


def _one(things, rng: np.random.Generator):
    return things[rng.integers(len(things))] if len(things) else ""


def _replaced(text: str, matches: list, by: str, group: int, rng: np.random.Generator) -> str:
    """A text with one of several matches, or a group of it, replaced."""
    if not matches:
        return text
    match = _one(matches, rng)
    return text[: match.start(group)] + by + text[match.end(group) :]
