"""The few-shot grid, one compiled program per dataset, against a plain loop of PyTorch fits.

    python benchmarks/fewshot_vs_torch.py

Synthetic features of three datasets (of the size of small activity datasets), 7 shot counts, 5
seeds. JAX: the probes with a penalty chosen on held-out people, and the paper's protocol, all with
compilation. PyTorch: the paper's protocol as in its published script, one AdamW fit after another,
batch by batch. Compare ratios within one run only; only the paper's protocol is the same work on
both sides. Without PyTorch only the JAX side is timed.
"""

import argparse
import time

import numpy as np

from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.draws import DrawOptions, make_draws
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.paper_protocol import paper_fewshot
from primus_jax.evals.fewshot.probe_protocol import probe_fewshot

SHOTS = (1, 2, 5, 10, 20, 50, 100)
SETS = {"a": (14, 12, 5353), "b": (27, 15, 7277), "c": (8, 19, 9120)}  # people, classes, windows


def made_up(people: int, classes: int, windows: int, dim: int = 512) -> Features:
    """Correlated clusters that overlap, shifted from person to person."""
    rng = np.random.default_rng(windows)
    person, label = rng.integers(people, size=windows), rng.integers(classes, size=windows)
    mixing = rng.normal(size=(dim, dim)) * (0.97 ** np.arange(dim))[:, None]
    x = rng.normal(size=(classes, dim))[label] + 0.5 * rng.normal(size=(people, dim))[person]
    x = (x + 1.5 * rng.normal(size=(windows, dim))) @ mixing
    name = np.char.add("person ", person.astype(str))
    blank = np.full(windows, "")
    names = tuple(f"class {k}" for k in range(classes))
    label = label.astype(np.int32)
    return Features(x.astype(np.float32), label, names, name, name, name, blank, blank)


def torch_loop(features: Features, seeds: int, config: PaperConfig) -> float:
    """The paper's protocol, one fit at a time; returns the mean test accuracy."""
    import torch

    draws = make_draws(features, DrawOptions(SHOTS, seeds), validation=True)
    x = torch.nn.functional.normalize(torch.tensor(features.embedding))
    y = torch.tensor(features.label.astype(np.int64))
    accuracy = []
    for i in range(len(draws.seeds)):
        torch.manual_seed(i)
        validation = np.flatnonzero(draws.sides.validation[i])
        test = np.flatnonzero(draws.sides.test[i])
        for k in SHOTS:
            rows = draws.labelled.rows[i, :, :k][draws.labelled.valid[i, :, :k]]
            data = torch.utils.data.TensorDataset(x[rows], y[rows])
            loader = torch.utils.data.DataLoader(data, config.batch_size, shuffle=True)
            head = torch.nn.Linear(x.shape[1], len(features.label_names))
            adam = torch.optim.AdamW(
                head.parameters(), lr=config.lr, weight_decay=config.weight_decay
            )
            steps = len(loader) * config.epochs
            decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
            best, kept = -1.0, 0.0
            for _ in range(config.epochs):
                for batch, target in loader:
                    adam.zero_grad()
                    torch.nn.functional.cross_entropy(head(batch), target).backward()
                    adam.step()
                    decay.step()
                with torch.no_grad():
                    found = float((head(x[validation]).argmax(1) == y[validation]).float().mean())
                    if found > best:
                        best = found
                        kept = float((head(x[test]).argmax(1) == y[test]).float().mean())
            accuracy.append(kept)
    return float(np.mean(accuracy))


def timed(what: str, run) -> float:
    """Run once and print seconds (also of all threads' work) and mean accuracy."""
    start, work = time.perf_counter(), time.process_time()
    accuracy = run()
    seconds, work = time.perf_counter() - start, time.process_time() - work
    print(
        f"{what:<58} {seconds:8.1f} s ({work:.1f} s of CPU)   mean accuracy {100 * accuracy:.1f} %",
        flush=True,
    )
    return seconds


def main() -> None:
    """Time every side on the same synthetic datasets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    sets = [made_up(*size) for size in SETS.values()]
    config = PaperConfig(lr=1e-2, epochs=options.epochs)
    fits = len(sets) * len(SHOTS) * options.seeds

    def mean(result) -> float:
        return float(np.mean([result(features) for features in sets]))

    def probes(classifier: str) -> float:
        return mean(
            lambda f: probe_fewshot(f, SHOTS, options.seeds, classifier=classifier).accuracy.mean()
        )

    print(f"{len(sets)} made-up datasets x {len(SHOTS)} shot counts x {options.seeds} seeds")
    ridge = timed(
        f"here, ridge probe ({fits} fits, and those that choose the penalty)",
        lambda: probes("ridge"),
    )
    probe = timed(
        f"here, logistic probe ({fits} fits, and those that choose)", lambda: probes("logistic")
    )
    paper = timed(
        f"here, paper's protocol ({fits} fits)",
        lambda: mean(
            lambda f: paper_fewshot(f, SHOTS, options.seeds, config=config).accuracy.mean()
        ),
    )
    try:
        import torch  # noqa: F401
    except ImportError:
        print("PyTorch is not installed: no loop to compare with")
        return
    loop = timed(
        f"PyTorch, paper's protocol, one fit after another ({fits})",
        lambda: mean(lambda f: torch_loop(f, options.seeds, config)),
    )
    print(f"the loop takes {loop / paper:.1f} times the paper's protocol here, ", end="")
    print(f"{loop / probe:.1f} times the logistic and {loop / ridge:.1f} times the ridge probe")


if __name__ == "__main__":
    main()
