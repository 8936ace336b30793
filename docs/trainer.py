#!/usr/bin/env python3
"""Does transformers' Trainer make the same of a bundled model as `electra finetune`, with the same settings and rows? (docs/results.md)

    python3 docs/trainer.py --electra PATH --work FOLDER [--model public/models/electra-mini] [--sets topic acceptability] [--seeds 3]

Sets are split as docs/tasks.py does, up to 1 000 rows to learn from; three epochs of batches of 16 at 1e-4, AdamW with a decay of 0.01 on matrices, a
warm-up of a tenth, gradients clipped to a norm of 1, no dropout, 48 tokens. Shuffling and the fresh head differ: these are other draws, so scores agree
within the seeds' spread at best. A JSON line for each set and seed, then the medians. Needs torch, transformers and accelerate; nothing is downloaded.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path

from tasks import Data, ROOT, limit

EPOCHS, BATCH, RATE, LENGTH = 3, 16, 1e-4, 48


def ours(options, data, folder, files, seed):
    command = [
        options.electra, "finetune", "--model", options.model, "--task", "classification", "--train", files[0], "--eval", files[1], "--output", folder / "ours",
        "--overwrite", "--seed", seed, "--eval-every", 100000, "--device", "cpu", "--epochs", EPOCHS, "--batch-size", BATCH, "--learning-rate", RATE,
        "--max-seq-length", LENGTH, "--dropout", 0, *data.columns(),
    ]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])["accuracy"]


def theirs(options, data, folder, rows, seed):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    columns = [column for column in (data.entry["text"], data.entry["pair"]) if column]
    labels = sorted({row[data.entry["label"]] for part in rows for row in part})

    def encoded(part):
        texts = [[row[column] for row in part] for column in columns]
        features = tokenizer(*texts, truncation=True, max_length=LENGTH)
        return [{key: values[i] for key, values in features.items()} | {"labels": labels.index(row[data.entry["label"]])} for i, row in enumerate(part)]

    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=len(labels), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0)
    settings = TrainingArguments(
        output_dir=str(folder / "theirs"), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, per_device_eval_batch_size=32, learning_rate=RATE,
        weight_decay=0.01, warmup_steps=0.1, lr_scheduler_type="linear", seed=seed, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )
    train, held_out = map(encoded, rows)
    trainer = Trainer(
        model, settings, train_dataset=train, eval_dataset=held_out, data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    trainer.train()
    return trainer.evaluate()["eval_accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electra", default="electra")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "public/models/electra-mini")
    parser.add_argument("--sets", nargs="+", default=["topic", "acceptability"], help="bundled sets with one label a row")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name in options.sets:
        data, found = Data(name), []
        for seed in range(options.seeds):
            train, held_out = data.split(seed)
            rows = train[: limit(name, "1000")], held_out
            folder = options.work / f"trainer-{name}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            files = [folder / f"{part}{data.suffix}" for part in ("train", "held-out")]
            for part, file in zip(rows, files):
                data.write(part, file)
            found.append((ours(options, data, folder, files, seed), theirs(options, data, folder, rows, seed)))
            print(json.dumps({"set": name, "seed": seed, "electra": found[-1][0], "transformers": found[-1][1]}), flush=True)
        print(json.dumps({"set": name, **{who: statistics.median(scores) for who, scores in zip(("electra", "transformers"), zip(*found))}}), flush=True)


if __name__ == "__main__":
    main()
