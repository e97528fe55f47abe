"""What each technique of phase 1 is worth at 24 sections: five folds of sections30, one change at a time, to nbs/results/ablate.json.

    python nbs/results/ablate.py ../shared/data/sections30 --seeds 0 1 --runs RUNS

Each row is the recipe with one thing changed; one member each, every section scored by the fold that did not see it. The file is written after each row.
"""
import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import torch

from layoutdiff.data import Examples
from layoutdiff.evaluate import scores_of, section_counts
from layoutdiff.items import Items, distinct, get_items, split_items
from layoutdiff.run import commit, environment
from layoutdiff.sample import predict_tables
from layoutdiff.slots import encode
from layoutdiff.train import fit

HERE = Path(__file__).parent
RECIPE = dict(init='base', members=1, drop_pixels=1, p_free=0, steps=200, rounds=1, bs=12, lr=.002, drop_names=0, dropout=.3, drop_tokens=.1)
CHANGES = {
    'the recipe': {},
    'from scratch, tiny': dict(init='none', size='tiny', steps=350, bs=24),
    'gradual unfreezing': dict(unfreeze=.5),
    'lower rates for lower layers': dict(layer_decay=.7),
    'variance-aware loss': dict(variance_aware=True),
    'variants, 20 of each': dict(augment=20),
    'weak dropout': dict(dropout=.1),
    'words dropped often': dict(drop_tokens=.4),
    'one pass only': dict(p_full=1.)}
KEPT = ('node_accuracy', 'element_f1', 'content_f1', 'exact_match')


def folds(sections, seed, runs, **settings):
    "Scores over all sections, each out of fold, and the seconds of training."
    rows, order, spent, longest = [], [], 0, max(len(s.structure) for s in sections)
    for train, test in split_items(sections, k=5, seed=seed):
        start = time.monotonic()
        model, vocab, s, _ = fit(Items(train=train, val=train, split_given=True), out=runs, name='ablate', tell=lambda line: None, seed=seed, workers=0, **settings).loaded
        spent += time.monotonic() - start
        tables = predict_tables(model, Examples(test, vocab, s.image_size, pictures=False), s.sample_steps, ('structure',), seed=seed)
        rows += [section_counts(t, o, encode(o).label, 'wrapper', longest) for t, o in zip(tables, test)]
        order += [o.group for o in test]
    return scores_of(rows, order), spent


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    p.add_argument('--runs', default='runs/ablate')
    a = p.parse_args()
    torch.set_num_threads(1)
    sections, rows = distinct(get_items(a.data)).all, []
    command = 'python nbs/results/ablate.py ' + shlex.join([{a.data: 'DATA', a.runs: 'RUNS'}.get(x, x) for x in sys.argv[1:]])
    for name, change in CHANGES.items():
        for seed in a.seeds:
            scores, spent = folds(sections, seed, a.runs, **{**RECIPE, **change})
            rows.append(dict(name=name, seed=seed, change=change, minutes=spent / 60, **{k: scores[k] for k in KEPT}))
            print(name, seed, *(f'{k} {scores[k]:.3f}' for k in KEPT), f'{spent:.0f} s', flush=True)
        out = dict(command=command, commit=commit(), seeds=a.seeds, environment=environment(), recipe=RECIPE, rows=rows)
        (HERE/'ablate.json').write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
