"""Recorded runs of NEST, replayed with both gradient programs on both devices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eprop_brian.training.reference import load_case
from eprop_brian.training.verification import verify

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = sorted(REFERENCE.glob("*.npz"))
#: Without trials: NEST's newer family.
CONTINUOUS = [path.stem for path in CASES if path.name.startswith("new_")]
SMALL = [path for path in CASES if not path.name.startswith("nest_test")]


def altered(path: Path, folder: Path, **changes) -> Path:
    """A copy of a case with some arrays changed by functions."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name].copy() for name in file.files}
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    copy = folder / "altered.npz"
    np.savez(copy, **arrays)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "gradient"),
    [
        (path, gradient)
        for path in CASES
        # Continuous operation has one program.
        for gradient in (["online"] if path.stem in CONTINUOUS else ["factored", "online"])
    ],
    ids=lambda given: getattr(given, "stem", given),
)
def test_case_holds_in_compiled_code(path, gradient):
    result = verify(load_case(path, gradient), "cpp")
    assert result.ok, str(result)
    assert result.differing_spikes == 0
    assert result.loss_deviation < 1e-9


def test_a_continuous_case_holds_in_compiled_code():
    case = load_case(REFERENCE / "new_iaf_psc_delta_gd.npz")
    assert case.network.continuous
    result = verify(case, "cpp")
    assert result.ok, str(result)
    assert len(result.weight_deviations) == case.n_iterations


@pytest.mark.parametrize("gradient", ["factored", "online"])
@pytest.mark.parametrize("name", ["unit_1_1_1_gd", "lif_regression_adam_batch2_avg"])
def test_case_holds_at_runtime(name, gradient):
    result = verify(load_case(REFERENCE / f"{name}.npz", gradient), "runtime")
    assert result.ok, str(result)


def test_case_holds_with_all_synapses_in_compressed_rows():
    case = load_case(REFERENCE / "lif_regression_adam_batch2_avg.npz")
    n = case.network.n_recurrent
    connectivity = {"w_in": 1.0, "w_rec": ~np.eye(n, dtype=bool), "w_out": 1.0}
    result = verify(replace(case, network=case.network.with_options(connectivity=connectivity)))
    assert result.ok, str(result)


@pytest.mark.slow
def test_losses_of_nests_regression_test():
    expected = [
        *(101.964356999041, 103.466731126205, 103.340607074771),
        *(103.680244037686, 104.412775748752),
    ]
    case = load_case(REFERENCE / "nest_test_regression_n100.npz")
    np.testing.assert_allclose(case.losses, expected, rtol=1e-12)
    assert verify(case, "cpp").loss_deviation < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_float32_gives_the_same_spikes(path):
    assert verify(load_case(path), "cpp", "float32").differing_spikes == 0


def test_one_altered_weight_fails(tmp_path):
    def change(weights):
        weights[1, 0, 0] += 1e-9
        return weights

    path = altered(REFERENCE / "unit_1_1_1_gd.npz", tmp_path, w_in=change)
    result = verify(load_case(path), "runtime")
    assert not result.ok
    assert "w_in after update 1" in str(result)


def test_one_altered_spike_fails(tmp_path):
    def change(bits):
        bits[2] ^= 1
        return bits

    path = altered(REFERENCE / "unit_1_1_1_gd.npz", tmp_path, z_rec=change)
    result = verify(load_case(path), "runtime")
    assert result.differing_spikes == 1
    assert "1 spikes" in result.failures


def test_a_nan_in_the_recording_fails(tmp_path):
    def change(losses):
        losses[1] = np.nan
        return losses

    path = altered(REFERENCE / "unit_1_1_1_gd.npz", tmp_path, loss=change)
    assert not verify(load_case(path), "runtime").ok


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b""), "not an .npz"),
        (lambda p: p.write_bytes(b"PK\x03\x04 no zip"), "not an .npz"),
        (lambda p: np.savez(p, x=np.zeros(3)), "'meta'"),
        (lambda p: np.savez(p, meta='{"dt": 1.0}'), "lacks 'T'"),
        (lambda p: np.savez(p, meta=np.array({"a": 1}, dtype=object)), "not an .npz"),
    ],
)
def test_unusable_files_are_named(tmp_path, make, message):
    path = tmp_path / "case.npz"
    make(path)
    with pytest.raises(ValueError, match=message):
        load_case(path)
