"""Labelled sections of the same theme shown along, on themes that no training saw, to nbs/results/shown.json.

    python nbs/results/shown.py ../shared/data/wp-sections --run base

The same test sections are scored for every number shown; up to five of each theme, drawn by seed, are left out for it. Nothing is trained.
"""
import argparse
import json
import shlex
import sys
from pathlib import Path

import torch

from layoutdiff.evaluate import evaluate
from layoutdiff.run import commit, environment

HERE = Path(__file__).parent
KEPT = ('n_sections', 'n_nodes', 'node_accuracy', 'element_f1', 'content_f1', 'exact_match')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--run', default='base')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--shown', type=int, nargs='+', default=[0, 1, 2, 5])
    a = p.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in a.seeds:
        for k in a.shown:
            found = evaluate(a.run, a.data, given='structure', baselines=(), seed=seed, support=k, tell=lambda line: None)
            rows.append(dict(seed=seed, k=k, **{s: found['model'][s] for s in KEPT}))
            print(seed, k, *(f'{s} {rows[-1][s]:.3f}' for s in KEPT), flush=True)
    command = 'python nbs/results/shown.py ' + shlex.join([{a.data: 'DATA'}.get(x, x) for x in sys.argv[1:]])
    out = dict(command=command, commit=commit(), environment=environment(), rows=rows)
    (HERE/'shown.json').write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
