"""Callbacks, validations in the history, early stopping, and loggers."""

import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from eprop_brian.training.callbacks import BestWeights, Callback, EarlyStopping, best_validation
from eprop_brian.training.history import History
from eprop_brian.training.loggers import TensorBoard, WandB
from eprop_brian.training.trainer import Trainer
from support.own import own_arrays, own_trainer


def history_of(**columns):
    history = History()
    for row in zip(*columns.values(), strict=True):
        history.append(loss=1.0, **dict(zip(columns, row, strict=True)))
    return history


NAN = float("nan")


@pytest.mark.parametrize(
    ("columns", "best"),
    [
        ({"validation_loss": [NAN, 3.0, NAN, 2.0, NAN, 4.0]}, (4, 1)),
        # The error counts first, then the loss; of equal ones the first.
        ({"validation_error": [0.2, 0.1, 0.1], "validation_loss": [1.0, 5.0, 4.0]}, (3, 0)),
        ({"validation_error": [0.1, 0.1, 0.2], "validation_loss": [4.0, 4.0, 1.0]}, (1, 2)),
        ({"validation_return": [-3.0, 9.0, 5.0], "validation_loss": [1.0, 3.0, 2.0]}, (2, 1)),
        ({"validation_loss": [NAN, NAN]}, (0, 0)),
    ],
)
def test_the_best_validation(columns, best):
    assert best_validation(history_of(**columns)) == best


class Notes(Callback):
    def __init__(self):
        self.said = []

    def on_start(self, trainer):
        self.said.append("start")

    def on_iteration(self, trainer, iteration, values):
        self.said.append((iteration, values["loss"]))

    def on_validation(self, trainer, iteration, evaluation):
        self.said.append((iteration, evaluation))

    def on_end(self, trainer):
        self.said.append("end")


def test_callbacks_hear_everything_and_change_nothing():
    task = own_arrays()
    plain, trainer = own_trainer(task), own_trainer(task)
    plain.train(5, progress=False)
    notes, best = Notes(), BestWeights()
    trainer.train(5, progress=False, validate_every=2, callbacks=[notes, best])
    loss = trainer.history.loss
    assert loss == plain.history.loss
    validations = [said[1] for said in notes.said if said[0] in (2, 4) and said[1] not in loss]
    assert notes.said == [
        *("start", (1, loss[0]), (2, loss[1]), (2, validations[0])),
        *((3, loss[2]), (4, loss[3]), (4, validations[1]), (5, loss[4]), "end"),
    ]
    noted = np.array(trainer.history.validation_loss)
    assert np.isnan(noted[[0, 2, 4]]).all()
    assert [noted[1], noted[3]] == [v.loss for v in validations]
    assert best.iteration == best_validation(trainer.history)[0]
    trainer.session.restore(best.state)
    again = trainer.evaluate(stream=f"validation {best.iteration}")
    assert again == validations[best.iteration // 2 - 1]


def test_patience_ends_a_training_and_is_kept_over_a_break():
    class Worse(Callback):
        def on_validation(self, trainer, iteration, evaluation):
            trainer.history.validation_error[-1] = iteration / 100

    trainer = own_trainer(own_arrays())
    options = {"progress": False, "validate_every": 1}
    trainer.train(2, callbacks=[Worse()], **options)
    trainer.train(9, callbacks=[Worse(), EarlyStopping(3)], **options)
    assert trainer.iteration == 4
    assert trainer.stopped == "no better validation than that of iteration 1"
    trainer.train(9, callbacks=[EarlyStopping(3)], **options)
    assert trainer.iteration == 4
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(0)


def scalars(file):
    """Steps and values of an event file, by tag."""
    from tensorboardX.proto.event_pb2 import Event

    raw, at, found = file.read_bytes(), 0, {}
    while at < len(raw):
        (size,) = struct.unpack("<Q", raw[at : at + 8])
        event = Event.FromString(raw[at + 12 : at + 12 + size])
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
        at += size + 16
    return found


def fake_trainer():
    history = History()
    return SimpleNamespace(
        iteration=0,
        history=history,
        task=own_arrays(),
        **{"seed": 1, "batch_size": 4, "device": "cpp", "dtype": "float64"},
    )


def log(callback):
    """A training of two iterations and a validation."""
    trainer = fake_trainer()
    evaluation = SimpleNamespace(loss=0.5, error=NAN, returns=SimpleNamespace(mean=7.0))
    callback.on_start(trainer)
    callback.on_iteration(trainer, 1, {"loss": 2.0})
    callback.on_iteration(trainer, 2, {"loss": 1.0})
    callback.on_validation(trainer, 2, evaluation)
    callback.on_end(trainer)


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    log(TensorBoard(tmp_path / "tensorboard"))
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert scalars(file) == {
        "training/loss": [(1, 2.0), (2, 1.0)],
        "validation/loss": [(2, 0.5)],
        "validation/return": [(2, 7.0)],
    }


def test_weights_and_biases_by_a_stand_in(tmp_path, monkeypatch):
    logged, begun = [], {}
    run = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)),
        finish=lambda: logged.append("end"),
    )
    stand_in = SimpleNamespace(init=lambda **options: begun.update(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    log(WandB(tmp_path / "wandb", mode="offline"))
    assert begun["mode"] == "offline" and begun["config"]["seed"] == 1
    assert begun["dir"] == str(tmp_path / "wandb")
    assert logged == [
        (1, {"training/loss": 2.0}),
        (2, {"training/loss": 1.0}),
        (2, {"validation/loss": 0.5, "validation/return": 7.0}),
        "end",
    ]


@pytest.mark.parametrize(("logger", "name"), [(TensorBoard, "tensorboardX"), (WandB, "wandb")])
def test_a_missing_library_is_named(logger, name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"needs {name} .*pip install 'eprop_brian\["):
        logger(tmp_path)


def test_a_training_that_goes_on_does_not_validate_again(tmp_path):
    class Count(Callback):
        def __init__(self):
            self.at = []

        def on_validation(self, trainer, iteration, evaluation):
            self.at.append(iteration)

    trainer, first, second = own_trainer(own_arrays()), Count(), Count()
    trainer.train(4, progress=False, validate_every=2, callbacks=[first])
    trainer.save(tmp_path)
    again = Trainer.load(tmp_path)
    again.train(4, progress=False, validate_every=2, callbacks=[second])
    assert (first.at, second.at) == ([2, 4], [])
    again.train(6, progress=False, validate_every=2, callbacks=[second])
    assert second.at == [6]
    # It was interrupted between an iteration and its validation.
    again.history.validation_loss[-1] = again.history.validation_error[-1] = NAN
    again.save(tmp_path)
    third = Count()
    Trainer.load(tmp_path).train(6, progress=False, validate_every=2, callbacks=[third])
    assert third.at == [6]
