"""The script that records reference cases from NEST."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

# The benchmarks are no part of the package.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.record_nest import (
    CONTINUOUS,
    TRIALS,
    cases,
    draw,
    main,
    pairwise,
    record,
)

REFERENCE = Path(__file__).parent / "reference"
KEPT = sorted([*REFERENCE.glob("trials_*.npz"), *REFERENCE.glob("continuous_*.npz")])


@pytest.mark.parametrize("options", [TRIALS, CONTINUOUS], ids=["trials", "continuous"])
def test_every_pair_of_values_occurs(options):
    choices = pairwise(options)
    for a, b in itertools.combinations(options, 2):
        found = {(choice[a], choice[b]) for choice in choices}
        assert found == set(itertools.product(options[a], options[b]))


def test_there_are_cases_enough():
    assert len(cases()) >= 30
    assert len(KEPT) == 12
    assert max(path.stat().st_size for path in KEPT) < 10_000


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_cases_are_those_of_the_script(path):
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    expected = {k: meta[k] for k in meta if k not in ("seed", "generator")}
    assert expected == json.loads(json.dumps(cases()[path.stem]))
    drawn = draw(meta, meta["seed"])
    for name in ("w_in", "w_rec", "w_out"):
        np.testing.assert_array_equal(arrays[name][0], drawn[name])
    np.testing.assert_array_equal(arrays["x"], np.packbits(drawn["x"]))
    np.testing.assert_array_equal(arrays["target"], drawn["target"])


@pytest.mark.parametrize("path", KEPT[:1] + KEPT[-1:], ids=lambda path: path.stem)
def test_nest_records_the_same_again(path):
    nest = pytest.importorskip("nest")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    again = record(nest, meta, draw(meta, meta["seed"]))
    for name in ("z_rec", "loss", "w_in", "w_rec", "w_out"):
        np.testing.assert_array_equal(again[name], arrays[name])


def test_names_of_cases_are_listed_and_checked(capsys, tmp_path):
    main(["--list"])
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(cases())
    with pytest.raises(SystemExit):
        main([str(tmp_path), "trials_99"])
    assert "unknown case 'trials_99'" in capsys.readouterr().err
