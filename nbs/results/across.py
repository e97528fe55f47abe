"""Across page builders: a model of wp-sections on sections30, with 0, 1, 5 and 10 labelled examples, to nbs/results/across.json.

    python nbs/results/across.py ../shared/data/wp-sections ../shared/data/sections30 --runs RUNS

For each seed ten of the thirty sections are drawn; k of them are the examples, and the other twenty are scored, the same for every k. Structure given, no boxes, no pixels.
"""
import argparse
import json
import shlex
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from noise import look

from layoutdiff.baselines import fit_baseline
from layoutdiff.data import Examples
from layoutdiff.evaluate import section_counts, scores_of, without_trees
from layoutdiff.items import Items, distinct, get_items
from layoutdiff.run import commit, environment, open_run
from layoutdiff.recall import MAX_SUPPORT
from layoutdiff.sample import predict_tables
from layoutdiff.slots import encode
from layoutdiff.train import fit

HERE = Path(__file__).parent
POOL, ONE = 10, dict(members=1, drop_pixels=1, p_free=0, rounds=1)   # the rest as phase 1 has it
KEPT = ('n_sections', 'n_nodes', 'node_accuracy', 'element_f1', 'content_f1', 'type_f1', 'tree_similarity', 'exact_match')


def reader(run, shown=None):
    "A run as a function from sections to tables, with labelled sections shown or not."
    model, vocab, s, _ = run.loaded
    examples = lambda sections: Examples(sections, vocab, s.image_size, pictures=False)
    return lambda sections: predict_tables(model, examples(sections), s.sample_steps, ('structure',), support=shown and examples(shown))


def trained(train, runs, name, **settings):
    "A run on a few sections; too few to spare a validation, so there is one round and its end counts."
    return fit(Items(train=train, val=train, split_given=True), out=runs, name=name, tell=lambda line: None, **settings)


def drawn(sections, seed):
    "A pool to take examples from, and the sections that are scored."
    order = np.random.default_rng(seed).permutation(len(sections))
    return [sections[i] for i in order[:POOL]], [sections[i] for i in order[POOL:]]


def said(few):
    "The labels that examples give to each tag with these classes, digits folded."
    out = defaultdict(set)
    for s in few:
        for n, l in zip(s.structure, encode(s).label): out[look(n)].add(l)
    return out


def what_is_said(labels, label): return 'nothing' if not labels else 'another label' if label not in labels else 'both' if len(labels) > 1 else 'this label'


def scored(tables, test, few=()):
    "Scores, and how many nodes are wrong; of these, divs that are a wrapper here and merged into a chain there; and what the examples say of all nodes by their names, and of the wrong ones."
    truths, longest = [encode(s).label for s in test], max(len(s.structure) for s in test)
    scores = scores_of([section_counts(t, s, y, 'wrapper', longest) for t, s, y in zip(tables, test, truths)], [s.group for s in test])
    wrong = [{a, b} for t, y in zip(tables, truths) for a, b in zip(t.label, y) if a != b]
    names = said(few)
    of = [(what_is_said(names.get(look(n)), b), a != b) for t, s, y in zip(tables, test, truths) for n, a, b in zip(s.structure, t.label, y)]
    return dict({k: scores[k] for k in KEPT}, wrong=len(wrong), wrong_wrapper_or_merged=wrong.count({'wrapper', 'merge'}), said=Counter(w for w, _ in of), wrong_said=Counter(w for w, bad in of if bad))


def everyone(base, wp, few, seed, runs):
    "Each system that k examples allow, as name and function."
    k = len(few)
    yield 'rules', fit_baseline('rules', few, seed=seed)
    if not k: yield 'forest of wp', fit_baseline('forest', wp, seed=seed)
    if k: yield 'forest of the examples', fit_baseline('forest', few, seed=seed)
    if not k: yield 'base', reader(base)
    if 0 < k <= MAX_SUPPORT: yield 'base, examples shown', reader(base, few)
    if k:
        taught = trained(few, runs, f'across-{k}-{seed}', init=base.path, seed=seed, **ONE)
        yield 'base, trained on the examples', reader(taught)
        yield 'the same without its trees', reader(without_trees(taught))
    if k: yield 'from scratch', reader(trained(few, runs, f'scratch-{k}-{seed}', seed=seed, **ONE))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('wp')
    p.add_argument('data')
    p.add_argument('--base', default='base', help='the run to begin with')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--examples', type=int, nargs='+', default=[0, 1, 5, 10])
    p.add_argument('--runs', default='runs/across')
    p.add_argument('--out', default='across.json', help='name of the file, beside this script')
    a = p.parse_args()
    torch.set_num_threads(1)
    base, wp, sections, rows = open_run(a.base), get_items(a.wp).train, distinct(get_items(a.data)).all, []
    at = commit()
    command = 'python nbs/results/across.py ' + shlex.join([{a.wp: 'WP', a.data: 'DATA', a.runs: 'RUNS', a.base: a.base if a.base == 'base' else 'RUN'}.get(x, x) for x in sys.argv[1:]])
    for seed in a.seeds:
        pool, test = drawn(sections, seed)
        for k in a.examples:
            start = time.monotonic()
            for name, answer in everyone(base, wp, pool[:k], seed, a.runs):
                scores = scored(answer(test), test, pool[:k])
                rows.append(dict(seed=seed, k=k, name=name, seconds=time.monotonic() - start, **scores))
                start = time.monotonic()
                print(seed, k, name, *(f'{c} {scores[c]:.3f}' for c in ('content_f1', 'element_f1', 'exact_match', 'node_accuracy')), flush=True)
        out = dict(command=command, commit=at, seeds=a.seeds[:a.seeds.index(seed) + 1], environment=environment(), base=asdict(base.loaded[2]), settings=ONE, rows=rows)
        (HERE/a.out).write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main()
