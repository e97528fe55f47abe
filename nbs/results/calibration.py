"""How far confidence can be trusted: finished runs on wp-sections, written to nbs/results/calibration.json.

    layoutdiff train DATA --set drop_pixels=1 --set p_free=0 --set steps=2000 --seed 0 --out RUNS
    python nbs/results/calibration.py DATA RUNS/wp-sections-001 RUNS/wp-sections-002

The temperature is fitted anew on validation: it comes out as training left it, and runs of before there was one get theirs.
"""
import argparse
import json
from math import prod
from pathlib import Path

import numpy as np
import torch

from layoutdiff.data import Examples
from layoutdiff.evaluate import calibration_rows, element_sureness, scores_of, section_counts
from layoutdiff.items import get_items
from layoutdiff.metrics import calibration_error
from layoutdiff.run import Run, commit, environment
from layoutdiff.confidence import fit_temperature
from layoutdiff.sample import predict_tables
from layoutdiff.slots import decode, encode
from layoutdiff.train import odds_of

HERE = Path(__file__).parent
WAYS = {'its first node': lambda c: c[0], 'its least sure node': min, 'the product over its nodes': prod}
KEPT = ('n_sections', 'n_nodes', 'node_accuracy', 'element_f1', 'calibration_error', 'calibration_error_uncalibrated', 'calibration_error_elements')


def ways(tables, sections):
    "Calibration error of whole elements for each way of making one confidence of several nodes', with the temperature and without."
    out = {}
    for name, of in WAYS.items():
        for T, column in (('fitted', 'conf'), ('1', 'raw')):
            pairs = []
            for t, s in zip(tables, sections):
                layout, conf = decode(t, s.structure), getattr(t, column)
                for e in layout:
                    if e.sources: e.confidence = of([conf[k] for k in e.sources])
                pairs += zip(*element_sureness(layout, s.layout))
            out.setdefault(name, {})[T] = calibration_error(*map(list, zip(*pairs)))
    return out


def thresholds(tables, sections):
    "What marking the unsure elements finds."
    pairs = [o for t, s in zip(tables, sections) for o in zip(*element_sureness(decode(t, s.structure), s.layout))]
    conf, right = (np.array(o) for o in zip(*pairs))
    return [dict(threshold=x, marked=float((conf < x).mean()), wrong=float((~right[conf < x]).mean()), caught=float((~right[conf < x]).sum() / (~right).sum()))
            for x in (.5, .6, .7, .8, .9)]


def measured(run, items):
    "One run on validation and test."
    model, vocab, s, _ = run.loaded
    odds, was = odds_of(run, items.val), model.cfg.conf_temperature
    model.cfg.conf_smoothing, model.cfg.conf_temperature = s.smoothing, fit_temperature([odds], s.smoothing)
    out = dict(seed=s.seed, temperature=model.cfg.conf_temperature, temperature_alone=fit_temperature([odds]), temperature_in_weights=was, steps=run.config['settings']['steps'], trained=run_commit(run), parts={})
    for part in ('val', 'test'):
        sections = getattr(items, part)
        tables, truths = predict_tables(model, Examples(sections, vocab, s.image_size), s.sample_steps), [encode(o).label for o in sections]
        scores = scores_of([section_counts(t, o, truth) for t, o, truth in zip(tables, sections, truths)], [o.group for o in sections])
        out['parts'][part] = dict({k: scores[k] for k in KEPT}, ci95={k: scores['ci95'][k] for k in KEPT if k in scores['ci95']}, ways=ways(tables, sections),
                                  thresholds=thresholds(tables, sections), reliability=calibration_rows(tables, sections, truths))
    return out


def run_commit(run): return json.loads((run.path/'env.json').read_text())['commit']


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('runs', nargs='+')
    args = p.parse_args()
    torch.set_num_threads(1)
    items = get_items(args.data)
    runs = [measured(Run(r), items) for r in args.runs]
    made = dict(command='python nbs/results/calibration.py DATA RUN ...', train='layoutdiff train DATA --set drop_pixels=1 --set p_free=0 --set steps=2000 --seed SEED',
                commit=commit(), seeds=[r['seed'] for r in runs], environment=environment(), runs=runs)
    (HERE/'calibration.json').write_text(json.dumps(made, indent=1) + '\n')
    for r in runs:
        for part, m in r['parts'].items():
            print(f"seed {r['seed']} {part:4} T {r['temperature']:.3f}", {k: round(m[k], 4) for k in KEPT if m[k] is not None}, m['ways'])
