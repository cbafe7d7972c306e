"""Recorded runs of NEST, replayed with both gradient programs on both devices."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eprop_brian.equations.surrogates import surrogate as write_surrogate
from eprop_brian.training.reference import load_case
from eprop_brian.training.replay import _Adam, _InTrials
from eprop_brian.training.verification import verify

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = sorted(REFERENCE.glob("*.npz"))
#: Without trials: NEST's newer family.
CONTINUOUS = [path.stem for path in CASES if path.name.startswith(("new_", "continuous_"))]
#: Recorded with `benchmarks.record_nest`; the rest is older.
RECORDED = [path for path in CASES if path.name.startswith(("trials_", "continuous_"))]
#: Together they have all of NEST's newer models but one, updates of either kind, a cut-off, pauses,
#: the regulariser, refractoriness and Adam.
QUICK = ("continuous_02", "continuous_13", "continuous_15")
#: One of every model, optimizer, surrogate and kind of updates.
SINGLE = (
    *("alif_classification_gd", "lif_regression_adam_batch2_avg", "lif_regression_gd_freg"),
    *("lif_regression_gd_sg_exponential", "lif_regression_gd_sg_fast_sigmoid"),
    *("new_iaf_adam_eachstep", "new_iaf_psc_delta_gd", "trials_01", "trials_09", *QUICK),
)

users_compiler = pytest.mark.usefixtures("users_compiler")


def altered(path: Path, folder: Path, **changes) -> Path:
    """A copy of a case with some arrays changed by functions."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name].copy() for name in file.files}
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    copy = folder / "altered.npz"
    np.savez(copy, **arrays)
    return copy


def programs(paths: list[Path]) -> list:
    """Cases with each of their gradient programs. Continuous operation has one."""
    return [
        pytest.param(
            *(path, gradient),
            id=f"{path.stem}-{gradient}",
            marks=[pytest.mark.slow] if path.stem in CONTINUOUS and path.stem not in QUICK else [],
        )
        for path in paths
        for gradient in (["online"] if path.stem in CONTINUOUS else ["factored", "online"])
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "gradient"), programs(CASES))
def test_case_holds_in_compiled_code(path, gradient, request):
    """Those of `SINGLE` are compiled as a user's programs are, the others as most tests' are."""
    if path.stem in SINGLE:
        request.getfixturevalue("users_compiler")
    result = verify(load_case(path, gradient), "cpp")
    assert result.ok, str(result)
    assert result.differing_spikes == 0
    assert result.loss_deviation < 1e-9


@users_compiler
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


@pytest.mark.parametrize(("path", "gradient"), programs(RECORDED))
def test_recorded_case_holds_at_runtime(path, gradient):
    result = verify(load_case(path, gradient), "runtime")
    assert result.ok, str(result)


def test_what_applied_stands_beside_the_result():
    result = verify(load_case(REFERENCE / "unit_1_1_1_gd.npz"), "runtime")
    tolerance = "(tolerance: no spike differs, losses and weights within 1e-09"
    assert str(result).endswith(f"{tolerance})  ok")
    result = verify(load_case(REFERENCE / "trials_01.npz"), "runtime")
    assert f"{tolerance}; by NEST's rule, no learning signal of a last step" in str(result)


def test_a_learning_signal_that_nest_loses_is_lost_in_the_replay(monkeypatch):
    """Inputs of this case spike in step 1: NEST's gradient lacks the last step's signal."""
    case = load_case(REFERENCE / "trials_02.npz")
    assert np.any(case.trials.inputs[:, 1])
    assert verify(case, "runtime").weight_deviations[1] < 1e-13
    none = np.zeros(case.network.n_inputs, dtype=bool)
    monkeypatch.setattr(_InTrials, "_early", lambda self, trial: none)
    assert verify(case, "runtime").weight_deviations[1] > 1e-7


@pytest.mark.parametrize("fault", [pytest.param("updates", marks=pytest.mark.slow), "moments"])
def test_nests_adam_makes_up_for_steps_without_updates(monkeypatch, fault):
    case = load_case(REFERENCE / "continuous_15.npz")
    make_up = _Adam._make_up

    def one_update(self, name, pre, weights, gradient, number):
        self.updates[name][pre] = number - 1
        make_up(self, name, pre, weights, gradient, number)

    def the_whole_gradient_at_the_end(self, name, pre, weights, gradient, number):
        make_up(self, name, pre, weights, np.zeros_like(gradient), number - 1)
        make_up(self, name, pre, weights, gradient, number)

    wrong = {"updates": one_update, "moments": the_whole_gradient_at_the_end}[fault]
    monkeypatch.setattr(_Adam, "_make_up", wrong)
    assert verify(case, "runtime").weight_deviations[1] > 1e-3


def test_case_holds_with_all_synapses_in_compressed_rows():
    case = load_case(REFERENCE / "lif_regression_adam_batch2_avg.npz")
    n = case.network.n_recurrent
    network = case.network
    for name, pairs in {"w_in": 1.0, "w_rec": ~np.eye(n, dtype=bool), "w_out": 1.0}.items():
        network = network.with_part(name, connectivity=pairs)
    result = verify(replace(case, network=network))
    assert result.ok, str(result)


@pytest.mark.slow
@users_compiler
def test_losses_of_nests_regression_test():
    expected = [
        *(101.964356999041, 103.466731126205, 103.340607074771),
        *(103.680244037686, 104.412775748752),
    ]
    case = load_case(REFERENCE / "nest_test_regression_n100.npz")
    np.testing.assert_allclose(case.losses, expected, rtol=1e-12)
    assert verify(case, "cpp").loss_deviation < 1e-9


@pytest.mark.slow
@users_compiler
@pytest.mark.parametrize("name", SINGLE)
def test_float32_gives_the_same_spikes(name):
    assert verify(load_case(REFERENCE / f"{name}.npz"), "cpp", "float32").differing_spikes == 0


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


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("unit_1_1_1_gd", {"x": lambda bits: bits | 0x80}, "step 0, which"),
        ("continuous_13", {"window": lambda window: window / 2}, "'window' must be 0 or 1"),
        ("continuous_13", {"window": lambda window: window[1:]}, "in each of 50 steps"),
    ],
)
def test_inputs_and_windows_that_nest_has_not_are_refused(tmp_path, name, changes, message):
    path = altered(REFERENCE / f"{name}.npz", tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_case(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_iter", 100, r"'w_in' has the shape \(4, 1, 1\), where its meta implies \(101, 1, 1\)"),
        ("n_iter", "x", "in its meta, n_iter must be an integer, got 'x'"),
        ("optimizer", 3, "optimizer must be a table with a type, not 3"),
        ("optimizer", {"type": ["a"]}, "unknown optimizer"),
        ("T", -1, "T must be at least 1, got -1"),
        (
            "T",
            41,
            r"'x_shape' is \(3, 40, 1\), where its meta implies \(3, 41, 1\) or \(1, 41, 1\)",
        ),
        ("learning_window", 1000, "learning_window must be T = 40 steps at most, not 1000"),
        ("n_in", 2, "'w_in' has the shape"),
        ("n_ad", 1, "'B' has the shape"),
        ("tau_m", "20", "tau_m must be a finite number without unit, not '20'"),
        ("dt", 0, "dt must be above 0"),
        ("sg_fun", ["a"], "unknown sg_fun"),
        ("loss", {}, "unknown loss"),
        ("model", [], "cannot be replayed"),
        ("average_gradient", "no", "average_gradient must be true or false, not 'no'"),
    ],
)
def test_damaged_entries_are_named(tmp_path, key, value, message):
    def change(meta):
        return np.array(json.dumps({**json.loads(str(meta)), key: value}))

    path = altered(REFERENCE / "unit_1_1_1_gd.npz", tmp_path, meta=change)
    with pytest.raises(ValueError, match=message):
        load_case(path)


@pytest.mark.parametrize(
    ("array", "change", "message"),
    [
        ("loss", lambda a: a.astype(str), "'loss' does not hold numbers"),
        ("B", lambda a: a[0], "'B' has the shape"),
        ("target", lambda a: a[0], "'target' has the shape"),
        ("x", lambda a: a.astype(float), "'x' must hold packed bits"),
        ("z_rec_shape", lambda a: a.astype(float), "'z_rec_shape' must be whole numbers"),
        ("z_rec_shape", lambda a: -a, "'z_rec_shape' is"),
        ("meta", lambda _: np.array("[1]"), "its meta must be a JSON object"),
    ],
)
def test_damaged_arrays_are_named(tmp_path, array, change, message):
    path = altered(REFERENCE / "unit_1_1_1_gd.npz", tmp_path, **{array: change})
    with pytest.raises(ValueError, match=message):
        load_case(path)


def test_every_recorded_case_can_be_read():
    assert all(load_case(path).path == path for path in CASES)


@pytest.mark.parametrize(
    ("name", "surrogate"),
    [
        ("piecewise_linear", "piecewise_linear"),
        ("exponential", "exponential"),
        ("fast_sigmoid_derivative", "fast_sigmoid"),
        ("arctan_derivative", "arctan"),
        ("arctan", "arctan"),
    ],
)
def test_surrogates_have_nests_names(tmp_path, name, surrogate):
    def change(meta):
        return np.array(json.dumps({**json.loads(str(meta)), "sg_fun": name}))

    path = altered(REFERENCE / "unit_1_1_1_gd.npz", tmp_path, meta=change)
    (population,) = load_case(path).network.populations
    margin, shape = "v - v_th", {"height": "sg_height", "width": "sg_width"}
    assert population.neuron.surrogate == write_surrogate(surrogate, margin, **shape)


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
