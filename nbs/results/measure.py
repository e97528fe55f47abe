"""The long measurements: train with several seeds, score beside the baselines, write nbs/results/NAME.json.

    python nbs/results/measure.py wp ../shared/data/wp-sections --seeds 0 1 2
    python nbs/results/measure.py sections30 ../shared/data/sections30 --seeds 0 1 2
    python nbs/results/measure.py pix2code ../shared/data/pix2code-web --seeds 0 1 --few 100 500
    python nbs/results/measure.py wp_screenshot ../shared/data/wp-sections --seeds 0 1 2
    python nbs/results/measure.py wp_refit ../shared/data/wp-sections --seeds 0 1 2     the runs of wp, once more on train and validation

Runs are kept in --runs and not trained again; one --seeds at a time is possible, and then all of them. Minutes to hours; the notebooks read the JSON.
"""
import argparse
import itertools
import json
import random
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from layoutdiff.baselines import BASELINES, fit_baseline
from layoutdiff.convert.core import Conversion
from layoutdiff.convert.pix2code import read_pix2code
from layoutdiff.core import Element, Layout
from layoutdiff.data import Examples
from layoutdiff.evaluate import evaluate, scores_of, section_counts, without_trees
from layoutdiff.items import Items, distinct, get_items, split_items
from layoutdiff.metrics import counts, pool
from layoutdiff.run import Run, commit, environment
from layoutdiff.sample import predict_tables
from layoutdiff.slots import decode, encode
from layoutdiff.shards import labelled
from layoutdiff.train import calibrate, fit, fit_memory, odds_of, plant
from layoutdiff.folds import refit

HERE = Path(__file__).parent


def trained(name, data, runs, **settings):
    "The finished run of that name, or a new one."
    done = sorted(Path(runs).glob(f'{name}-[0-9]*/weights/last.safetensors'))
    return Run(done[-1].parent.parent) if done else fit(data, out=runs, name=name, **settings)


def trees_alone(run, sections, given=('structure', 'screenshot')):
    "What a run writes where its trees have all of the say but a thousandth; wraps are the networks'."
    model, vocab, s, _ = Run(run.path).loaded
    model.trees.share.fill_(1.)
    return predict_tables(model, Examples(sections, vocab, s.image_size), 1, given)


def measure_wp(data, seeds, runs, settings, onepass):
    "Train on train, score on test: the model for every seed, the baselines beside it."
    items, out = get_items(data), []
    val, test = labelled(items.val), labelled(items.test)
    for seed in seeds:
        run = trained(f'wp-seed{seed}', data, runs, seed=seed, **settings)
        fit_memory(run, val)   # again, for runs that were kept from before it was fitted
        calibrate(run, [odds_of(run, val)])
        scores = evaluate(run, data, baselines=[b for b in BASELINES if b != 'onepass' or seed in onepass], seed=seed)
        alone = scores_of([section_counts(t, o, encode(o).label) for t, o in zip(trees_alone(run, test), test)], [o.group for o in test])
        out.append(dict(scores, trees_alone=alone, run=run.path.name, trained_at=json.loads((run.path/'env.json').read_text())['commit'], memory=str(run.loaded[0].cfg.memory), data='wp-sections', rounds=run.results, settings=run.config['settings']))
    return {'wp': out}


def measure_wp_refit(data, seeds, runs, settings, onepass):
    "The runs of `measure_wp`, trained once more on train and validation, scored on test; the baselines learn from both, too."
    out = []
    for seed in seeds:
        first = trained(f'wp-seed{seed}', data, runs, seed=seed, **settings)
        done = sorted(Path(runs).glob(f'wp-seed{seed}-refit-[0-9]*/weights/last.safetensors'))
        run = Run(done[-1].parent.parent) if done else refit(first, data, runs)
        scores = evaluate(run, data, baselines=[b for b in BASELINES if b != 'onepass'], seed=seed)
        out.append(dict(scores, run=run.path.name, first=first.path.name, trained_at=json.loads((run.path/'env.json').read_text())['commit'], data='wp-sections', settings=run.config['settings']))
    return {'wp-refit': out}


def measure_sections30(data, seeds, runs, settings, onepass):
    "Five folds by section over the distinct, repaired sections; every section is scored by the fold that did not see it."
    sections, out, given = distinct(get_items(data)).all, [], ('structure',)   # trained without pixels, so used without
    for seed in seeds:
        rows, order = {}, []
        for k, (train, test) in enumerate(split_items(sections, k=5, seed=seed)):
            run = trained(f's30-seed{seed}-fold{k}', Items(train=train, val=train, split_given=True), runs, seed=seed, **settings)   # too few to spare a validation
            if run.loaded[2].trees: plant(run, train)   # again, for runs that were kept from before trees grew to the end
            truths, longest = [encode(s).label for s in test], max(len(s.structure) for s in sections)
            labels = [l for s in train for l in encode(s).label]
            majority = max(sorted(set(labels)), key=labels.count)
            model, vocab, s, _ = run.loaded
            answers = {name: predict_tables(model, Examples(test, vocab, s.image_size), n, given, seed=seed) for name, n in (('model', s.sample_steps), ('model_1_step', 1))}
            if model.trees is not None:
                answers['model_without_trees'] = predict_tables(without_trees(run).loaded[0], Examples(test, vocab, s.image_size), s.sample_steps, given, seed=seed)
                answers['trees_alone'] = trees_alone(run, test, given)
            for name in BASELINES:
                more = dict(run=run, val=train, given=given) if name == 'onepass' else {}
                if name != 'onepass' or seed in onepass: answers[name] = fit_baseline(name, train, False, seed, **more)(test)
            for name, tables in answers.items(): rows.setdefault(name, []).extend(section_counts(t, s, y, majority, longest) for t, s, y in zip(tables, test, truths))
            order += [s.group for s in test]
        scored = {name: scores_of(r, order) for name, r in rows.items()}
        facts = dict(n_sections=len(order), groups=len(set(order)), split='5-fold, each section out of fold', given=list(given), steps=s.sample_steps, notes=[])
        ours = {k: scored.pop(k) for k in ('model', 'model_1_step', 'model_without_trees', 'trees_alone') if k in scored}
        out.append(dict(facts, **ours, baselines=scored, without_leaks=None, wrong=[g for r, g in zip(rows['model'], order) if not r['exact']]))
    return {'sections30': out}


BLANK = .001   # share of pixels darker than 200 of 255 that a rendered page exceeds; the darkest blank one has .00001, the lightest page .018

def blank(section):
    "Is nothing drawn in the picture, or only a waiting sign? Then its tokens contradict it."
    with Image.open(section.screenshot) as im: return float((np.asarray(im.convert('L')) < 200).mean()) < BLANK


def uncoloured(layout): return Layout([replace(e, type='btn' if e.type in ('btn-red', 'btn-orange', 'btn-green') else e.type) for e in layout])


def pix2code_parts(data, split, n, seed):
    "Train, val and test of a split, and what is left out. Where there is no val, 75 training files are it; `n` files train, 0: all."
    parts = {}
    for k, s in read_pix2code(Path(data)/'samples', Conversion('pix2code'), split): parts.setdefault(k, []).append(s)
    out = {s.id: f'{k}: nothing is drawn in the picture' for k, v in parts.items() for s in v if blank(s)}
    train, val, test = ([s for s in sorted(parts.get(k, ()), key=lambda s: s.id) if s.id not in out] for k in ('train', 'val', 'test'))
    random.Random(0).shuffle(train)
    if not val: val, train = train[:75], train[75:]
    random.Random(seed + 1).shuffle(train)
    return Items(train=train[:n] if n else train, val=val, test=test, split_given=True), out


def pix2code_scores(sections, layouts):
    "Exact match, the same with the three colours of buttons taken for one, and the usual scores."
    same = [uncoloured(a) == uncoloured(replace_boxes(b)) for a, b in zip((s.layout for s in sections), layouts)]
    scores = pool([counts(l, s.layout, free=True) for s, l in zip(sections, layouts)])
    return dict({k: scores[k] for k in ('exact_match', 'type_f1', 'tree_similarity')}, exact_without_colour=sum(same) / len(same))


def replace_boxes(layout): return Layout([Element(e.type, (), e.parent) for e in layout])


def measure_pix2code(data, seeds, runs, settings, onepass, few=(), splits=('original', 'by_body')):
    "Both splits, all files and few: the model, and the layout of the most similar picture."
    out = []
    for split, n in itertools.product(splits, (0, *few)):
        for seed in seeds if not n else seeds[:1]:
            items, left_out = pix2code_parts(data, split, n, seed)
            run = trained(f'pix2code-{split}-{n or "all"}-seed{seed}', items, runs, seed=seed, **settings)
            model, vocab, s, _ = run.loaded
            look = lambda steps: [decode(t) for t in predict_tables(model, Examples(items.test, vocab, s.image_size), steps, ('screenshot',), seed=seed)]
            answers = dict(model=look(s.sample_steps), model_1_step=look(1), neighbour=[decode(t) for t in fit_baseline('neighbour', items.train, True, seed)(items.test)])
            wrong = [dict(id=x.id, true=[[e.type, e.parent] for e in x.layout], found=[[e.type, e.parent] for e in l]) for x, l in zip(items.test, answers['model']) if replace_boxes(l) != x.layout]
            out.append(dict(split=split, n_train=len(items.train), n_val=len(items.val), n_test=len(items.test), seed=seed, left_out=left_out, run=run.path.name, trained_at=json.loads((run.path/'env.json').read_text())['commit'], settings=run.config['settings'],
                            rounds=run.results, wrong=wrong[:20], **{k: pix2code_scores(items.test, v) for k, v in answers.items()}))
            print(split, n or 'all', seed, {k: round(out[-1][k]['exact_match'], 3) for k in answers}, {k: round(out[-1][k]['exact_without_colour'], 3) for k in answers}, flush=True)
    return {'pix2code': out}


def measure_wp_screenshot(data, seeds, runs, settings, onepass):
    "The screenshot alone: a model that learns nothing else, beside the layout of the most similar picture."
    out = []
    for seed in seeds:
        run = trained(f'wp-screenshot-seed{seed}', data, runs, seed=seed, **{'p_free': 1, **settings})
        kept = run.path/'metrics.json'   # scored already
        scores = json.loads(kept.read_text()) if kept.is_file() else evaluate(run, data, given='screenshot', baselines=('majority', 'neighbour'), seed=seed)
        out.append(dict(scores, run=run.path.name, trained_at=json.loads((run.path/'env.json').read_text())['commit'], data='wp-sections', rounds=run.results, settings=run.config['settings']))
    return {'wp-screenshot': out}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=['wp', 'wp_refit', 'sections30', 'pix2code', 'wp_screenshot'])
    p.add_argument('data')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--onepass', type=int, nargs='*', default=[0], help='seeds for which the one-pass baseline is trained too')
    p.add_argument('--init', default='none', help='weights to begin with: base, or a run folder')
    p.add_argument('--runs', default='runs/measure', help='folder of the runs')
    p.add_argument('--set', nargs='*', default=[], metavar='K=V', help='settings of the runs')
    p.add_argument('--few', type=int, nargs='*', default=[], help='pix2code: smaller numbers of training files, with the first seed')
    p.add_argument('--splits', nargs='+', default=['original', 'by_body'], help='pix2code: its splits')
    p.add_argument('--threads', type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    results = globals()[f'measure_{a.name}'](a.data, a.seeds, a.runs, dict(s.split('=') for s in a.set) | dict(init=a.init), a.onepass, **(dict(few=a.few, splits=a.splits) if a.name == 'pix2code' else {}))
    command = 'python nbs/results/measure.py ' + shlex.join([{a.data: 'DATA', a.runs: 'RUNS'}.get(x, x) for x in sys.argv[1:]])
    for name, scored in results.items():
        text = json.dumps(dict(command=command, commit=commit(), seeds=a.seeds, environment=environment(), runs=scored), indent=1)
        (HERE/f'{name}.json').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__': main()
