#!/usr/bin/env python3
"""Kills runs at random moments (kill -9) and looks at what they leave.

    python3 tests/kill.py target/release/electra [KILLS] [SEED]

200 kills by default, in turn over `pretrain`, `finetune`, `prepare` (all three go on where they
were), `prepare --overwrite`, `convert --overwrite` and `predict --output`. After each one:
- a result is the old one or the new one, byte for byte, never a half and never gone;
- a run goes on from no earlier step than the last one that it said it had saved;
- a run that was killed again and again ends with the bytes of the run that nobody killed.
Ends with 1 at the first thing lost, and leaves its folder there to be looked at.
"""
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = ('--device cpu --batch-size 4 --accumulate 2 --set hidden_size=32 --set embedding_size=16 '
         '--set num_hidden_layers=1 --set num_attention_heads=2 --set hidden_dropout_prob=0.2 --set log_every=5')
PRETRAIN = f'pretrain --data shards {SMALL} --steps 60 --save-every 1 --eval-every 7 --output'
FINETUNE = ('finetune --model base --train data.csv --device cpu --batch-size 4 --max-seq-length 16 --epochs 20 '
            '--dropout 0.2 --eval-every 7 --keep-best --save-every 1 --output')
PREPARE = 'prepare --input a.txt --tokenizer base --max-seq-length 32 --shard-size 40 --output'


def write_inputs():
    """A text, labelled rows, and two small models."""
    animals, verbs = ['cat', 'dog', 'bird', 'fox'], ['runs', 'sits', 'sings', 'sleeps']
    words = ['the', 'and', 'again', '.', *animals, *verbs]
    Path('tok').mkdir()
    Path('tok/vocab.txt').write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *words]) + '\n')
    sentence = lambda i: f'the {animals[i % 4]} {verbs[i * 7 % 4]} and {verbs[i // 3 % 4]} again .\n'
    Path('a.txt').write_text(''.join(sentence(i) + '\n' * (i % 3 == 2) for i in range(3000)))
    Path('in.txt').write_text(''.join(sentence(i) for i in range(500)))
    Path('other.txt').write_text(''.join(sentence(i + 1) for i in range(500)))
    Path('data.csv').write_text('label,text\n' + ''.join(
        f'{animals[i % 2]},the {animals[i % 2]} {verbs[i % 4]}\n' for i in range(60)))
    run('prepare --input a.txt --tokenizer tok --max-seq-length 32 --eval-fraction 0.1 --output shards')
    run(f'pretrain --data shards {SMALL} --steps 2 --output start')
    shutil.copytree('start/discriminator', 'base')
    run('finetune --model base --train data.csv --device cpu --epochs 1 --max-seq-length 16 --output trained')


def run(command):
    done = subprocess.run([ELECTRA, *command.split()], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'electra {command}\n{done.stderr}')
    return done


def killed(command, seconds):
    """Runs for so long. Whether it had to be killed, its lines on stdout and what it said."""
    with open('stdout', 'w') as out, open('stderr', 'w') as err:
        child = subprocess.Popen([ELECTRA, *command.split()], stdout=out, stderr=err)
        try:
            code = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
    said = Path('stderr').read_text()
    lost(code not in (0, -9), f'electra {command}\n{said}')
    lines = Path('stdout').read_text().split('\n')[:-1]
    return code != 0, [json.loads(line) for line in lines], said


def lost(is_so, words):
    if is_so:
        raise SystemExit(f'LOST: {words}\nThe folder is {os.getcwd()}')


def content(name, clock=()):
    """Every file with its hash; of a log without what the clock decides."""
    found = {}
    path = Path(name)
    for file in sorted(path.rglob('*')) if path.is_dir() else [path] * path.exists():
        if file.is_file():
            data = file.read_bytes()
            if file.name in clock:
                lines = [json.loads(line) for line in data.split(b'\n') if line]
                data = repr([{k: v for k, v in line.items() if not k.endswith('per_s')} for line in lines]).encode()
            found[str(file.relative_to(path))] = hashlib.sha256(data).hexdigest()
    return found


def is_half_there(name):
    path = Path(name)
    return path.with_name(f'.{path.name}.partial').exists()


class Result:
    """A command that replaces a result in one go: two inputs in turn."""

    def __init__(self, name, output, commands):
        self.name, self.output, self.commands, self.turn = name, output, commands, 0
        self.whole, self.seconds = [], []
        for command in commands:
            start = time.time()
            run(command)
            self.seconds.append(time.time() - start)
            self.whole.append(content(output))
        assert self.whole[0] != self.whole[1]

    def kill(self):
        self.turn = 1 - self.turn
        was_killed, _, _ = killed(self.commands[self.turn], random.random() * 1.1 * self.seconds[self.turn])
        left = content(self.output)
        lost(left not in self.whole, f'{self.name}: {self.output} is neither the old result nor the new one')
        lost(not was_killed and left != self.whole[self.turn], f'{self.name} ended without its result')
        return was_killed

    def end(self):
        run(self.commands[0])
        lost(content(self.output) != self.whole[0] or is_half_there(self.output), f'{self.name}: the end')


class Run:
    """A command that goes on where it was, until it is over; then it begins anew."""

    def __init__(self, name, command, first, next, parts, clock=()):
        self.name, self.first, self.next, self.parts, self.clock = name, first, next, parts, clock
        self.command, self.over, self.step, self.begun = command, 0, 0, False
        start = time.time()
        run(f'{command} whole.{name}')
        self.seconds = time.time() - start
        self.whole = self.result(f'whole.{name}')

    def result(self, output):
        return {part: content(f'{output}/{part}', self.clock) for part in self.parts}

    def kill(self):
        more = self.next if self.begun else self.first
        self.step = self.step if self.begun else 0
        # A share of it, so that it takes several kills.
        was_killed, lines, said = killed(f'{self.command} run.{self.name} {more}', random.random() * 0.5 * self.seconds)
        at = [int(word.split('step-')[-1].split(' ')[-1]) for word in said.split('\n') if word.startswith('resuming from')]
        lost(self.begun and at and at[0] < self.step, f'{self.name} goes on at {at} after step {self.step} was saved')
        saved = [line['step'] for line in lines if line.get('event') == 'checkpoint']
        self.step = max([self.step, *at, *saved])
        self.begun = self.is_begun()
        lost(saved and not self.begun and was_killed, f'{self.name}: no checkpoint is left')
        # A model folder is written last, and at once.
        if not was_killed or (self.name == 'finetune' and Path('run.finetune').exists()):
            self.check(was_killed)
        return was_killed

    def is_begun(self):
        name = f'run.{self.name}'
        return {'pretrain': any(Path(name).glob('checkpoints/step-*')),
                'finetune': Path(f'{name}.checkpoint').exists() and not Path(name).exists(),
                'prepare': Path(f'{name}/progress.json').exists()}[self.name]

    def check(self, was_killed=False):
        got = self.result(f'run.{self.name}')
        lost(got != self.whole, f'{self.name} ended otherwise than the run that nobody killed: '
             f'{[part for part in got if got[part] != self.whole[part]]}')
        for path in (Path(f'run.{self.name}'), Path(f'run.{self.name}.checkpoint')):
            lost(is_half_there(path) and not was_killed, f'{path}: something half-written is left')
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
        self.over, self.step, self.begun = self.over + 1, 0, False

    def end(self):
        run(f'{self.command} run.{self.name} {self.next if self.begun else self.first}')
        self.check()


def main(kills, seed):
    random.seed(seed)
    folder = tempfile.mkdtemp(prefix='electra-kill-')
    os.chdir(folder)
    write_inputs()
    jobs = [
        Run('pretrain', PRETRAIN, '--overwrite', '--resume', ['discriminator', 'generator', 'metrics.jsonl'],
            ['metrics.jsonl']),
        Run('finetune', FINETUNE, '--overwrite', '--resume', ['model.safetensors', 'config.json', 'metrics.jsonl']),
        Run('prepare', PREPARE, '', '', ['']),
        Result('prepare --overwrite', 'again', [f'{PREPARE} again --overwrite --seed {seed}' for seed in (1, 2)]),
        Result('convert', 'model', [f'convert --from {model} --to model --overwrite' for model in ('base', 'trained')]),
        Result('predict', 'out.jsonl', [f'predict --model trained --device cpu --input {name} --output out.jsonl'
                                        for name in ('in.txt', 'other.txt')]),
    ]
    counts, number = {job.name: 0 for job in jobs}, 0
    while sum(counts.values()) < kills:
        job = jobs[number % len(jobs)]
        counts[job.name] += job.kill()
        number += 1
    for job in jobs:
        job.end()
    ends = {job.name: job.over for job in jobs if isinstance(job, Run)}
    print(json.dumps({'kills': counts, 'runs': number, 'ended_as_the_whole_run': ends, 'lost': 0}))
    os.chdir('/')
    shutil.rmtree(folder)


if __name__ == '__main__':
    if not 2 <= len(sys.argv) <= 4:
        raise SystemExit(__doc__)
    ELECTRA = str(Path(sys.argv[1]).resolve())
    numbers = [int(word) for word in sys.argv[2:]]
    main(*(numbers + [200, 0][len(numbers):]))
