"""Methods side by side, and e-prop's gradient beside the total derivative."""

import csv

import numpy as np
import pytest

from eprop_brian.figures.learning import plot_comparison, plot_gradient_check
from eprop_brian.figures.style import save_figure
from eprop_brian.runs.comparison import (
    Compared,
    Summary,
    compare,
    histories,
    summaries,
    write_summaries,
)
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.learning import METHODS
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.gradient_check import GradientCheck, check_gradients, write_checks
from eprop_brian.training.history import History
from eprop_brian.training.trainer import Trainer

SIZES = ("task.n_steps=60", "task.n_inputs=20", "size.lif=8")


def config(*settings, iterations=3, **options) -> RunConfig:
    run = {"iterations": iterations, "device": "runtime", "seed": 3}
    return RunConfig.from_recipe(
        "pattern-generation", run=run, settings=(*SIZES, *settings), **options
    )


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# --- methods --------------------------------------------------------------------------------------


def test_methods_change_what_they_are_and_nothing_else():
    base = config("network.feedback_decay=1e-2", "network.feedback_scale=0.2", "optimizer.eta=1e-3")
    for method in METHODS:
        chosen = base.with_method(method)
        network = chosen.make_network(chosen.make_task())
        assert network.gradient == ("bptt" if method == "bptt" else "factored")
        assert network.optimizer.parameters["eta"] == 1e-3
        assert chosen.with_tables({"network": base.network, "run": base.run}) == base
        again = chosen.with_method("random")
        assert again.network["gradient"] == "factored"
    assert base.with_method("adaptive").make_network(base.make_task()).resolved.signals[
        0
    ].feedback.parameters == {"decay": 1e-2}
    with pytest.raises(ValueError, match="unknown method 'rtrl'. There are: symmetric, random"):
        base.with_method("rtrl")


def test_the_recipes_learning_signal_is_no_obstacle_to_bptt():
    chosen = RunConfig.from_recipe("evidence-accumulation", network={"gradient": "bptt"})
    assert "feedback" not in chosen.network
    assert (
        chosen.make_network(chosen.make_task()).resolved.signals[0].feedback.weights == "symmetric"
    )
    asked = RunConfig.from_recipe(
        "evidence-accumulation", network={"gradient": "bptt"}, settings=["network.feedback=random"]
    )
    with pytest.raises(ValueError, match="leave feedback at 'symmetric'"):
        asked.make_network(asked.make_task())


# --- comparison -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return folder, compare(config(), folder, ["random", "bptt"], [1, 2], progress=False)


def test_runs_are_ordinary_runs_with_the_same_start(compared):
    folder, results = compared
    assert [(r.method, r.seed) for r in results] == [
        ("random", 1),
        ("random", 2),
        ("bptt", 1),
        ("bptt", 2),
    ]
    for result in results:
        assert result.folder == folder / f"{result.method}-seed{result.seed}"
        assert History.read(result.folder / "history.csv").loss == result.history.loss
        assert len(result.history) == 3 and not result.solved and not result.failure
        assert RunConfig.read(result.folder).run["seed"] == result.seed
    # Before the first update nothing differs but the seed.
    first = [result.history.loss[0] for result in results]
    np.testing.assert_allclose(first[:2], first[2:], rtol=1e-12)
    assert first[0] != first[1]


def test_a_comparison_goes_on_where_it_was(compared, tmp_path):
    folder, results = compared
    before = (folder / "bptt-seed1" / "checkpoint.npz").read_bytes()
    again = compare(config(), folder, ["bptt"], [1], progress=False)[0]
    assert again.history.loss == results[2].history.loss
    assert (folder / "bptt-seed1" / "checkpoint.npz").read_bytes() == before
    longer = config(iterations=5)
    on = compare(longer, folder, ["bptt"], [1], progress=False)[0]
    whole = compare(longer, tmp_path, ["bptt"], [1], progress=False)[0]
    assert on.history.loss == whole.history.loss and len(on.history) == 5


def test_a_folder_with_other_settings_is_refused_before_anything_is_trained(compared):
    folder, _ = compared
    other = config("optimizer.eta=1e-2")
    with pytest.raises(ValueError, match="random-seed1 holds a run with other settings"):
        compare(other, folder, ["broadcast", "random"], [1], progress=False)
    assert not (folder / "broadcast-seed1").exists()


@pytest.mark.parametrize(
    ("methods", "seeds", "message"),
    [
        ([], [1], "at least one method"),
        (["random"], [], "at least one"),
        (["random", "random"], [1], "methods must differ"),
        (["random"], [1, 1], "seeds must differ"),
        (["other"], [1], "unknown method 'other'"),
    ],
)
def test_what_cannot_be_compared_is_refused(methods, seeds, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        compare(config(), tmp_path, methods, seeds)
    assert not any(tmp_path.iterdir())


def test_a_loss_that_is_no_longer_finite_ends_its_run_alone(tmp_path, monkeypatch):
    def train(trainer, *_, **__):
        raise TrainingError("the loss is no longer finite")

    monkeypatch.setattr(Trainer, "train", train)
    results = compare(config(), tmp_path, ["random", "symmetric"], [1], progress=False)
    assert all("no longer finite" in result.failure for result in results)
    assert [row.failed for row in summaries(results)] == [1, 1]
    assert "1 no longer finite" in str(summaries(results)[0])


def runs(method, *lengths, solved=True):
    for seed, length in enumerate(lengths, start=1):
        history = History()
        for i in range(length):
            history.append(1 / (i + 1), 0.5 / (i + 1), 10.0, 0.1)
        yield Compared(method, seed, None, history, solved and length < 40)


def test_summaries_count_what_was_not_solved(tmp_path):
    results = [*runs("random", 20, 30, 40), *runs("bptt", 10, 40, 40, 40)]
    first, second = found = summaries(results)
    assert first.iterations == (30, 20, np.inf)
    assert (first.seeds, first.solved, first.failed) == (3, 2, 0)
    assert second.iterations == (np.inf, 10, np.inf)
    last = np.mean(1 / np.arange(11, 21))
    assert first.loss[2] == pytest.approx(last)
    assert first.error[2] == pytest.approx(last / 2)
    path = tmp_path / "comparison.csv"
    write_summaries(path, found)
    table = rows(path)
    assert [row["method"] for row in table] == ["random", "bptt"]
    assert (table[0]["iterations_median"], table[0]["iterations_most"]) == ("30", "")
    assert "solved 2/3 after 30 (20 to never) iterations" in str(first)


def test_a_summary_of_a_task_without_error_speaks_of_the_loss():
    nothing = (np.nan,) * 3
    summary = Summary("bptt", 1, 0, 0, (np.inf,) * 3, (2.0, 2.0, 2.0), nothing)
    assert "final loss 2" in str(summary) and "solved" not in str(summary)


def test_curves_are_median_and_range_and_a_run_that_ended_keeps_its_value(tmp_path):
    found = histories([*runs("random", 20, 30, 40), *runs("bptt", 10)])
    figure = plot_comparison(found, error_threshold=0.07)
    loss, error, rate = figure.axes
    median, other = loss.lines
    assert median.get_label() == "random" and len(median.get_xdata()) == 40
    assert median.get_ydata()[-1] == pytest.approx(1 / 30)
    assert len(other.get_xdata()) == 10
    assert error.get_ylabel().startswith("wrong trials") and rate.get_ylabel().startswith("firing")
    assert error.lines[0].get_ydata()[0] == pytest.approx(50)
    written = save_figure(figure, tmp_path / "comparison", ("png", "pdf"))
    assert [path.name for path in written] == ["comparison.png", "comparison.pdf"]
    assert all(path.stat().st_size > 1000 for path in written)
    with pytest.raises(ValueError, match="empty"):
        plot_comparison({"bptt": [History()]})


# --- gradients ------------------------------------------------------------------------------------


def trainer_of(*settings, **options) -> Trainer:
    return config(*settings, **options).make_trainer()


def test_comparing_gradients_changes_nothing_in_training(tmp_path):
    checked, plain = trainer_of(), trainer_of()
    check = check_gradients(checked, 5, every=2, progress=False)
    plain.train(5, progress=False)
    assert check.iteration == [0, 2, 4, 5]
    assert checked.history.loss == plain.history.loss
    for name, value in plain.session.state().items():
        np.testing.assert_array_equal(checked.session.state()[name], value, err_msg=name)
    # What reaches the readout reaches it directly.
    np.testing.assert_allclose(check.cosine["w_out"], 1, atol=1e-12)
    np.testing.assert_allclose(check.ratio["w_out"], 1, rtol=1e-10)
    assert all(-1 <= c < 0.999 for c in check.cosine["w_rec"])
    path = tmp_path / "gradients.csv"
    write_checks({3: check}, path)
    table = rows(path)
    assert len(table) == 12
    assert list(table[0]) == ["seed", "iteration", "projection", "cosine", "length_ratio"]
    assert table[0]["seed"] == "3"
    assert float(table[1]["cosine"]) == check.cosine["w_rec"][0]


def test_without_recurrent_synapses_the_gradients_are_one():
    trainer = trainer_of("network.connectivity={w_rec = 0.0}", "neuron.detach=[]")
    check = check_gradients(trainer, 2, every=2, progress=False)
    np.testing.assert_allclose(check.cosine["w_in"], 1, atol=1e-12)
    np.testing.assert_allclose(check.ratio["w_in"], 1, rtol=1e-10)
    assert np.all(np.isnan(check.cosine["w_rec"]))
    plot_gradient_check([check])


def test_gradients_of_several_seeds_are_drawn_by_median_and_range():
    checks = [GradientCheck() for _ in range(3)]
    for number, check in enumerate(checks):
        for iteration in range(0, 10 + 10 * number, 10):
            a = np.array([1.0, number])
            check.append(iteration, {"w_rec": a}, {"w_rec": np.array([1.0, 0.0])})
    above = plot_gradient_check(checks).axes[0]
    cosines = 1 / np.sqrt(1 + np.arange(3) ** 2)
    # Two seeds went on to the second comparison, one to the third.
    wanted = [cosines[1], np.median(cosines[1:]), cosines[2]]
    np.testing.assert_allclose(above.lines[0].get_ydata(), wanted, rtol=1e-12)
    np.testing.assert_array_equal(above.lines[0].get_xdata(), [0, 10, 20])


def test_a_comparison_of_gradients_needs_both():
    with pytest.raises(ValueError, match="is what the gradient is compared with"):
        check_gradients(
            RunConfig.from_recipe(
                "pattern-generation", network={"gradient": "bptt"}, settings=SIZES
            ).make_trainer(),
            2,
        )
    streaming = trainer_of(
        *("network.gradient=online", "network.updates=step", "network.c_reg=0.0")
    )
    with pytest.raises(ValueError, match="needs trials"):
        check_gradients(streaming, 2)
    with pytest.raises(ValueError, match="every"):
        check_gradients(trainer_of(), 2, every=0)
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_gradient_check([GradientCheck()])


def test_cosines_of_huge_gradients_are_numbers():
    check = GradientCheck()
    check.append(0, {"w": np.array([1e200, 0.0])}, {"w": np.array([1e200, 1e200])})
    check.append(1, {"w": np.zeros(2)}, {"w": np.ones(2)})
    assert check.cosine["w"][0] == pytest.approx(np.sqrt(0.5))
    assert np.isnan(check.cosine["w"][1]) and check.ratio["w"][1] == 0
