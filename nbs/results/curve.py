"""The learning curve: from scratch against beginning with another's weights, with 5 to 1,000 sections of themes that neither saw, to nbs/results/curve.json.

    python nbs/results/curve.py ../shared/data/wp-sections --seeds 0 1 2 --runs RUNS

The themes of the train split are parted: six teach a base, as `base.py` makes the bundled one but with a third of its sections; the twelve others are drawn from. Scored on the test split, whose
eleven themes nobody saw. Settings are those that a user gets; one member, no pixels, no validation: the end of training counts.
Every run is scored without its trees, too; those begun with the base, where so few are halved, a second time with all that they learnt (`halves=False`). Where the file is of this commit already, it goes on where it ended.
"""
import argparse
import json
import random
import shlex
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from layoutdiff.baselines import fit_baseline
from layoutdiff.data import Examples
from layoutdiff.evaluate import scores_of, section_counts, without_trees
from layoutdiff.items import Items, get_items
from layoutdiff.phases import phase_for, resolve
from layoutdiff.run import Run, commit, environment
from layoutdiff.sample import predict_tables
from layoutdiff.slots import encode
from layoutdiff.train import fit

HERE = Path(__file__).parent
BASE = dict(members=1, trees=0, steps=900, rounds=6, augment=8, transforms='unwrap+wrap+builder+retag+hash_names', drop_names=.2, drop_boxes=.3, drop_tokens=.3, dropout=.2, drop_pixels=1, p_free=0)   # base.py's, half the steps
PLAIN = dict(members=1, rounds=1, drop_pixels=1, p_free=0)
KEPT = ('node_accuracy', 'element_f1', 'content_f1', 'exact_match')


def parted(train):
    "Sections that teach the base, and those to draw from; by size of theme, largest first, the 2nd and the 6th to 10th teach."
    themes = [g for g, _ in sorted(Counter(s.group for s in train).items(), key=lambda p: (-p[1], p[0]))]
    old = {themes[1], *themes[5:10]}
    return [s for s in train if s.group in old], [s for s in train if s.group not in old]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--numbers', type=int, nargs='+', default=[5, 10, 24, 50, 200, 1000])
    p.add_argument('--runs', default='runs/curve')
    a = p.parse_args()
    torch.set_num_threads(1)
    kept = json.loads((HERE/'curve.json').read_text()) if (HERE/'curve.json').is_file() else {}
    at = commit().rstrip('+')   # its own file may lie changed
    same = (kept.get('base'), kept.get('settings'), kept.get('commit')) == (BASE, PLAIN, at)
    items, rows = get_items(a.data), kept['rows'] if same else []
    old, new = parted(items.train)
    test, longest = items.test, max(len(s.structure) for s in items.test)
    truths = [encode(s).label for s in test]
    score = lambda tables: scores_of([section_counts(t, s, y, 'wrapper', longest) for t, s, y in zip(tables, test, truths)], [s.group for s in test])
    done = sorted(Path(a.runs).glob('old-*/weights/last.safetensors'))
    base = Run(done[-1].parent.parent) if done else fit(Items(train=old, val=items.val, split_given=True), out=a.runs, name='old', workers=0, **BASE)

    def keep(name, n, seed, run, minutes):
        model, vocab, s, _ = run.loaded
        scores = score(predict_tables(model, Examples(test, vocab, s.image_size, pictures=False), s.sample_steps))
        rows.append(dict(name=name, n=n, seed=seed, minutes=minutes, steps=s.steps, size=s.size, trees=0 if model.trees is None else s.trees, **{k: scores[k] for k in KEPT}))
        print(name, n, seed, *(f'{k} {scores[k]:.3f}' for k in KEPT), f'{minutes:.1f} min', flush=True)

    if not rows: keep('base, untrained', 0, 0, base, 0.)
    command = 'python nbs/results/curve.py ' + shlex.join([{a.data: 'DATA', a.runs: 'RUNS'}.get(x, x) for x in sys.argv[1:]])
    for seed in a.seeds:
        for n in a.numbers:
            if any((r['n'], r['seed'], r['name']) == (n, seed, 'forest') for r in rows): continue
            few = random.Random(seed).sample(sorted(new, key=lambda s: s.id), n)
            for name, init, more in (('from scratch', 'none', {}), ('base', base.path, {}), ('base, all the way', base.path, dict(halves=False))):
                if more and not resolve(phase_for(n), n, begun=True).halves: continue   # the same run again
                start = time.monotonic()
                run = fit(Items(train=few, val=few[:200], split_given=True), out=a.runs, name=f'{name[:4]}-{n}-{seed}', init=init, tell=lambda line: None, seed=seed, workers=0, **PLAIN, **more)
                minutes = (time.monotonic() - start) / 60
                keep(name, n, seed, run, minutes)
                keep(f'{name}, no trees', n, seed, without_trees(run), minutes)
            start, scores = time.monotonic(), score(fit_baseline('forest', few, seed=seed)(test))
            rows.append(dict(name='forest', n=n, seed=seed, minutes=(time.monotonic() - start) / 60, **{k: scores[k] for k in KEPT}))
            print('forest', n, seed, *(f'{k} {scores[k]:.3f}' for k in KEPT), flush=True)
            about = dict(old=len(old), old_themes=len({s.group for s in old}), drawn_from=len(new), n_test=len(test), test_themes=len({s.group for s in test}))
            out = dict(command=command, commit=at, seeds=a.seeds, environment=environment(), base=BASE, settings=PLAIN, **about, rows=rows)
            (HERE/'curve.json').write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
