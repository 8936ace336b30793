#!/usr/bin/env python3
"""Are the settings that `electra finetune` fits to the data as good as fixed ones? (docs/results.md)

    python3 docs/settings.py --electra PATH --model DIR [--seeds N]

Five bundled sets are cut to 60, 300 and 1 000 rows, and measured on 400 others. Each is learnt with the settings that were the
defaults before (3 epochs, batches of 32, a rate of 3e-4) and with those of the table in `electra finetune --help`. A JSON line for
each set and size: the median score of both. Python 3 alone.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETS = {"spam.tsv": "classification", "topic.tsv": "classification", "year.tsv": "regression", "occupations.tsv": "multi-label", "tags.conll": "tagging"}
BEFORE = ["--epochs", "3", "--batch-size", "32", "--learning-rate", "3e-4"]


def examples(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".conll":
        return "", [block + "\n\n" for block in text.strip().split("\n\n")]
    head, *rows = text.splitlines(keepends=True)
    return head, rows


def score(electra, model, task, train, evaluation, output, more):
    command = [electra, "finetune", "--model", model, "--task", task, "--train", train, "--eval", evaluation, "--output", output, "--overwrite",
               "--max-seq-length", "64", "--device", "cpu", *more]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    done = json.loads(run.stdout.splitlines()[-1])
    return done["metric"], done[done["metric"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electra", default="electra")
    parser.add_argument("--model", default=ROOT / "public/models/electra-tiny")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, task in SETS.items():
            head, rows = examples(ROOT / "public/samples" / name)
            random.Random(0).shuffle(rows)
            evaluation = folder / f"eval-{name}"
            evaluation.write_text(head + "".join(rows[:400]), encoding="utf-8")
            for size in (60, 300, 1000):
                train = folder / f"train-{name}"
                train.write_text(head + "".join(rows[400:400 + size]), encoding="utf-8")
                line = {"set": name, "rows": size}
                for which, more in (("before", BEFORE), ("fitted", [])):
                    runs = [score(options.electra, options.model, task, train, evaluation, folder / "out", [*more, "--seed", str(seed)]) for seed in range(options.seeds)]
                    line["metric"] = runs[0][0]
                    line[which] = round(statistics.median(run[1] for run in runs), 4)
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
