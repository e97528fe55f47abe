"""What each variation of the base's training is worth in a builder that it never saw, to nbs/results/ingredients.json.

    python nbs/results/ingredients.py ../shared/data/wp-sections ../shared/data/sections30 --seeds 0 1 2 --runs RUNS

Each row trains as `base.py` does, with fewer steps and one thing left out, and is asked about twenty sections of sections30, three draws. No validation: the end of training
counts. The file is written after each row, and rows that it holds are not measured again.
"""
import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
from across import KEPT, drawn, reader, scored
from base import SETTINGS

from layoutdiff.items import Items, distinct, get_items
from layoutdiff.run import commit, environment
from layoutdiff.train import fit

HERE = Path(__file__).parent
RECIPE = {**SETTINGS, 'steps': 600, 'rounds': 1}
without = lambda *names: dict(transforms='+'.join(t for t in SETTINGS['transforms'].split('+') if t not in names))
CHANGES = {
    'as the base': {},
    'no variants': dict(augment=1),
    "no other builder's divs": without('builder'),
    'no divs put in or taken out': without('wrap', 'unwrap'),
    'no names hashed': without('hash_names'),
    'no tags swapped': without('retag'),
    'boxes always known': dict(drop_boxes=0),
    'words always known': dict(drop_names=0, drop_tokens=0)}


def asked(run, sections):
    "Scores with nothing shown, the mean over three draws of what is scored."
    found = [scored(reader(run)(test), test) for _, test in (drawn(sections, k) for k in range(3))]
    return {k: float(np.mean([f[k] for f in found])) for k in KEPT if k not in ('n_sections', 'n_nodes')}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('wp')
    p.add_argument('data')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--runs', default='runs/ingredients')
    a = p.parse_args()
    torch.set_num_threads(1)
    train, sections, path = get_items(a.wp).train, distinct(get_items(a.data)).all, HERE/'ingredients.json'
    rows = [r for r in json.loads(path.read_text())['rows'] if {'trees': 0, **r['recipe']} == RECIPE] if path.is_file() else []
    command = 'python nbs/results/ingredients.py ' + shlex.join([{a.wp: 'WP', a.data: 'DATA', a.runs: 'RUNS'}.get(x, x) for x in sys.argv[1:]])
    for seed in a.seeds:
        for name, change in CHANGES.items():
            if (name, seed) in {(r['name'], r['seed']) for r in rows}: continue
            start = time.monotonic()
            run = fit(Items(train=train, val=train[:24], split_given=True), out=a.runs, name='ingredients', tell=lambda line: None, seed=seed, workers=0, **{**RECIPE, **change})
            rows.append(dict(name=name, seed=seed, change=change, recipe=RECIPE, commit=commit(), minutes=(time.monotonic() - start) / 60, **asked(run, sections)))
            print(name, seed, *(f'{k} {rows[-1][k]:.3f}' for k in ('content_f1', 'element_f1', 'node_accuracy')), f"{rows[-1]['minutes']:.1f} min", flush=True)
            path.write_text(json.dumps(dict(command=command, seeds=a.seeds, environment=environment(), rows=rows), indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
