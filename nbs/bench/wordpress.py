"wp-sections: themes never seen, in three splits, and what confidence is worth there."
from math import prod

import numpy as np
from run import plan, runs
from tools import BASELINES, EPOCHS, Items, Scorer, about_run, checkpoint, evaluate, labelled, most_frequent, ours, predictor, refit, rivals, scores_of, split_items, trees_alone, used

from layoutdiff.metrics import calibration_error
from layoutdiff.slots import decode
from layoutdiff.tables import calibration_rows, element_confidence

RECIPE = dict(drop_pixels=1, p_free=0, steps=1200, workers=0, **{EPOCHS: 6})


def scored(run, bench, seed, **kwargs):
    "As `evaluate`, with the trees alone and how the run learned."
    out = evaluate(run, bench.data[0], seed=seed, **kwargs)
    test = labelled(bench.items().test)
    alone = {} if checkpoint(run).model.trees is None else dict(trees_alone=Scorer(test).scores(predictor(trees_alone(run), 1)(test)))
    return dict(out, **alone, data='wp-sections', history=run.results, **about_run(run))


@plan('wp', 'test themes, beside all baselines', gather=runs, **RECIPE)
def wp(bench, seed): return scored(bench.trained(f'seed{seed}', bench.data[0], seed=seed), bench, seed, baselines='all')


@plan('wp-rivals', 'test themes: the baselines alone', gather=runs)
def wp_rivals(bench, seed):
    train, test = labelled(bench.items().train), labelled(bench.items().test)
    scorer = Scorer(test, most_frequent(train))
    found = {k: used(k, scorer.scores(t)) for k, t in rivals(train, test, seed=seed).items()}
    return dict(n_sections=len(test), groups=len(set(scorer.groups)), split='test', given=['structure'], notes=[], n_train=len(train), baselines=found, without_leaks=None)


@plan('wp-refit', 'the runs of wp, trained once more on train and validation', gather=runs, **RECIPE)
def wp_refit(bench, seed):
    first = bench.trained(f'seed{seed}', bench.data[0], seed=seed)
    return scored(refit(first, bench.data[0], bench.runs), bench, seed, baselines='all')


@plan('wp-onepass', 'ablation: every label hidden in training, one step', gather=runs, **{**RECIPE, 'p_full': 1, 'sample_steps': 1})
def wp_onepass(bench, seed): return scored(bench.trained(f'seed{seed}', bench.data[0], seed=seed), bench, seed, baselines='none')


@plan('wp-screenshot', 'test themes, from the picture alone', gather=runs, p_free=1, steps=2600, bs=24, zoom=.2, recolour=True, sample_steps=96, size='small', image_size=192, dropout=.3, wd=.2, **{EPOCHS: 3})
def wp_screenshot(bench, seed):
    run = bench.trained(f'seed{seed}', bench.data[0], seed=seed)
    out = evaluate(run, bench.data[0], given='screenshot', baselines=('majority', 'neighbour'), seed=seed)
    return dict(out, data='wp-sections', history=run.results, **about_run(run))


# ---------- leave one theme out: five folds of themes over all 38
FOLDS = 5

def pooled(cells, found):
    "One row a seed: every section scored by the fold that did not see its theme."
    out = []
    for seed in dict.fromkeys(c['seed'] for c in cells):
        mine = [f for c, f in zip(cells, found) if c['seed'] == seed]
        groups = [g for f in mine for g in f['groups']]
        scores = {k: used(k, scores_of([r for f in mine for r in f['rows'][k]], groups)) for k in mine[0]['rows']}
        baselines = {k: scores.pop(k) for k in list(scores) if k in BASELINES}
        out.append(dict(seed=seed, n_sections=len(groups), groups=len(set(groups)), split=f'{FOLDS} folds by theme, each section out of fold', given=['structure', 'screenshot'],
                        folds=[dict(themes=f['themes'], n=f['n'], **{k: scores_of(f['rows'][k], f['groups'])['exact_match'] for k in ('model', 'rules') if k in f['rows']}) for f in mine],
                        notes=[], **scores, baselines=baselines, without_leaks=None))
    return dict(runs=out)


@plan('loto', 'leave one theme out: folds of all 38 themes', cells=lambda b: [dict(seed=s, fold=k) for s in b.seeds for k in range(FOLDS)], gather=pooled, **RECIPE)
def loto(bench, seed, fold):
    sections = labelled(bench.items().all)
    train, test = split_items(sections, k=FOLDS, seed=seed)[fold]
    inner = split_items(train, ratios=(.88, .12), seed=0)
    run = bench.trained(f'seed{seed}-fold{fold}', Items(train=inner.train, val=inner.val, split_given=True), seed=seed)
    scorer = Scorer(test, most_frequent(inner.train), max(len(s.structure) for s in sections))
    answers = {**ours(run, test, seed=seed), **rivals(inner.train, test, seed=seed)}
    return dict(rows={k: scorer.counts(t) for k, t in answers.items()}, groups=scorer.groups, themes=sorted(set(scorer.groups)), n=[len(inner.train), len(inner.val), len(test)])


# ---------- calibration
WAYS = {'its first node': lambda c: c[0], 'its least sure node': min, 'the product over its nodes': prod}
CALIBRATION = ('n_sections', 'n_nodes', 'node_accuracy', 'element_f1', 'calibration_error', 'calibration_error_uncalibrated', 'calibration_error_elements')

def ways(tables, sections):
    "Calibration error of whole elements for each way to make one confidence of several nodes', with the temperature and without."
    out = {}
    for name, of in WAYS.items():
        for T, column in (('fitted', 'conf'), ('1', 'raw')):
            pairs = []
            for t, s in zip(tables, sections):
                layout, conf = decode(t, s.structure), getattr(t, column)
                for e in layout:
                    if e.sources: e.confidence = of([conf[k] for k in e.sources])
                pairs += zip(*element_confidence(layout, s.layout))
            out.setdefault(name, {})[T] = calibration_error(*map(list, zip(*pairs)))
    return out


def thresholds(tables, sections):
    "What marking unsure elements finds."
    pairs = [o for t, s in zip(tables, sections) for o in zip(*element_confidence(decode(t, s.structure), s.layout))]
    conf, right = (np.array(o) for o in zip(*pairs))
    return [dict(threshold=x, marked=float((conf < x).mean()), wrong=float((~right[conf < x]).mean()), caught=float((~right[conf < x]).sum() / (~right).sum()))
            for x in (.5, .6, .7, .8, .9)]


@plan('calibration', 'what confidence is worth, on validation and test', gather=runs, drop_pixels=1, p_free=0, steps=2000, members=1, trees=0)
def calibration(bench, seed):
    run = bench.trained(f'seed{seed}', bench.data[0], seed=seed)
    c, out = checkpoint(run), dict(parts={})
    for part in ('val', 'test'):
        sections = labelled(getattr(bench.items(), part))
        tables, scorer = predictor(c)(sections), Scorer(sections)
        scores = scorer.scores(tables)
        out['parts'][part] = dict({k: scores[k] for k in CALIBRATION}, ci95={k: scores['ci95'][k] for k in CALIBRATION if k in scores['ci95']}, ways=ways(tables, sections),
                                  thresholds=thresholds(tables, sections), reliability=calibration_rows(tables, sections, scorer.truths))
    return dict(out, temperature=c.model.cfg.conf_temperature, steps=run.config['settings']['steps'], **about_run(run))
