"""Speech: spiking networks that learn by e-prop beside backpropagation, an LSTM and a discriminant.

``python -m benchmarks.speech japanese-vowels`` trains the task's recipe by several methods and
prints the fractions of test frames and test utterances that are right, or the label error rate
where the answer is a sequence of labels, a line for each method and seed. All see the same features
of the same utterances: the networks as the task's coding enters them, the LSTM (in JAX, with as
many units in each direction of time as the network has neurons, a step a frame, Adam) and the
linear discriminant (of scikit-learn, frame by frame) as numbers. Networks are tested on at most 512
utterances. An utterance is given to the class whose posteriors, summed over its frames, are
largest. Seconds are processor time of training, that of the compiled program included, without
compilation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import click
import numpy as np

from eprop_brian import RunConfig
from eprop_brian.tasks.datasets import Part
from eprop_brian.tasks.frames import FrameTask

__all__ = ["Result", "discriminant", "lstm", "network"]

_LEARNING: tuple[Part, ...] = ("train", "validation", "confirmation")
_HEADER = """| Method | Seed | Frames | Utterances | Label error rate | s |
| --- | --- | --- | --- | --- | --- |"""
#: Adam's step and the largest norm of a gradient of the LSTM.
_ETA, _CLIP = 3e-3, 1.0


@dataclass(frozen=True)
class Result:
    """Fractions that were right, and the label error rate; NaN where the task has no such thing."""

    method: str
    seed: int
    frames: float
    utterances: float
    seconds: float
    labels: float = np.nan

    def __str__(self) -> str:
        numbers = (self.frames, self.utterances, self.labels)
        right = (f"{x:.4f}" if np.isfinite(x) else "" for x in numbers)
        return f"| {self.method} | {self.seed} | {' | '.join(right)} | {self.seconds:.1f} |"


def _processor_time() -> float:
    """Seconds that this process and those that it started have computed."""
    import psutil

    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def _frames(task: FrameTask, parts: Sequence[Part]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Normalised features and classes of all utterances of some parts."""
    return [task.normalised(task.read(u)) for part in parts for u in task.utterances[part]]


def _judged(task: FrameTask, posteriors: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Fractions of test frames and utterances that posteriors (n_frames, n_classes) get right."""
    frames, utterances = [], []
    for z, classes in _frames(task, ["test"]):
        p, counted = posteriors(z), classes >= 0
        frames.append(p.argmax(axis=1)[counted] == classes[counted])
        utterances.append(p[counted].sum(axis=0).argmax() == classes[counted][0])
    whole = float(np.mean(utterances)) if task.one_class else np.nan
    return float(np.mean(np.concatenate(frames))), whole


def network(config: RunConfig, method: str, seed: int) -> Result:
    """Train the network of a recipe by a method of `RunConfig.with_method`."""
    chosen = config.with_method(method).with_values("run", seed=seed)
    with closing(chosen.make_trainer(workers=1)) as trainer:
        trainer.train(1, progress=False)
        start = _processor_time()
        trainer.train(chosen.run["iterations"], progress=False)
        seconds = _processor_time() - start
        result = trainer.evaluate()
        frames, utterances = (
            result.accuracy(kind) if kind in result.confusions else np.nan
            for kind in ("frames", "utterances")
        )
    labels = result.error if trainer.task.loss == "ctc" else np.nan
    return Result(method, seed, frames, utterances, seconds, labels)


def discriminant(task: FrameTask) -> Result:
    """Fit a linear discriminant to single frames."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    start = _processor_time()
    learned = _frames(task, _LEARNING)
    z, classes = (np.concatenate(column) for column in zip(*learned, strict=True))
    model = LinearDiscriminantAnalysis().fit(z[classes >= 0], classes[classes >= 0])
    seconds = _processor_time() - start
    return Result("discriminant", 0, *_judged(task, model.predict_proba), seconds)


def lstm(
    task: FrameTask, n_units: Mapping[bool, int], n_updates: int, batch_size: int, seed: int
) -> Result:
    """Train an LSTM with a softmax on the same utterances, by backpropagation through time.

    `n_units` says how many units go through an utterance from its end (True) and from its beginning
    (False).
    """
    import jax
    import jax.numpy as jnp

    learned = _frames(task, ["train"])
    longest = max(len(z) for z, _ in learned)
    x = np.array([np.pad(z, ((0, longest - len(z)), (0, 0))) for z, _ in learned], np.float32)
    right = np.array([np.pad(c, (0, longest - len(c)), constant_values=-1) for _, c in learned])
    lengths = np.array([len(z) for z, _ in learned])
    rng = np.random.default_rng(seed)

    def drawn(n: int, fan_in: int) -> jax.Array:
        return jnp.asarray(rng.normal(0, fan_in**-0.5, (n, fan_in)), jnp.float32)

    weights: dict[str, jax.Array] = {"bias_out": jnp.zeros(task.n_outputs)}
    for backward, n in n_units.items():
        weights |= {
            f"w_in_{backward}": drawn(4 * n, x.shape[2]),
            f"w_rec_{backward}": drawn(4 * n, n),
            f"bias_{backward}": jnp.zeros(4 * n),
            f"w_out_{backward}": drawn(task.n_outputs, n),
        }

    def logits(weights: dict[str, jax.Array], x: jax.Array, lengths: jax.Array) -> jax.Array:
        """Outputs (n_trials, n_frames, n_classes) of features (n_trials, n_frames, n_features)."""
        frames = jnp.arange(x.shape[1])
        ends = lengths[:, None] - 1
        mirrored = jnp.where(frames <= ends, ends - frames, frames)[..., None]
        total = weights["bias_out"]
        for backward, n in n_units.items():
            w_rec = weights[f"w_rec_{backward}"]

            def step(carry, current, w_rec=w_rec):
                c, m = carry
                i, f, o, g = jnp.split(current + m @ w_rec.T, 4, axis=1)
                c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                m = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (c, m), m

            shown = jnp.take_along_axis(x, mirrored, axis=1) if backward else x
            driven = shown @ weights[f"w_in_{backward}"].T + weights[f"bias_{backward}"]
            zero = jnp.zeros((x.shape[0], n), x.dtype)
            _, m = jax.lax.scan(step, (zero, zero), jnp.swapaxes(driven, 0, 1))
            m = jnp.swapaxes(m, 0, 1)
            m = jnp.take_along_axis(m, mirrored, axis=1) if backward else m
            total = total + m @ weights[f"w_out_{backward}"].T
        return total

    def loss(weights, x, right, lengths):
        log_p = jax.nn.log_softmax(logits(weights, x, lengths))
        chosen = jnp.take_along_axis(log_p, jnp.maximum(right, 0)[..., None], axis=2)[..., 0]
        return -jnp.where(right >= 0, chosen, 0).sum() / (right >= 0).sum()

    @jax.jit
    def update(weights, m, v, k, *batch):
        g = jax.grad(loss)(weights, *batch)
        norm = jnp.sqrt(sum(jnp.sum(value**2) for value in g.values()))
        g = {name: value * jnp.minimum(1, _CLIP / norm) for name, value in g.items()}
        m = {name: 0.9 * m[name] + 0.1 * g[name] for name in g}
        v = {name: 0.999 * v[name] + 0.001 * g[name] ** 2 for name in g}
        eta = _ETA * jnp.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        return {n: w - eta * m[n] / (jnp.sqrt(v[n]) + 1e-8) for n, w in weights.items()}, m, v

    m = v = {name: jnp.zeros_like(w) for name, w in weights.items()}
    first = slice(batch_size)
    batch = x[first], right[first], lengths[first]
    jax.block_until_ready(update(weights, m, v, 1.0, *batch))  # compiles
    start = _processor_time()
    for k in range(1, n_updates + 1):
        rows = rng.integers(len(x), size=batch_size)
        weights, m, v = update(weights, m, v, float(k), x[rows], right[rows], lengths[rows])
    jax.block_until_ready(weights)
    seconds = _processor_time() - start
    run = jax.jit(logits)

    def posteriors(z: np.ndarray) -> np.ndarray:
        # Padded, or each length would be compiled by itself.
        length, padded = len(z), -(-len(z) // 100) * 100
        z = np.pad(z, ((0, padded - length), (0, 0))).astype(np.float32)
        logit = run(weights, z[np.newaxis], np.array([length]))[0, :length]
        return np.asarray(jax.nn.softmax(logit))

    return Result("lstm", seed, *_judged(task, posteriors), seconds)


@click.command()
@click.argument("task")
@click.option("--set", "settings", multiple=True, metavar="TABLE.KEY=VALUE")
@click.option("--methods", default="discriminant,lstm,readouts,random,symmetric,bptt")
@click.option("--seeds", default="1,2,3")
def main(task: str, settings: tuple[str, ...], methods: str, seeds: str) -> None:
    """Train the recipe of TASK by several methods and print what they reach on test utterances."""
    config = RunConfig.from_recipe(task, settings=settings)
    data = config.make_task()
    if not isinstance(data, FrameTask):
        raise click.UsageError(f"{task} is no task of frames")
    run, n_neurons = config.run, Counter[bool]()
    for population in config.make_network(data).resolved.populations:
        n_neurons[population.reverse_time] += population.size
    click.echo(_HEADER)
    for method in methods.split(","):
        if method == "discriminant":
            click.echo(discriminant(data))
            continue
        for seed in map(int, seeds.split(",")):
            if method == "lstm":
                click.echo(lstm(data, n_neurons, run["iterations"], run["batch_size"], seed))
            else:
                click.echo(network(config, method, seed))


if __name__ == "__main__":
    main()
