"""Blocks that are translated once: remembered, and kept for other processes."""

import json

import numpy as np
import pytest

from eprop_brian import ALIF, LIF, Network
from eprop_brian.base.cache import cached
from eprop_brian.devices import cpp, translation
from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity

CAPACITY = Capacity(20, 2, 1, 20, 2)


def source(c_reg=1.0, size=5, dtype=np.float64):
    network = Network.standard(4, 2, [(LIF, size), (ALIF, 3)], c_reg=c_reg)
    return cpp.generate(network.resolved, CAPACITY, dtype, build=build).generated["program.cpp"]


@pytest.fixture
def forgotten(tmp_path, monkeypatch):
    """Nothing is remembered, and nothing kept."""
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(translation, "_remembered", {})
    return tmp_path / "cache"


@pytest.fixture
def translated(monkeypatch):
    """The blocks that Brian2 translates."""
    blocks = []
    make = translation.make_statements

    def counted(code, *arguments, **keywords):
        blocks.append(keywords["blockname"])
        return make(code, *arguments, **keywords)

    monkeypatch.setattr(translation, "make_statements", counted)
    return blocks


def test_a_block_is_translated_once(forgotten, translated, monkeypatch):
    first = source()
    assert len(set(translated)) == len(translated) > 10
    assert source() == first, "remembered"
    monkeypatch.setattr(translation, "_remembered", {})
    assert source() == first, "kept"
    assert len(set(translated)) == len(translated)
    monkeypatch.setattr(CppStepCodeObject.generator_class, "remembers", False)
    assert source() == first, "as Brian2 translates it"
    assert len(translated) == 2 * len(set(translated))


def test_other_types_and_equations_are_other_blocks(forgotten, translated):
    source()
    n_blocks = len(translated)
    assert "float" in source(dtype=np.float32)
    assert len(translated) == 2 * n_blocks, "all are translated for another type"
    source(size=7)
    assert len(translated) == 2 * n_blocks, "none for another size"


def test_what_is_damaged_is_made_again(forgotten, translated, monkeypatch):
    first = source()
    (file,) = forgotten.glob("*/blocks.json")
    kept = json.loads(file.read_text())
    name = next(iter(kept))
    file.write_text(json.dumps({**kept, name: [["int stranger;"], []]}))
    n_blocks = len(translated)
    monkeypatch.setattr(translation, "_remembered", {})
    assert source() == first
    assert len(translated) == 2 * n_blocks
    assert json.loads(file.read_text()) == kept


@pytest.mark.parametrize("text", ["", "[1", "gone"])
def test_what_goes_while_it_is_read_is_translated(forgotten, monkeypatch, text):
    first = source()

    def unsound(name, make):
        folder, made = cached(name, make)
        if text == "gone":
            (folder / "blocks.json").unlink()
        else:
            (folder / "blocks.json").write_text(text)
        return folder, made

    monkeypatch.setattr(translation, "_remembered", {})
    monkeypatch.setattr(translation, "cached", unsound)
    assert source() == first


def test_few_blocks_are_remembered(forgotten, monkeypatch):
    monkeypatch.setattr(translation, "_MOST_REMEMBERED", 7)
    first = source()
    assert len(translation._remembered) == 7
    assert source() == first
