"Networks and trees as one model: the trees are scikit-learn's, kept in the weights, without an opinion where they have none; files stay as they are."
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier

from layoutdiff.core import Structure
from layoutdiff.data import Examples, collate
from layoutdiff.features import node_arrays
from layoutdiff.ensemble import Ensemble, Trees, Vote, as_ensemble, as_tensors, fit_trees, from_tensors, node_features, to_tensors, tree_features
from layoutdiff.evaluate import without_trees
from layoutdiff.items import Items, get_items
from layoutdiff.phases import Situation, phase_for, settle
from layoutdiff.model import LayoutDiT, model_config
from layoutdiff.run import Checkpoint, Run
from layoutdiff.sample import predict_tables
from layoutdiff.slots import Vocab
from layoutdiff.train import fit


@pytest.fixture(scope='module')
def items():
    whole = get_items('sample')
    return Items(train=whole.train[:8], val=whole.val[:4], test=whole.test[:4], split_given=True)


@pytest.fixture(scope='module')
def run(items, tmp_path_factory):
    return fit(items, out=tmp_path_factory.mktemp('runs'), name='t', size='tiny', members=2, steps=4, epochs=1, tell=lambda line: None, workers=0)


@pytest.fixture(scope='module')
def model(run): return run.checkpoint.model


@pytest.fixture(scope='module')
def vocab(run): return run.checkpoint.vocab


def answers(model, vocab, sections, **kwargs): return predict_tables(model, Examples(sections, vocab, model.cfg.image_size), 2, **kwargs)


def without(model): return Ensemble(model.members)


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


def test_kept_in_the_weights(run, model, vocab, items):
    again = Run(run.path).checkpoint.model
    assert model.trees is not None and float(again.trees.share) == pytest.approx(.8)   # few sections, from nothing
    assert [t.label for t in answers(model, vocab, items.test)] == [t.label for t in answers(again, vocab, items.test)]


def test_they_count_and_can_be_left_out(model, vocab, items):
    assert model.trees is not None and without(model).trees is None
    assert [t.label for t in answers(model, vocab, items.test)] != [t.label for t in answers(without(model), vocab, items.test)]


def test_no_opinion_without_boxes_nor_from_a_picture(model, vocab, items):
    found = [[t.label for t in answers(m, vocab, items.test, given=('screenshot',))] for m in (model, without(model))]
    assert found[0] == found[1]
    batch = collate([Examples(items.test, vocab, model.cfg.image_size)[i] for i in range(len(items.test))])
    assert model.trees(batch)[batch['mask']].sum(-1).allclose(torch.ones(()), atol=1e-4)
    assert not model.trees({**batch, 'has_box': torch.zeros_like(batch['has_box'])}).any()


def test_features_of_a_batch_are_those_of_each_section(items, vocab):
    "Whatever stands beside it: padding neither adds nor takes neighbours."
    rows = Examples(items.test, vocab, pictures=False)
    x = tree_features(collate([rows[i] for i in range(len(rows))]))
    for b, s in enumerate(items.test): assert np.array_equal(x[b, :len(s.structure)].numpy(), node_features(node_arrays(s)))


def test_trees_that_learnt_without_boxes_answer_without(items):
    bare = [replace(s, structure=Structure([replace(n, box=None) for n in s.structure])) for s in items.train]
    trees, vocab = fit_trees(bare, Vocab.build(bare)), Vocab.build(bare)
    batch = collate([Examples(bare[:2], vocab)[i] for i in range(2)])
    assert not trees.boxes and trees(batch)[batch['mask']].sum(-1).allclose(torch.ones(()), atol=1e-4)


def test_none_where_none_is_asked_for(items, tmp_path):
    run = fit(items, out=tmp_path, name='t', size='tiny', members=1, steps=2, epochs=1, trees=0, tell=lambda line: None, workers=0)
    assert run.checkpoint.model.trees is None


def test_another_run_begins_with_the_network_alone(run, items, tmp_path):
    told = []
    again = fit(items, out=tmp_path, name='t', init=run.path, members=1, steps=2, epochs=1, trees=0, tell=told.append, workers=0)
    assert again.checkpoint.model.trees is None and any('starts from pretrained weights' in line for line in told)


def test_a_support_set_counts_beside_them(model, vocab, items):
    found = answers(model, vocab, items.test, support=Examples(items.train[:3], vocab, model.cfg.image_size))
    assert all(len(t.label) == len(s.structure) for t, s in zip(found, items.test))


@pytest.mark.parametrize('n, begun, share', [(5, False, .8), (9, True, .35), (10, True, .5), (200, False, .8), (200, True, .5), (201, False, .5), (2_000, True, .5), (2_001, False, 0.)])
def test_how_much_they_count(n, begun, share):
    situation = Situation(n, phase_for(n).name, pretrained=dict(size='mini', image_size=128, pixels=True) if begun else None)
    assert settle(situation).settings.trees == share and settle(situation, trees=.3).settings.trees == .3


def test_trees_that_count_nothing_change_nothing(run, model, vocab, items):
    silent = Run(run.path).checkpoint.model
    silent.trees.share.fill_(0.)
    assert [t.label for t in answers(silent, vocab, items.test)] == [t.label for t in answers(without(model), vocab, items.test)]


# ---- ensembles

def network(vocab, seed, **kwargs):
    torch.manual_seed(seed)
    model = LayoutDiT(model_config(vocab, **kwargs)).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(.1 * torch.randn_like(p))
    return model


def test_one_network_and_an_ensemble_of_one_answer_alike(vocab, items):
    net, examples = network(vocab, 0), Examples(items.test, vocab)
    for given in (('structure', 'screenshot'), ('screenshot',)):
        assert predict_tables(net, examples, 3, given) == predict_tables(Ensemble([net]), examples, 3, given)


def test_a_network_twice_is_that_network(vocab, items):
    net, examples = network(vocab, 0), Examples(items.test, vocab)
    one, two = (predict_tables(m, examples, 1) for m in (net, Ensemble([net, net])))
    assert [t.label for t in one] == [t.label for t in two]


@pytest.mark.parametrize('n', [1, 3])
@pytest.mark.parametrize('in_order', [False, True])
def test_tensors_there_and_back(vocab, model, n, in_order):
    from layoutdiff.ordered import OrderedDiT, build_model
    cfg = model_config(vocab, in_order=in_order, patch=8 if in_order else 4, shared_keys=in_order)
    whole = Ensemble([build_model(cfg) for _ in range(n)], model.trees)
    tensors = to_tensors(whole)
    again = from_tensors(tensors, cfg, n)
    assert isinstance(again.members[0], OrderedDiT) == in_order and all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    assert any(k.startswith('members.') for k in tensors) == (n > 1) and {k for k in tensors if k.startswith('trees.')} == {f'trees.{k}' for k in model.trees.state_dict()}
    assert n > 1 or {k for k in tensors if not k.startswith('trees.')} == set(whole.members[0].state_dict())


def test_shares_start_as_the_trees_were_given_theirs(model, vocab, items):
    rows = Examples(items.test, vocab, model.cfg.image_size)
    vote = Vote(as_ensemble(model), collate([rows[0], rows[1]]))
    assert vote.shares.sum(0).allclose(torch.ones(2)) and vote.shares[-1].allclose(model.trees.share.expand(2)) and len(vote) == 3
