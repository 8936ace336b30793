#!/usr/bin/env python3
"""Does replaced-token detection beat masked language modelling at the same compute? (docs/results.md)

    python3 docs/experiments.py --electra PATH --data SHARDS --work FOLDER [--steps N] [--seeds N] [--threads N] [--only PART]

SHARDS is what `electra prepare` made of the default corpus. Every run is kept in FOLDER and not repeated, so the script can
be stopped and started. Python 3 alone; nothing is downloaded.

Three networks with the same body, data, seed and number of floating-point operations (`gflop_per_step` of
`electra pretrain`: table look-ups are free, backward is twice forward, the generator counts):
  rtd      generator and discriminator; the discriminator's body is fine-tuned
  mlm      the body guesses masked tokens itself (BERT at the same settings)
  masked   as rtd, but the discriminator's loss counts drawn tokens only (the paper's "ELECTRA 15 %")
and `untrained`, the same body with the weights as drawn. Checkpoints of one schedule are fine-tuned at 1/4, 1/2 and all of it.
"""

import argparse
import json
import os
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A body that learns something within minutes on one core.
BODY = ["embedding_size=64", "hidden_size=64", "num_hidden_layers=2", "num_attention_heads=2", "generator_hidden_size=0.5"]
BUDGETS = [0.25, 0.5, 1.0]
OBJECTIVES = {"rtd": [], "mlm": ["objective=mlm"], "masked": ["disc_on_masked_only=true"]}
MODEL = {"rtd": "discriminator", "mlm": "generator", "masked": "discriminator"}
TASKS = {
    "topic": "--epochs 1 --batch-size 16 --max-seq-length 48 --learning-rate 1e-3",
    "spam": "--epochs 1 --batch-size 16 --max-seq-length 64 --learning-rate 1e-3",
    "acceptability": "--epochs 1 --batch-size 16 --max-seq-length 48 --learning-rate 5e-4",
}


def electra(options, *arguments, log):
    """Runs the program; its JSON lines, kept in `log`. A finished log is not made again."""
    if not log.exists():
        env = dict(os.environ, RAYON_NUM_THREADS="1")
        command = [options.electra, *map(str, arguments), "--device", "cpu"]
        run = subprocess.run(command, env=env, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"{' '.join(command)}\n{run.stderr}")
        log.write_text(run.stdout)
    return [json.loads(line) for line in log.read_text().splitlines()]


def pretrain(options, name, steps, *more):
    output = options.work / name
    settings = [word for value in BODY + OBJECTIVES[name.split("-")[0]] + list(more) for word in ("--set", value)]
    return electra(
        options, "pretrain", "--data", options.data, "--output", output, "--overwrite", "--preset", "tiny", "--steps", steps,
        "--batch-size", 64, "--warmup", steps // 10, "--learning-rate", "1e-3", "--save-every", steps // 4,
        "--eval-every", steps // 4, "--seed", 0, *settings, "--set", "keep_checkpoints=0", log=options.work / f"{name}.jsonl",
    )


def gflop(lines):
    return next(line for line in lines if line["event"] == "plan")["gflop_per_step"]


def steps_of(options, name):
    """As many steps as cost what rtd's cost, a multiple of four."""
    if name == "rtd":
        return options.steps
    cost = {each: gflop(pretrain(options, f"{each}-cost", 4, "eval_batches=1")) for each in ("rtd", name)}
    return round(options.steps * cost["rtd"] / cost[name] / 4) * 4


def model(options, name, budget):
    if name == "untrained":
        pretrain(options, "rtd-untrained", 4, "learning_rate=1e-30", "eval_batches=1")
        return options.work / "rtd-untrained" / "discriminator"
    step = round(steps_of(options, name) * budget)
    return options.work / name / "checkpoints" / f"step-{step}" / MODEL[name]


def cells():
    yield "untrained", 0.0
    for budget in BUDGETS:
        yield "rtd", budget
        yield "mlm", budget
    yield "masked", 1.0


def finetune(options, name, budget, task, seed):
    key = f"{name}-{budget}-{task}-{seed}"
    lines = electra(
        options, "finetune", "--model", model(options, name, budget), "--train", ROOT / f"public/samples/{task}.tsv",
        "--output", options.work / "finetuned" / key, "--overwrite", "--seed", seed, "--eval-every", 100000, *TASKS[task].split(),
        log=options.work / f"{key}.jsonl",
    )
    return next(line for line in lines if line["event"] == "done")["accuracy"]


def table(options):
    total = options.steps * gflop(pretrain(options, "rtd", options.steps)) / 1e3
    print("| pre-trained by | TFLOP | " + " | ".join(TASKS) + " |\n|---|---:|" + "---|" * len(TASKS))
    for name, budget in cells():
        row = [name, f"{total * budget:.0f}"]
        for task in TASKS:
            scores = sorted(finetune(options, name, budget, task, seed) for seed in range(options.seeds))
            row.append(f"{statistics.median(scores):.3f} ({scores[0]:.3f} to {scores[-1]:.3f})")
        print("| " + " | ".join(row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electra", default="electra")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000, help="of rtd, a multiple of four; the others get as many as cost the same")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="runs at once, one core each")
    parser.add_argument("--only", choices=["pretrain", "finetune", "table"])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model(options, "untrained", 0.0)  # here, so that no two runs make it at once
    steps = {name: steps_of(options, name) for name in OBJECTIVES}
    with ThreadPoolExecutor(options.threads) as pool:
        if options.only in (None, "pretrain"):
            list(pool.map(lambda name: pretrain(options, name, steps[name]), OBJECTIVES))
        if options.only in (None, "finetune"):
            jobs = [(*cell, task, seed) for seed in range(options.seeds) for cell in cells() for task in TASKS]
            list(pool.map(lambda job: finetune(options, *job), jobs))
    if options.only in (None, "table"):
        table(options)


if __name__ == "__main__":
    main()
