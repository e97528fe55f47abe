"What the plans share. The names that other modules may move stand at the top."
import random

import numpy as np

from layoutdiff.baselines import BASELINES, booster, fit_baseline
from layoutdiff.evaluate import checkpoint, evaluate, predictor, scores_of, section_counts, without_trees
from layoutdiff.items import Items, distinct, get_items, split_items
from layoutdiff.run import Run, environment, open_run
from layoutdiff.sections import as_sections
from layoutdiff.data import get_data
from layoutdiff.slots import encode
from layoutdiff.train import fit
from layoutdiff.folds import refit

EPOCHS, INTERPOLATE = 'epochs', 'interpolate'   # names of settings: how many times validation looks; how far weights move from the base's is chosen on halves
KEPT = ('node_accuracy', 'element_f1', 'content_f1', 'exact_match')
NODES = ('structure',)

def labelled(sections): return as_sections(sections).labelled()
def one_epoch(**settings): return {EPOCHS: 1, **settings}
def whole(train, val=None): return Items(train=list(train), val=list(train if val is None else val), split_given=True)

def some_of(sections, n, seed):
    "`n` sections, drawn by the seed whatever their order."
    return random.Random(seed).sample(sorted(sections, key=lambda s: s.id), n)

class Scorer:
    "Counts and scores of tables against the truth of some sections."
    def __init__(self, sections, majority='wrapper', longest=None):
        self.sections, self.majority = sections, majority
        self.truths = [encode(s).label for s in sections]
        self.longest = longest or max(len(s.structure) for s in sections)
        self.groups = [s.group for s in sections]
    def counts(self, tables): return [section_counts(t, s, y, self.majority, self.longest) for t, s, y in zip(tables, self.sections, self.truths)]
    def scores(self, tables, kept=None):
        found = scores_of(self.counts(tables), self.groups)
        return {k: found[k] for k in kept} if kept else found

def most_frequent(train):
    labels = [l for s in train for l in encode(s).label]
    return max(sorted(set(labels)), key=labels.count)

def trees_alone(run):
    "A run whose trees decide all labels; wraps are the networks'."
    c = checkpoint(run)
    c.model.trees.share.fill_(1.)
    return c

def ours(run, sections, given=('structure', 'screenshot'), seed=0):
    "{name: tables} of a run: default steps, one step, networks without trees, trees alone."
    c = checkpoint(run)
    out = dict(model=predictor(c, None, given, seed)(sections), model_1_step=predictor(c, 1, given, seed)(sections))
    if c.model.trees is None: return out
    return out | dict(model_without_trees=predictor(without_trees(run), None, given, seed)(sections), trees_alone=predictor(trees_alone(run), 1, given, seed)(sections))

def rivals(train, sections, names=('rules', 'forest', 'extra_trees', 'boosting'), seed=0):
    "{name: tables} of baselines."
    return {k: fit_baseline(k, train, seed=seed)(sections) for k in names}

def used(name, scores): return dict(scores, used=booster()) if name == 'boosting' else scores
def about_run(run): return dict(run=run.path.name, settings=run.config['settings'])
def mean(values): return float(np.mean(list(values)))
