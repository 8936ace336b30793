#!/usr/bin/env python3
"""The same fine-tuning by transformers' Trainer and by electra (docs/results.md).

    python3 docs/trainer.py --electra PATH --work FOLDER [--set topic] [--seeds N]

A bundled set of a class a row, split as docs/tasks.py splits it, and electra-mini with that script's options: epochs, batch, length and
rate; and on both sides AdamW with bias correction, a decay of 0.01 on matrices, a warm-up over a tenth of the updates and then a
straight line to 0, a clip at 1, and the model's own dropout. Order and dropout are drawn by each in its own way, so scores
are to be alike and not equal. A JSON line a seed and side. Needs torch, transformers and accelerate; nothing is downloaded.
"""

import argparse
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import tasks

MODEL = tasks.ROOT / "public/models/electra-mini"


def option(options, name, kind):
    return kind(re.search(rf"--{name} (\S+)", options)[1])


def by_transformers(data, train, held_out, options, seed, folder):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    text, pair, label = (data.entry[key] for key in ("text", "pair", "label"))
    labels = sorted({row[label] for row in train})
    tokenizer = AutoTokenizer.from_pretrained(MODEL)

    def encoded(rows):
        sides = [[row[column] for row in rows] for column in (text, pair) if column]
        tokens = tokenizer(*sides, truncation=True, max_length=option(options, "max-seq-length", int))
        return [{**{key: tokens[key][i] for key in tokens}, "labels": labels.index(row[label])} for i, row in enumerate(rows)]

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=len(labels), dtype=torch.float32)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), num_train_epochs=option(options, "epochs", float), per_device_train_batch_size=option(options, "batch-size", int),
        learning_rate=option(options, "learning-rate", float), weight_decay=0.01, warmup_steps=0.1, lr_scheduler_type="linear", max_grad_norm=1.0,
        seed=seed, use_cpu=True, save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=encoded(train), processing_class=tokenizer)
    trainer.train()
    guess = trainer.predict(encoded(held_out)).predictions.argmax(1)
    return {"accuracy": sum(labels[i] == row[label] for i, row in zip(guess, held_out)) / len(held_out)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electra", default="electra")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--set", default="topic")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = tasks.Data(options.set)
    if data.task != "classification":
        parser.error(f"{options.set} is no set of a class a row")
    options.work.mkdir(parents=True, exist_ok=True)
    bench = tasks.Bench(SimpleNamespace(work=options.work, electra=options.electra))
    words = tasks.options_of(options.set, "1000", "mini")
    for seed in range(options.seeds):
        train, held_out = data.split(seed)
        train = train[: tasks.limit(options.set, "1000")]
        for side in ("electra", "transformers"):
            started = time.time()
            if side == "electra":
                scores = bench.finetune(data, train, held_out, "1000", "mini", words, seed)
            else:
                scores = by_transformers(data, train, held_out, words, seed, options.work)
            print(json.dumps({"set": options.set, "seed": seed, "by": side, "accuracy": round(scores["accuracy"], 4), "seconds": round(time.time() - started)}), flush=True)


if __name__ == "__main__":
    main()
