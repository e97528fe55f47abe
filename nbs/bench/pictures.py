"pix2code: whole pages from a picture, by rows that no HTML names."
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from run import plan, runs
from tools import EPOCHS, Items, about_run, checkpoint, fit_baseline, predictor

from layoutdiff.convert.core import Conversion
from layoutdiff.convert.pix2code import read_pix2code
from layoutdiff.core import Element, Layout
from layoutdiff.metrics import counts, pool
from layoutdiff.slots import decode

BLANK = .001   # share of pixels darker than 200 of 255 that a rendered page exceeds; the darkest blank one has .00001, the lightest page .018

def blank(section):
    "Is nothing drawn in the picture, or only a waiting sign? Then its tokens contradict it."
    with Image.open(section.screenshot) as im: return float((np.asarray(im.convert('L')) < 200).mean()) < BLANK


def one_colour(layout): return Layout([replace(e, type='btn' if e.type in ('btn-red', 'btn-orange', 'btn-green') else e.type) for e in layout])
def no_boxes(layout): return Layout([Element(e.type, (), e.parent) for e in layout])


def parts(data, split, n, seed):
    "Train, val and test of a split, and what is left out. Where there is no val, 75 training files are it; `n` files train, 0: all."
    found = {}
    for k, s in read_pix2code(Path(data)/'samples', Conversion('pix2code'), split): found.setdefault(k, []).append(s)
    out = {s.id: f'{k}: nothing is drawn in the picture' for k, v in found.items() for s in v if blank(s)}
    train, val, test = ([s for s in sorted(found.get(k, ()), key=lambda s: s.id) if s.id not in out] for k in ('train', 'val', 'test'))
    random.Random(0).shuffle(train)
    if not val: val, train = train[:75], train[75:]
    random.Random(seed + 1).shuffle(train)
    return Items(train=train[:n] if n else train, val=val, test=test, split_given=True), out


def scores(sections, layouts):
    "Exact match, the same with the three colours of buttons taken for one, and the usual scores."
    same = [one_colour(a) == one_colour(no_boxes(b)) for a, b in zip((s.layout for s in sections), layouts)]
    found = pool([counts(l, s.layout, free=True) for s, l in zip(sections, layouts)])
    return dict({k: found[k] for k in ('exact_match', 'type_f1', 'tree_similarity')}, exact_without_colour=sum(same) / len(same))


@plan('pix2code', 'both splits, all files and few', gather=runs, size='tiny', image_size=128, lr=.003, bs=32, steps=3000, **{EPOCHS: 3},
      cells=lambda b: [dict(split=p, n=n, seed=s) for p in ('original', 'by_body') for n in (0, 100, 500) for s in (b.seeds if not n else b.seeds[:1])])
def pix2code(bench, split, n, seed):
    items, left_out = parts(bench.data[0], split, n, seed)
    run = bench.trained(f'{split}-{n or "all"}-{seed}', items, seed=seed)
    c, test = checkpoint(run), items.test
    ask = lambda steps: [decode(t) for t in predictor(c, steps, ('screenshot',), seed)(test)]
    answers = dict(model=ask(None), model_1_step=ask(1), neighbour=[decode(t) for t in fit_baseline('neighbour', items.train, True, seed)(test)])
    wrong = [dict(id=x.id, true=[[e.type, e.parent] for e in x.layout], found=[[e.type, e.parent] for e in l]) for x, l in zip(test, answers['model']) if no_boxes(l) != x.layout]
    return dict(n_train=len(items.train), n_val=len(items.val), n_test=len(test), left_out=left_out, history=run.results, wrong=wrong[:20], **about_run(run), **{k: scores(test, v) for k, v in answers.items()})
