"""How the trees beside a network are grown, and how much they count: scored on the validation themes of wp-sections, to nbs/results/trees.json.

    python nbs/results/trees.py ../shared/data/wp-sections --base RUN --runs RUNS     RUN: the base of `curve.py`, RUNS/old-001

For each number of sections and seed a run is trained as phase 1 has it, without pixels, from nothing or from a base of six themes; sections are drawn from the twelve others. Then forests are grown beside its networks, and given each share of the say; all is asked in one
step. Defaults are chosen by this table, so what they are worth is told on test themes, not here.
"""
import argparse
import json
import random
import shlex
import sys
from pathlib import Path

import torch
from curve import parted
from measure import trained

from layoutdiff.data import Examples
from layoutdiff.evaluate import scores_of, section_counts
from layoutdiff.items import Items, get_items
from layoutdiff.run import commit, environment
from layoutdiff.sample import predict_tables
from layoutdiff.shards import labelled
from layoutdiff.slots import encode
from layoutdiff.ensemble import fit_trees

HERE = Path(__file__).parent
GROWN = (.1, 2), (.1, 1), (.3, 2), (.3, 1), (.5, 1)   # share of the numbers that a split may choose from, fewest nodes in a leaf
SHARES = .35, .5, .65, .8, .999
KEPT = ('node_accuracy', 'element_f1', 'exact_match')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--base', help='a run to begin with that saw none of the sections; without it all runs are from nothing')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--numbers', type=int, nargs='+', default=[24, 200])
    p.add_argument('--runs', default='runs/trees')
    a = p.parse_args()
    torch.set_num_threads(1)
    items, rows = get_items(a.data), []
    new, val = sorted(parted(labelled(items.train))[1], key=lambda s: s.id), labelled(items.val)
    truths, longest = [encode(s).label for s in val], max(len(s.structure) for s in val)
    command = 'python nbs/results/trees.py ' + shlex.join([{a.data: 'DATA', a.runs: 'RUNS', a.base: 'RUN'}.get(x, x) for x in sys.argv[1:]])
    for seed, n, init in ((s, n, i) for s in a.seeds for n in a.numbers for i in ('none', *([a.base] if a.base else []))):
        few, begun = random.Random(seed).sample(new, n), init != 'none'
        name = f"{'begun' if begun else 'scratch'}-{n}-{seed}"
        run = trained(name, Items(train=few, val=few, split_given=True), a.runs, init=init, tell=lambda line: None, seed=seed, workers=0, trees=0, drop_pixels=1, p_free=0, rounds=1)
        model, vocab, s, _ = run.loaded
        examples = Examples(val, vocab, s.image_size, pictures=False)

        def keep(trees, **told):
            model.trees = trees
            scores = scores_of([section_counts(t, o, y, 'wrapper', longest) for t, o, y in zip(predict_tables(model, examples, steps=1), val, truths)], [o.group for o in val])
            rows.append(dict(seed=seed, n=n, begun=begun, **told, **{k: scores[k] for k in KEPT}))
            print(*rows[-1].values(), flush=True)

        keep(None, share=0)
        for features, leaf in GROWN:
            forest = fit_trees(few, vocab, seed=seed, features=features, leaf=leaf)
            for share in SHARES:
                forest.share.fill_(share)
                keep(forest, features=features, leaf=leaf, share=share)
        (HERE/'trees.json').write_text(json.dumps(dict(command=command, commit=commit(), seeds=a.seeds, environment=environment(), n_val=len(val), rows=rows), indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
