"""What each technique of phase 1 is worth: one change at a time, to nbs/results/ablate.json, ablate-N.json, or ablate-N-STEPS.json.

    python nbs/results/ablate.py ../shared/data/sections30 --seeds 0 1 2 --runs RUNS            24 sections, five folds
    python nbs/results/ablate.py ../shared/data/wp-sections --n 200 --seeds 0 1 2 --runs RUNS   of the train split, scored on val
    python nbs/results/ablate.py ../shared/data/wp-sections --n 1500 --seeds 0 1 2 --runs RUNS
    python nbs/results/ablate.py ../shared/data/wp-sections --n 1500 --steps 1500 --rows 'the recipe' 'weak dropout' 'one pass only' --runs RUNS    as many steps as a user gets

Each row is the recipe with one thing changed; one member each, no trees beside it and weights that keep all they learnt but in the rows that say so. With 24, every section is scored by the fold that did not see it; with more, the validation themes, unseen, are scored, since defaults are
chosen by this table and the test themes must not choose. The end of training counts. The file is written after each row, and rows that it holds are not measured again, nor those that change nothing at a size.
"""
import argparse
import json
import random
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from layoutdiff.data import Examples
from layoutdiff.evaluate import scores_of, section_counts
from layoutdiff.items import Items, distinct, get_items, split_items
from layoutdiff.phases import get_phase, resolve
from layoutdiff.run import commit, environment
from layoutdiff.sample import predict_tables
from layoutdiff.slots import encode
from layoutdiff.train import fit

HERE = Path(__file__).parent
FEW = dict(init='base', members=1, drop_pixels=1, p_free=0, steps=200, rounds=1, bs=12, lr=.002, drop_names=0, dropout=.3, drop_tokens=.1, layer_decay=1.)   # of 24 sections
MANY = dict(members=1, drop_pixels=1, p_free=0, steps=500, rounds=1)   # of 200 and more: the rest as phase 1 has it
PLAIN = dict(trees=0, halves=False)   # what was built in after most rows had been measured
CHANGES = {
    'the recipe': {},
    'nodes told of the room (on since)': {},   # measured anew, after `data.room` was built in
    'room, and trees beside (on since)': dict(trees=.5),
    'room and trees, all words of a section dropped, half of the time': dict(trees=.5, drop_names=.5),
    'trees grown to the end (on since)': dict(trees=None),   # their share as phase 1 has it
    'as far from the base as halves say (on since)': dict(halves=True),
    'gradual unfreezing': dict(unfreeze=.5),
    'lower rates for lower layers': dict(layer_decay=.7),
    'variance-aware loss': dict(variance_aware=True),
    'variants, 20 of each': dict(augment=20),
    'weak dropout': dict(dropout=.1),
    'words dropped often': dict(drop_tokens=.4),
    'words dropped seldom': dict(drop_tokens=.1),
    'all words of a section dropped, half of the time': dict(drop_names=.5),
    'no section without words': dict(drop_names=0),
    'no noise on the numbers': dict(jitter=0),
    'no weight decay': dict(wd=0),
    'no label smoothing': dict(smoothing=0),
    'no warm-up': dict(warmup=0),
    'no average of the weights': dict(ema=0),
    'one pass only': dict(p_full=1.),
    'three members': dict(members=3)}
ONLY_FEW = {'from scratch, tiny': dict(init='none', size='tiny', steps=350, bs=24)}
ONLY_BEGUN = ('as far from the base as halves say (on since)', 'gradual unfreezing', 'lower rates for lower layers', 'room and trees, all words of a section dropped, half of the time')
KEPT = ('node_accuracy', 'element_f1', 'content_f1', 'exact_match')


def taught(train, test, longest, seed, runs, **settings):
    "Counts of the test sections, and the seconds of training."
    start = time.monotonic()
    model, vocab, s, _ = fit(Items(train=train, val=train[:200], split_given=True), out=runs, name='ablate', tell=lambda line: None, seed=seed, workers=0, **{**PLAIN, **settings}).loaded
    spent = time.monotonic() - start
    tables = predict_tables(model, Examples(test, vocab, s.image_size, pictures=False), s.sample_steps, ('structure',) if 'init' in settings else ('structure', 'screenshot'), seed=seed)
    return [section_counts(t, o, encode(o).label, 'wrapper', longest) for t, o in zip(tables, test)], spent


def parts(items, n, seed):
    "Pairs of training and held-out sections."
    if not n: return split_items(distinct(items).all, k=5, seed=seed)
    return [(random.Random(seed).sample(sorted(items.train, key=lambda s: s.id), n), items.val)]


def with_share(change, recipe, n):
    "The change, with the trees' share of phase 1 where it names none."
    return {k: resolve(get_phase('auto', n), n, begun='init' in recipe).trees if v is None else v for k, v in change.items()}


def alters(change, recipe, n):
    "Is the change one, or has the recipe the same already?"
    told = asdict(resolve(get_phase('auto', n), n, begun='init' in recipe, **{**PLAIN, **{k: v for k, v in recipe.items() if k != 'init'}}))
    return not change or any(told.get(k) != v for k, v in change.items())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--n', type=int, default=0, help='sections to train on; 0: five folds of all')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--steps', type=int, default=0, help='optimiser steps; 0: as the recipe has it')
    p.add_argument('--rows', nargs='+', default=[], help='names of the rows; all where none is given')
    p.add_argument('--runs', default='runs/ablate')
    a = p.parse_args()
    torch.set_num_threads(1)
    items, recipe = get_items(a.data), {**(MANY if a.n else FEW), **({'steps': a.steps} if a.steps else {})}
    path = HERE/('-'.join(['ablate', *(str(k) for k in (a.n, a.steps) if k)]) + '.json')
    rows = [r for r in json.loads(path.read_text())['rows'] if r['recipe'] == recipe] if path.is_file() else []
    done = {(r['name'], r['seed']) for r in rows}
    changes = {k: v for k, v in CHANGES.items() if k not in ONLY_BEGUN} if a.n else {**CHANGES, **ONLY_FEW}
    changes = {k: with_share(changes[k], recipe, a.n or 24) for k in a.rows or changes}
    changes = {k: v for k, v in changes.items() if alters(v, recipe, a.n or 24)}
    command = 'python nbs/results/ablate.py ' + shlex.join([{a.data: 'DATA', a.runs: 'RUNS'}.get(x, x) for x in sys.argv[1:]])
    for name, change in changes.items():
        for seed in (s for s in a.seeds if (name, s) not in done):
            counts, groups, spent = [], [], 0
            for train, test in parts(items, a.n, seed):
                found, seconds = taught(train, test, max(len(s.structure) for s in items.all if s.structure), seed, a.runs, **{**recipe, **change})
                counts, groups, spent = counts + found, groups + [o.group for o in test], spent + seconds
            scores = scores_of(counts, groups)
            rows.append(dict(name=name, seed=seed, change=change, recipe=recipe, commit=commit(), minutes=spent / 60, **{k: scores[k] for k in KEPT}))
            print(name, seed, *(f'{k} {scores[k]:.3f}' for k in KEPT), f'{spent:.0f} s', flush=True)
        out = dict(command=command, seeds=a.seeds, environment=environment(), n=a.n or 24, rows=rows)
        path.write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
