"""Train the small network that comes with the package on unlabelled photos, as a student of an ImageNet network.

    python -m training.train PHOTOS --teacher mobilenetv2.weights.h5 --out DIR

The student learns without labels, by imitating the teacher's features of a picture ("Distilling the Knowledge in a
Neural Network", Hinton et al. 2015). Both see the same view of it ("Knowledge distillation: A good teacher is patient
and consistent", Beyer et al. 2022). The same command resumes an interrupted run after its last complete epoch.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from simquery.embedders.mini import archive, network
from training import judge, student, teacher
from training.views import Photos, jitter, look

log = logging.getLogger(__name__)

Batch = tuple[NDArray[np.uint8], NDArray[np.float16]]


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run, apart from photos and teacher."""

    epochs: int = 80
    views: int = 32
    batch: int = 64
    queue: int = 4096
    temperature: float = 0.07
    rate: float = 1.5e-3
    decay: float = 0.02
    warm_up: int = 400
    map_weight: float = 0.5
    relation_weight: float = 0.5
    seed: int = 0
    bfloat16: bool = True
    start: str = ""
    """SHA-256 of the checkpoint whose student this run continues; empty for random weights."""


class Training:
    """One run: the student, its optimiser, and their state.

    Parameters
    ----------
    photos, answers
        The photos, and the teacher's features of them.
    settings
        Settings of the run.
    folder
        Folder for checkpoints and results.
    start
        Checkpoint of another run whose student this one continues.
    """

    def __init__(
        self, photos: Photos, answers: teacher.Answers, settings: Settings, folder: Path, start: Path | None = None
    ) -> None:
        self._photos, self._answers, self._settings, self._folder = photos, answers, settings, folder
        self._rows = np.flatnonzero(~photos.held_out)
        self._steps = max(1, len(self._rows) // settings.batch)
        self.curve: list[dict[str, float]] = []

        keras.utils.set_random_seed(settings.seed)
        keras.config.set_dtype_policy("mixed_bfloat16" if settings.bfloat16 else "float32")
        self.student = student.build(teacher.AXES)
        keras.config.set_dtype_policy("float32")
        self._sharpness = keras.Variable(10.0, name="sharpness")
        trained = [*self.student.trainable_variables, self._sharpness]
        if start:
            self._load(start, [*self.student.variables, self._sharpness])
        # Features of the last views, by both networks. They start as zeros, which are equally far from everything.
        seen = [keras.Variable(np.zeros((settings.queue, size), np.float32)) for size in (network.DIMS, teacher.AXES)]
        total = settings.epochs * self._steps
        warm_up = min(settings.warm_up, total // 5)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, total - warm_up, warmup_target=settings.rate, warmup_steps=warm_up
        )
        optimiser = keras.optimizers.AdamW(schedule, weight_decay=settings.decay)
        optimiser.exclude_from_weight_decay(var_names=["gain", "offset", "bias", "sharpness"])
        optimiser.build(trained)
        self._variables = [*self.student.variables, self._sharpness, *optimiser.variables, *seen]

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(pictures: Any, target: Any) -> Any:
            with tf.GradientTape() as tape:
                features, projected = self.student(tf.cast(pictures, tf.float32), training=True)
                before = (seen[0].value, seen[1].value)
                parts = student.losses(
                    features, projected, target, before, self._sharpness.value, temperature=settings.temperature
                )
                loss = parts[0] + settings.map_weight * parts[1] + settings.relation_weight * parts[2]
            gradients = tape.gradient(loss, [v.value for v in trained])
            optimiser.apply_gradients(zip(gradients, trained, strict=True))
            for queue, latest in zip(seen, (features, target), strict=True):
                queue.assign(tf.concat([student.pooled(latest), queue.value], 0)[: settings.queue])
            return tf.stack(parts)

        self._step = step
        self._infer = tf.function(lambda x: self.student(tf.cast(x, tf.float32), training=False))

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one."""
        self._resume()
        while len(self.curve) < self._settings.epochs:
            began = time.monotonic()
            parts = [self._step(*batch).numpy() for batch in self._batches(len(self.curve))]
            direction, map_error, relation = (float(x) for x in np.mean(parts, axis=0))
            point = {"direction": direction, "map": map_error, "relation": relation}
            point["seconds"] = time.monotonic() - began
            last = len(self.curve) + 1 == self._settings.epochs
            if last or len(self.curve) % 5 == 0:
                point |= {f"held_out_{name}": value for name, value in self.judge().items()}
            self.curve.append({name: round(value, 5) for name, value in point.items()})
            self._checkpoint()
            self._report()

    def _report(self) -> None:
        done, point = len(self.curve), self.curve[-1]
        rate = self._steps * self._settings.batch / point["seconds"]
        left = (self._settings.epochs - done) * point["seconds"] / 60
        facts = ", ".join(f"{name} {value:.3f}" for name, value in point.items() if name != "seconds")
        log.info("epoch %d of %d: %s; %.0f pictures/s, %.0f min left", done, self._settings.epochs, facts, rate, left)

    def judge(self) -> dict[str, float]:
        """Return the agreement with the teacher on whole photos that were held out."""
        rows = np.flatnonzero(self._photos.held_out)
        found = []
        for start in range(0, len(rows), self._settings.batch):
            pictures = self._cut([(int(row), 0, False) for row in rows[start : start + self._settings.batch]])
            features, projected = (np.asarray(x, np.float32) for x in self._infer(pictures))
            found.append((features.mean(axis=(1, 2)), projected.mean(axis=(1, 2))))
        embedding, projected = (np.concatenate(x) for x in zip(*found, strict=True))
        target = self._answers.maps(0)[rows].astype(np.float32).mean(axis=(1, 2))
        ours, theirs = judge.agreement(embedding, target), judge.agreement(projected, target)
        return ours | {f"projected_{name}": value for name, value in theirs.items()}

    def _cut(self, what: list[tuple[int, int, bool]]) -> NDArray[np.uint8]:
        seed = self._settings.seed
        cuts = [look(self._photos, row, view, network.INPUT_SIZE[0], seed) for row, view, _ in what]
        return np.stack([cut[:, ::-1] if flip else cut for cut, (*_, flip) in zip(cuts, what, strict=True)])

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every training photo once, in one of its views, mirrored half of the time."""
        rng = np.random.default_rng((self._settings.seed, 1, epoch))
        maps = [self._answers.maps(view) for view in range(self._settings.views)]
        rows = rng.permutation(self._rows)
        views = rng.integers(self._settings.views, size=len(rows))
        flips = rng.random(len(rows)) < 0.5  # noqa: PLR2004
        size = min(self._settings.batch, len(rows))
        seeds = rng.integers(2**32, size=self._steps)

        def make(step: int) -> Batch:
            part = slice(step * size, (step + 1) * size)
            what = [(int(r), int(v), bool(f)) for r, v, f in zip(rows[part], views[part], flips[part], strict=True)]
            target = np.stack([maps[v][r][:, ::-1] if f else maps[v][r] for r, v, f in what])
            return jitter(self._cut(what), np.random.default_rng(seeds[step])), target

        # A thread prepares one step ahead, so that cutting and training never wait for each other.
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(make, 0)
            for step in range(1, self._steps + 1):
                batch = ahead.result()
                if step < self._steps:
                    ahead = pool.submit(make, step)
                yield batch

    def _identity(self) -> dict[str, Any]:
        return {"photos": self._photos.fingerprint, "teacher": self._answers.teacher, **asdict(self._settings)}

    def _checkpoint(self) -> None:
        arrays = {str(number): np.asarray(v) for number, v in enumerate(self._variables)}
        state = json.dumps({"run": self._identity(), "curve": self.curve})
        partial = self._folder / "checkpoint.partial.npz"
        np.savez(partial, state=np.array(state), **arrays)  # type: ignore[arg-type]
        partial.rename(self._folder / "checkpoint.npz")

    def _resume(self) -> None:
        path = self._folder / "checkpoint.npz"
        if not path.exists():
            return
        with np.load(path) as stored:
            state = json.loads(str(stored["state"]))
            if state["run"] != self._identity():
                raise ValueError(f"{path} belongs to another run: {state['run']}, not {self._identity()}")
        self._load(path, self._variables)
        self.curve = state["curve"]
        log.info("resumed after epoch %d", len(self.curve))

    @staticmethod
    def _load(checkpoint: Path, variables: list[Any]) -> None:
        with np.load(checkpoint) as stored:
            for number, variable in enumerate(variables):
                variable.assign(stored[str(number)])


def train(
    photos_folder: Path, teacher_weights: Path, out: Path, settings: Settings, cache: Path, *, start: Path | None = None
) -> dict[str, Any]:
    """Train, write ``weights.npz`` and ``record.json`` to ``out``, and return the record."""
    if start:
        settings = replace(settings, start=teacher.fingerprint(start))
    out.mkdir(parents=True, exist_ok=True)
    photos = Photos.read(photos_folder)
    log.info("%d photos, %d of them held out", len(photos), photos.held_out.sum())
    answers = teacher.Answers(photos, teacher_weights, cache, settings.seed)
    for view in range(settings.views):
        answers.maps(view)
    run = Training(photos, answers, settings, out, start)
    run.run()
    sha256 = archive.save(student.convolutions(run.student), out / "weights.npz")
    record = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "weights": {"sha256": sha256, "bytes": (out / "weights.npz").stat().st_size},
        "network": {"input_size": network.INPUT_SIZE, "dims": network.DIMS, "parameters": _parameters()},
        "photos": {
            "fingerprint": photos.fingerprint,
            "trained_on": int((~photos.held_out).sum()),
            "held_out": int(photos.held_out.sum()),
        },
        "teacher": {"name": "MobileNetV2", "fingerprint": answers.teacher},
        "settings": asdict(settings),
        "seconds": round(sum(point["seconds"] for point in run.curve)),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "curve": run.curve,
    }
    (out / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def _parameters() -> int:
    return int(network.build().count_params())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photos; its sub-folders are not labels")
    parser.add_argument("--teacher", type=Path, required=True, help="weights of MobileNetV2 without its top")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, weights.npz and record.json")
    parser.add_argument("--cache", type=Path, help="folder for the teacher's features (default: in --out)")
    parser.add_argument("--start", type=Path, help="checkpoint of another run whose student this one continues")
    defaults = Settings()
    for name in ("epochs", "views", "batch", "queue", "warm_up", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    for name in ("rate", "decay", "temperature", "map_weight", "relation_weight"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    given = vars(parser.parse_args(arguments))
    photos, teacher_weights, out, cache = (given.pop(name) for name in ("photos", "teacher", "out", "cache"))
    start = given.pop("start")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    record = train(photos, teacher_weights, out, Settings(**given), cache or out / "teacher", start=start)
    log.info("%s: SHA-256 %s", out / "weights.npz", record["weights"]["sha256"])


if __name__ == "__main__":
    main()
