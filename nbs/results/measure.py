"""The long measurements: train with several seeds, score beside the baselines, write nbs/results/NAME.json.

    python nbs/results/measure.py wp ../shared/data/wp-sections --seeds 0 1 2
    python nbs/results/measure.py sections30 ../shared/data/sections30 --seeds 0 1 2

Runs are kept in --runs and not trained again. Minutes to hours; the notebooks read the JSON.
"""
import argparse
import json
import shlex
import sys
from pathlib import Path

import torch

from layoutdiff.baselines import BASELINES, fit_baseline
from layoutdiff.data import Examples
from layoutdiff.evaluate import evaluate, scores_of, section_counts
from layoutdiff.items import Items, distinct, get_items, split_items
from layoutdiff.run import Run, commit, environment
from layoutdiff.sample import predict_tables
from layoutdiff.slots import encode
from layoutdiff.train import fit

HERE = Path(__file__).parent


def trained(name, data, runs, **settings):
    "The finished run of that name, or a new one."
    done = sorted(Path(runs).glob(f'{name}-*/weights/last.safetensors'))
    return Run(done[-1].parent.parent) if done else fit(data, out=runs, name=name, **settings)


def measure_wp(data, seeds, runs, settings, onepass):
    "Train on train, score on test: the model for every seed and every input, the baselines beside it."
    out = {'wp': [], 'wp-structure': [], 'wp-screenshot': []}
    for seed in seeds:
        run = trained(f'wp-seed{seed}', data, runs, seed=seed, **settings)
        names = [b for b in BASELINES if b != 'onepass' or seed in onepass]
        for name, given, rivals in (('wp', 'structure,screenshot', names), ('wp-structure', 'structure', ()), ('wp-screenshot', 'screenshot', [b for b in names if b != 'onepass'])):
            scores = evaluate(run, data, given=given, baselines=rivals, seed=seed)
            out[name].append(dict(scores, run=run.path.name, data='wp-sections', rounds=run.results, settings=run.config['settings']))
    return out


def measure_sections30(data, seeds, runs, settings, onepass):
    "Five folds by section over the distinct, repaired sections; every section is scored by the fold that did not see it."
    sections, out, given = distinct(get_items(data)).all, [], ('structure',)   # trained without pixels, so used without
    for seed in seeds:
        rows, order = {}, []
        for k, (train, test) in enumerate(split_items(sections, k=5, seed=seed)):
            run = trained(f's30-seed{seed}-fold{k}', Items(train=train, val=train, split_given=True), runs, seed=seed, **settings)   # too few to spare a validation
            truths, longest = [encode(s).label for s in test], max(len(s.structure) for s in sections)
            labels = [l for s in train for l in encode(s).label]
            majority = max(sorted(set(labels)), key=labels.count)
            model, vocab, s, _ = run.loaded
            answers = {name: predict_tables(model, Examples(test, vocab, s.image_size), n, given, seed=seed) for name, n in (('model', s.sample_steps), ('model_1_step', 1))}
            for name in BASELINES:
                more = dict(run=run, val=train, given=given) if name == 'onepass' else {}
                if name != 'onepass' or seed in onepass: answers[name] = fit_baseline(name, train, False, seed, **more)(test)
            for name, tables in answers.items(): rows.setdefault(name, []).extend(section_counts(t, s, y, majority, longest) for t, s, y in zip(tables, test, truths))
            order += [s.group for s in test]
        scored = {name: scores_of(r, order) for name, r in rows.items()}
        facts = dict(n_sections=len(order), groups=len(set(order)), split='5-fold, each section out of fold', given=list(given), steps=s.sample_steps, notes=[])
        out.append(dict(facts, model=scored.pop('model'), model_1_step=scored.pop('model_1_step'), baselines=scored, without_leaks=None))
    return {'sections30': out}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('name', choices=['wp', 'sections30'])
    p.add_argument('data')
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--onepass', type=int, nargs='*', default=[0], help='seeds for which the one-pass baseline is trained too')
    p.add_argument('--init', default='none', help='weights to begin with: base, or a run folder')
    p.add_argument('--runs', default='runs/measure', help='folder of the runs')
    p.add_argument('--set', nargs='*', default=[], metavar='K=V', help='settings of the runs')
    p.add_argument('--threads', type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    results = globals()[f'measure_{a.name}'](a.data, a.seeds, a.runs, dict(s.split('=') for s in a.set) | dict(init=a.init), a.onepass)
    command = 'python nbs/results/measure.py ' + shlex.join([{a.data: 'DATA', a.runs: 'RUNS'}.get(x, x) for x in sys.argv[1:]])
    for name, scored in results.items():
        text = json.dumps(dict(command=command, commit=commit(), seeds=a.seeds, environment=environment(), runs=scored), indent=1)
        (HERE/f'{name}.json').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__': main()
