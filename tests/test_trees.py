"The forest beside the network: the same as scikit-learn's, kept in the weights, silent where it has nothing to say."
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier

from layoutdiff.core import Structure
from layoutdiff.data import Examples, collate
from layoutdiff.evaluate import without_trees
from layoutdiff.items import Items, get_items
from layoutdiff.phases import get_phase, resolve
from layoutdiff.run import Run
from layoutdiff.sample import predict_tables
from layoutdiff.slots import Vocab
from layoutdiff.train import fit
from layoutdiff.trees import Trees, as_tensors, fit_trees


@pytest.fixture(scope='module')
def items():
    whole = get_items('sample')
    return Items(train=whole.train[:8], val=whole.val[:4], test=whole.test[:4], split_given=True)


@pytest.fixture(scope='module')
def run(items, tmp_path_factory):
    return fit(items, out=tmp_path_factory.mktemp('runs'), name='t', size='tiny', members=2, steps=4, rounds=1, tell=lambda line: None, workers=0)


def answers(run, sections, **kwargs):
    model, vocab, s, _ = run.loaded
    return predict_tables(model, Examples(sections, vocab, s.image_size), 2, **kwargs)


def odd_numbers(rng, n, f):
    "Features with ties, negative zeros and values that single precision does not hold exactly."
    x = rng.choice([0., -0., 1/3, .1, 1e-7, -2.5, 1e6], size=(n, f)) + rng.choice([0., 1e-8], size=(n, f))
    return x.astype(np.float32)


@pytest.mark.parametrize('seed', range(12))
def test_the_same_as_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    x, y = odd_numbers(rng, 200, 6), rng.choice(['a', 'b', 'c'], 200)
    forest = ExtraTreesClassifier(7, min_samples_leaf=1 + seed % 3, random_state=seed).fit(x, y)
    other = np.vstack([x, odd_numbers(rng, 200, 6)])
    labels = ['empty', 'c', 'b', 'x', 'a']
    found = Trees(.5, False, **as_tensors(forest, labels)).predict(torch.as_tensor(other))
    assert np.abs(found[:, [4, 2, 1]].numpy() - forest.predict_proba(other)).max() < 1e-6 and not found[:, [0, 3]].any()


def test_kept_in_the_weights(run, items):
    again = Run(run.path)
    assert run.loaded[0].trees is not None and float(again.loaded[0].trees.share) == pytest.approx(.8)   # few sections, from nothing
    assert [t.label for t in answers(run, items.test)] == [t.label for t in answers(again, items.test)]


def test_they_are_heard_and_can_be_left_out(run, items):
    alone = without_trees(run)
    assert run.loaded[0].trees is not None and alone.loaded[0].trees is None
    assert [t.label for t in answers(run, items.test)] != [t.label for t in answers(alone, items.test)]


def test_no_word_without_boxes_nor_from_a_picture(run, items):
    alone = without_trees(run)
    told = [[t.label for t in answers(r, items.test, given=('screenshot',))] for r in (run, alone)]
    assert told[0] == told[1]
    model, vocab, s, _ = run.loaded
    batch = collate([Examples(items.test, vocab, s.image_size)[i] for i in range(len(items.test))])
    assert model.trees(batch)[batch['mask']].sum(-1).allclose(torch.ones(()), atol=1e-4)
    assert not model.trees({**batch, 'has_box': torch.zeros_like(batch['has_box'])}).any()


def test_trees_that_learnt_without_boxes_speak_without(items):
    bare = [replace(s, structure=Structure([replace(n, box=None) for n in s.structure])) for s in items.train]
    trees, vocab = fit_trees(bare, Vocab.build(bare)), Vocab.build(bare)
    batch = collate([Examples(bare[:2], vocab)[i] for i in range(2)])
    assert not trees.boxes and trees(batch)[batch['mask']].sum(-1).allclose(torch.ones(()), atol=1e-4)


def test_none_where_none_is_asked_for(items, tmp_path):
    run = fit(items, out=tmp_path, name='t', size='tiny', members=1, steps=2, rounds=1, trees=0, tell=lambda line: None, workers=0)
    assert run.loaded[0].trees is None


def test_another_run_begins_with_the_network_alone(run, items, tmp_path):
    told = []
    again = fit(items, out=tmp_path, name='t', init=run.path, members=1, steps=2, rounds=1, trees=0, tell=told.append, workers=0)
    assert again.loaded[0].trees is None and any('begins with the weights' in line for line in told)


def test_what_is_shown_counts_beside_them(run, items):
    model, vocab, s, _ = run.loaded
    shown = Examples(items.train[:3], vocab, s.image_size)
    found = predict_tables(model, Examples(items.test, vocab, s.image_size), 2, support=shown)
    assert all(len(t.label) == len(s.structure) for t, s in zip(found, items.test))


@pytest.mark.parametrize('n, begun, share', [(5, False, .8), (9, True, .35), (10, True, .5), (200, False, .8), (200, True, .5), (201, False, .5), (2_000, True, .5), (2_001, False, 0.)])
def test_how_much_they_count(n, begun, share):
    assert resolve(get_phase('auto', n), n, begun=begun).trees == share
    assert resolve(get_phase('auto', n), n, begun=begun, trees=.3).trees == .3


def test_trees_that_count_nothing_change_nothing(run, items):
    deaf, alone = Run(run.path), without_trees(run)
    deaf.loaded[0].trees.share.fill_(0.)
    assert [t.label for t in answers(deaf, items.test)] == [t.label for t in answers(alone, items.test)]
