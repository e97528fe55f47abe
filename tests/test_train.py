"Training on data as users have them: few, partly broken, partly unlabelled, without HTML, out of time."
import json
import shutil
import time
from dataclasses import replace

import pytest
import torch
from fastai.callback.core import Callback
from hypothesis import given, settings, strategies as st

from layoutdiff.variants import Augmented, AugmentedExamples
from layoutdiff.callbacks import averaged, warmup_cosine
from layoutdiff.core import LayoutError
from layoutdiff.data import Examples
from layoutdiff.sections import as_sections
from layoutdiff.listing import SAMPLE
from layoutdiff.items import Items, get_items
from layoutdiff.losses import VarianceAwareLossScheduler
from layoutdiff.ordered import build_model
from layoutdiff.model import model_config
from layoutdiff.phases import PHASES, RULES, Situation, explain, phase_for, settle
from layoutdiff.run import Checkpoint, open_run
from layoutdiff.sample import predict_tables
from layoutdiff.slots import Vocab
from layoutdiff.evaluate import evaluate
from layoutdiff.ensemble import Ensemble
from layoutdiff.folds import agreement, fit_folds, refit
from layoutdiff.learner import layout_learner, make_learner, run_callbacks
from layoutdiff.settings import Settings
from layoutdiff.train import fit, settle_data

quick = dict(steps=4, epochs=2, size='tiny', members=1)


def quiet(line): pass


@pytest.fixture(scope='module')
def items(): return get_items('sample')


@pytest.mark.parametrize('n', [1, 4, 7])
def test_fewer_sections_than_a_batch_train(tmp_path, items, n):
    run = fit(Items(train=items.train[:n]), tmp_path, tell=quiet, **quick)
    assert run.results[-1]['step'] == 4 and run.results[-1]['train_loss'] > 0
    assert open_run(run.path).checkpoint.vocab.types


def test_broken_and_unlabelled_are_left_out(tmp_path, items):
    data, told = tmp_path/'data', []
    for s in items.train[:5]: shutil.copytree(SAMPLE/'train'/s.id, data/s.id)
    (data/items.train[0].id/'example.json').write_text('{"id": ')
    path = data/items.train[1].id/'example.json'
    d = json.loads(path.read_text())
    del d['layout']
    path.write_text(json.dumps(d))
    run = fit(data, tmp_path/'runs', tell=told.append, **quick)
    text = '\n'.join(told)
    assert 'set aside' in text and items.train[0].id in text and '1 without layout, 1 set aside' in text
    assert sum(map(len, run.config['splits'].values())) == 3


def test_nothing_left_is_one_clear_error(tmp_path):
    (tmp_path/'a').mkdir()
    (tmp_path/'a'/'example.json').write_text('{')
    with pytest.raises(LayoutError, match='no section could be read'): fit(tmp_path, tmp_path/'runs', tell=quiet, **quick)
    assert not (tmp_path/'runs').exists()


def test_pictures_without_html_train_and_predict(tmp_path, items):
    bare = [replace(s, structure=None) for s in items.train[:6]]
    run = fit(Items(train=bare[:4], val=bare[4:], split_given=True), tmp_path, tell=quiet, **quick)
    c = run.checkpoint
    model, vocab, s = c.model, c.vocab, c.settings
    tables = predict_tables(model, Examples(bare, vocab, s.image_size), 2)
    assert all(t.free for t in tables) and 'type_f1' in run.results[-1]


def test_sections_with_and_without_html_mix(tmp_path, items):
    mixed = [replace(s, structure=None) if i % 2 else s for i, s in enumerate(items.train[:6])]
    run = fit(Items(train=mixed, val=mixed, split_given=True), tmp_path, tell=quiet, **quick)
    assert run.results[-1]['element_f1'] >= 0


def test_no_boxes_and_no_pictures(tmp_path, items):
    bare = [replace(s, screenshot=None, size=None, structure=type(s.structure)([replace(n, box=None) for n in s.structure]),
                    layout=type(s.layout)([replace(e, box=None) for e in s.layout], s.layout.props)) for s in items.train[:5]]
    run = fit(Items(train=bare, val=bare, split_given=True), tmp_path, tell=quiet, **quick)
    model, vocab = run.checkpoint.model, run.checkpoint.vocab
    assert not model.cfg.pixels and [t.label for t in predict_tables(model, Examples(items.train[:2], vocab), 1)] == \
        [t.label for t in predict_tables(model, Examples(items.train[:2], vocab), 1, given=('structure',))]   # pictures it never learned to read
    assert not model.cfg.boxes and all(b is None for t in predict_tables(model, Examples(bare, vocab), 2) for b in t.box)


def test_time_is_kept_by_all_stages(tmp_path, items):
    "Trees, calibration and pictures included: 0.1 trained for the time given and then began with them. Twice the time is room for a busy machine."
    start = time.monotonic()
    run = fit(items, tmp_path, time=12, tell=quiet, steps=100_000, epochs=1000, size='tiny', members=2, trees=.5, drop_pixels=1, p_free=0)
    assert time.monotonic() - start < 12 * 2 and run.results[-1]['step'] < 100_000
    assert run.results[-1]['lr'] < 1e-3 and run.weights('last').is_file()
    assert len(run.checkpoint.model.members) == 2 and run.checkpoint.model.trees is not None


def test_last_has_all_that_best_has(tmp_path, items):
    "In 0.1 the last weights lacked the trees and the temperature."
    run = fit(Items(train=items.train[:8], val=items.val[:4], split_given=True), tmp_path, tell=quiet, **{**quick, 'trees': .5})
    best, last = (Checkpoint.load(run.weights(n)) for n in ('best', 'last'))
    assert best.model.trees is not None and all(torch.equal(a, b) for a, b in zip(best.model.trees.buffers(), last.model.trees.buffers()))
    assert best.model.cfg.conf_temperature == last.model.cfg.conf_temperature != 1
    assert best.settings == last.settings


def test_a_checkpoint_is_nobody_elses(tmp_path, items):
    "In 0.1 `Run.loaded` was cached, and who changed it changed it for all."
    run = open_run('base')
    run.checkpoint.model.cfg.conf_temperature = 99.
    assert run.checkpoint.model.cfg.conf_temperature != 99


def test_phase_and_train_settle_alike(tmp_path, items):
    "In 0.1 `layoutdiff phase` did not know of pictures alone nor of pretrained weights: nine settings differed."
    bare = Items(train=[replace(s, structure=None) for s in items.train[:6]], val=[replace(s, structure=None) for s in items.val[:2]], split_given=True)
    for data, init in ((bare, 'none'), (Items(train=items.train[:6], val=items.val[:2], split_given=True), 'base')):
        settled = settle_data(data, init=init, tell=quiet, steps=2, epochs=1, members=1)[1]
        run = fit(data, tmp_path, init=init, tell=quiet, steps=2, epochs=1, members=1)
        assert run.config['settings'] == settled.settings.asdict() and run.config['rules'] == {k: r.name for k, r in settled.rules.items() if r.name != 'default'}


def test_every_value_is_explained_by_a_rule():
    for n, kw in ((5, {}), (150, {}), (1500, dict(html=False)), (5_000, {}), (50_000, {}), (500_000, {}), (9, dict(pretrained=dict(size='mini', image_size=128, pixels=False)))):
        settled = settle(Situation(n, phase_for(n).name, **kw), lr=3e-4)
        table, default = explain(settled), Settings()
        for k, v in settled.settings.asdict().items():
            assert k in table and (v == getattr(default, k) or settled.rules[k].name != 'default')
        assert settled.rules['lr'].name == 'given' and phase_for(n).title in table
    assert {p.name for p in PHASES} <= {r.name for r in RULES} and all(r.why for r in RULES)


def test_fit_lists_every_setting():
    from inspect import signature
    assert set(Settings().asdict()) <= set(signature(fit).parameters)


def test_fastai_users_find_what_they_know(items):
    learn = layout_learner(items.train[:6], items.val[:3], Settings(size='tiny', steps=8, epochs=2, drop_pixels=1, p_free=0))
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2)
    assert len(learn.recorder.losses) == 8
    for picture in (learn.dls.show_batch(max_n=2), learn.show_results(max_n=1)): assert picture is not None


def test_patience_ends_training(tmp_path, items):
    run = fit(Items(train=items.train[:4], val=items.val[:2], split_given=True), tmp_path, tell=quiet, steps=60, epochs=60, patience=2, size='tiny', members=1, lr=1e-7)
    assert len(run.results) < 60


def test_prediction_is_the_same_in_any_company(tmp_path, items):
    run = fit(Items(train=items.train[:6], val=items.val[:2], split_given=True), tmp_path, tell=quiet, **quick)
    model, vocab = run.checkpoint.model, run.checkpoint.vocab
    with torch.no_grad():
        for p in model.parameters(): p.add_(.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    alone = [predict_tables(model, Examples([s], vocab), 1)[0].label for s in items.test]
    together = [t.label for t in predict_tables(model, Examples(items.test, vocab), 1)]
    same = sum(a == b for x, y in zip(alone, together) for a, b in zip(x, y)) / sum(map(len, alone))
    assert same > .999


def test_a_run_begins_with_another(tmp_path, items):
    "Before its first step a run that begins with another gives that one's answers, whatever words it adds."
    first = fit(Items(train=items.train[:6]), tmp_path, tell=quiet, **quick)
    told, more = [], replace(items.train[7], layout=replace_type(items.train[7].layout, 'heading', 'title-of-mine'))
    second = fit(Items(train=[more], val=[more], split_given=True), tmp_path, init=first.path, tell=told.append, members=1, steps=1, epochs=1, lr=1e-7, warmup=.9)
    (old, v1), (new, v2) = ((c.model.members[0], c.vocab) for c in (first.checkpoint, second.checkpoint))
    assert v2.types[:len(v1.types)] == v1.types and 'title-of-mine' in v2.types and any('title-of-mine' in line for line in told)
    assert torch.allclose(new.blocks[0].qkv.weight, old.blocks[0].qkv.weight, atol=1e-4)
    assert torch.allclose(new.slots.label.weight[:len(v1.labels)], old.slots.label.weight[:-1], atol=1e-4)
    assert second.config['init'] == str(first.path)


def replace_type(layout, old, new):
    return type(layout)([replace(e, type=new if e.type == old else e.type) for e in layout], layout.props)


def test_lower_levels_learn_later_and_more_slowly(tmp_path, items):
    first = fit(Items(train=items.train[:6]), tmp_path, tell=quiet, **quick)
    frozen = fit(Items(train=items.train[:6]), tmp_path, init=first.path, tell=quiet, members=1, steps=3, epochs=1, layer_decay=.5, unfreeze=1, ema=0)
    old, new = (r.checkpoint.model.members[0] for r in (first, frozen))
    assert not torch.equal(new.label.weight, old.label.weight) and torch.equal(new.slots.tag.weight, old.slots.tag.weight)


# ---- repeated folds

@pytest.fixture(scope='module')
def half(items): return items.train[::2]   # six sites


@pytest.fixture(scope='module')
def folds(tmp_path_factory, half):
    told = []
    run = fit_folds(Items(train=half), 3, repeats=2, seed=5, out=tmp_path_factory.mktemp('folds'), tell=told.append, **quick)
    return run, json.loads((run.path/'folds.json').read_text()), told


def test_every_section_is_answered_in_every_repeat_and_groups_stay_whole(folds, half):
    run, about, told = folds
    group, ids = {s.id: s.group for s in half}, {s.id for s in half}
    fold_runs = sorted((run.path/'folds').iterdir())
    assert len(fold_runs) == 6 and set(about['layouts']) == set(about['agreement']) == ids and about['seeds'] == [5, 6]
    held = [ids - set(open_run(f).config['splits']['train']) for f in fold_runs]
    for repeat in (held[:3], held[3:]):
        assert sorted(i for h in repeat for i in h) == sorted(ids)
        assert all({group[i] for i in h}.isdisjoint(group[i] for i in ids - h) for h in repeat)
    assert {frozenset(h) for h in held[:3]} != {frozenset(h) for h in held[3:]}
    assert [open_run(f).config['settings']['seed'] for f in fold_runs] == [5] * 3 + [6] * 3


def test_the_held_out_part_decides_nothing(folds, half):
    "Validation of a fold is its training part, so neither the round that is kept nor the end is chosen by what is held out."
    run, about, told = folds
    for f in (run.path/'folds').iterdir():
        splits = open_run(f).config['splits']
        assert splits['val'] == splits['train'] and not splits['test'] and len(splits['train']) < len(half)


def test_scores_of_folds_and_repeats(folds):
    run, about, told = folds
    for name, s in about['scores'].items():
        assert len(s['folds']) == 6 and len(s['repeats']['pooled']) == 2
        assert s['pooled'] == pytest.approx(sum(s['repeats']['pooled']) / 2) and s['mean'] == pytest.approx(sum(s['folds']) / 6)
        assert s['repeats']['sd'] == pytest.approx(abs(s['repeats']['pooled'][0] - s['repeats']['pooled'][1]) / 2**.5)
    assert any('mean of 2 repeats' in line for line in told) and any(line.startswith('agreement between repeats') for line in told)
    assert sum('repeat 2 of 2' in line for line in told) == 3


def test_one_repeat_is_the_first_of_several(folds, half, tmp_path):
    _, several, _ = folds
    run = fit_folds(Items(train=half), 3, seed=5, out=tmp_path, tell=quiet, **quick)
    once = json.loads((run.path/'folds.json').read_text())
    assert once['layouts'] == several['layouts'] and once['agreement'] == {}
    assert all(s['repeats']['pooled'][0] == once['scores'][n]['pooled'] for n, s in several['scores'].items())


def test_folds_leave_a_given_test_split_alone(items, half, tmp_path):
    told, kept = [], items.train[1:4:2]
    run = fit_folds(Items(train=half[:-2], val=half[-2:], test=kept, split_given=True), 2, out=tmp_path, tell=told.append, **quick)
    known = set(run.config['splits']['train'])
    assert known == {s.id for s in half} and known.isdisjoint(s.id for s in kept)
    assert any('2 sections of the test split are kept apart' in line for line in told)


# ---- once more on train and validation

def test_refit_learns_from_validation_too_and_keeps_what_it_chose(half, tmp_path):
    data = Items(train=half[:-4], val=half[-4:-2], test=half[-2:], split_given=True)
    run = fit(data, tmp_path, 'one', tell=quiet, **quick)
    again = refit(run, data, tmp_path, quiet)
    splits = again.config['splits']
    assert again.path.name == 'one-refit-001' and set(splits['train']) == {s.id for s in half[:-2]} and splits['test'] == [s.id for s in half[-2:]]
    assert all(getattr(again.checkpoint.model.cfg, k) == getattr(run.checkpoint.model.cfg, k) for k in ('conf_temperature', 'conf_smoothing'))
    assert not set(again.checkpoint.meta['groups']) & {s.group for s in half[-2:]} - {s.group for s in half[:-2]}
    scores = evaluate(again, data, baselines=('majority',), tell=quiet)
    assert scores['split'] == 'test' and scores['n_sections'] == 2 and not scores['leaked_sections']


def test_refit_of_unsplit_sections_keeps_the_test_that_the_run_cut(half, tmp_path):
    run = fit(Items(train=half), tmp_path, 'cut', tell=quiet, **quick)
    again = refit(run, Items(train=half), tmp_path, quiet)
    was, now = run.config['splits'], again.config['splits']
    assert set(now['train']) == {*was['train'], *was['val']} and now['test'] == was['test']


def test_refit_of_other_data_or_of_everything_is_refused(half, tmp_path):
    data = Items(train=half[:-2], val=half[-2:], split_given=True)
    run = fit(data, tmp_path, 'one', tell=quiet, **quick)
    with pytest.raises(LayoutError, match='not what'): refit(run, Items(train=half[:-3], val=half[-2:], split_given=True), tmp_path, quiet)
    with pytest.raises(LayoutError, match='not what'): refit(refit(run, data, tmp_path, quiet), data, tmp_path, quiet)
    same = Items(train=half[:4], val=half[:4], split_given=True)
    with pytest.raises(LayoutError, match='no validation of its own'): refit(fit(same, tmp_path, 'same', tell=quiet, **quick), same, tmp_path, quiet)


def test_agreement_of_answers(items):
    a, b = items.train[0], items.train[1]
    assert agreement([a.layout] * 3, a.structure) == 1 and agreement([a.layout, b.layout], None) < 1
    assert agreement([a.layout, a.layout, b.layout], a.structure) == pytest.approx((1 + 2 * agreement([a.layout, b.layout], a.structure)) / 3)


def test_folds_that_cannot_be(items, tmp_path):
    one_site = [s for s in items.train if s.group == items.train[0].group]
    with pytest.raises(LayoutError, match='of one group'): fit_folds(Items(train=one_site), 3, out=tmp_path, tell=quiet, **quick)
    with pytest.raises(LayoutError, match='repeats is 0'): fit_folds(items, 3, repeats=0, out=tmp_path, tell=quiet, **quick)
    assert not list(tmp_path.iterdir())


# ---- weights that follow the variance

def test_variance_aware_weights_move_training_only(tmp_path, items):
    train = Items(train=items.train[:8], val=items.val[:2], split_given=True)
    fixed, moving, again = (fit(train, tmp_path, tell=quiet, **{**quick, 'steps': 40}, variance_aware=v) for v in (False, True, True))
    weights = [r.checkpoint.model.members[0].label.weight for r in (fixed, moving, again)]
    assert torch.equal(weights[1], weights[2]) and not torch.equal(weights[0], weights[1])
    assert moving.config['settings']['variance_aware'] is True


def test_the_learner_gets_the_scheduler(items):
    examples = Examples(items.train[:4], Vocab.build(items.train))
    for on in (False, True):
        s = settle(Situation(4, 'phase1'), variance_aware=on, wrap_weight=.7, members=1).settings
        learn = make_learner(examples, examples, build_model(model_config(examples.vocab)), s)
        names = [type(c).__name__ for c in run_callbacks(learn, s, examples, lambda m: None)]
        assert learn.loss_func.weights['wrap'] == .7 and ('VarianceAware' in names) == on


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(['label', 'wrap', 'depth', 'box']), st.floats(0, 1e4), min_size=1), min_size=1, max_size=60))
def test_factors_have_mean_one_and_bounds(batches):
    "Whatever the terms, absent and zero ones among them."
    s = VarianceAwareLossScheduler(warmup=2)
    for terms in batches:
        weights = s({k: torch.tensor(v) for k, v in terms.items()})
        active = [k for k, v in terms.items() if torch.tensor(v) != 0]
        assert set(weights) == set(terms) and all(weights[k] == s.weights[k] for k in set(terms) - set(active))
        factors = [weights[k] / s.weights[k] for k in active]
        assert all(1 / s.bound - 1e-6 <= f <= s.bound + 1e-6 for f in factors) and (not factors or abs(sum(factors) / len(factors) - 1) < 1e-6)


def test_equal_variances_give_the_fixed_weights_and_state_goes_on():
    "Two terms of the same size and spread; then one grows wilder. Saved in between, it goes on alike."
    rng, s, other = torch.Generator().manual_seed(0), VarianceAwareLossScheduler(dict(label=1., box=.5)), VarianceAwareLossScheduler(dict(label=1., box=.5))
    for x in torch.rand(100, generator=rng) + .5: assert s(dict(label=x, box=x)) == dict(label=1., box=.5)
    other.load_state_dict(json.loads(json.dumps(s.state_dict())))
    for x, y in zip(torch.rand(100, generator=rng), torch.rand(100, generator=rng)):
        terms = dict(label=x * .1 + 1, box=10 * y + .01)
        assert (w := s(terms)) == other(terms)
    assert w['box'] / .5 < .5 and w['label'] > 1.5


# ---- the average of the weights, and the end

class Weights(Callback):
    "Keeps, every epoch, the averaged and the plain weights."
    order = 35
    def before_fit(self): self.epochs = []
    def after_validate(self): self.epochs.append([torch.cat([p.detach().flatten().clone() for p in m.parameters()]) for m in (averaged(self.learn), self.model)])


def learn_for(items, save, folder, **more):
    torch.manual_seed(0)
    examples = Examples(items.train[:4], Vocab.build(items.train))
    s = settle(Situation(4, 'phase1'), **{**quick, 'bs': 4, **more}).settings
    learn = make_learner(examples, examples, build_model(model_config(examples.vocab, 'tiny')), s, folder)
    before = torch.cat([p.detach().flatten().clone() for p in learn.model.parameters()])
    learn.add_cbs([*run_callbacks(learn, s, examples, save, tell=quiet), Weights()])
    with learn.no_bar(), learn.no_logging(): learn.fit(s.epochs)
    return learn, before


def test_the_averaged_weights_of_the_best_epoch_are_kept(items, monkeypatch, tmp_path):
    scores, saved = iter([.1, .5, .3, .5, .2, .4, .1, .9]), {}
    monkeypatch.setattr('layoutdiff.callbacks.quick_score', lambda model, examples, *how: dict(element_f1=next(scores), type_f1=0., exact_match=0., tree_similarity=0.))
    keep = lambda model: saved.update(best=torch.cat([p.detach().flatten().clone() for p in model.parameters()]))
    learn, _ = learn_for(items, keep, tmp_path, patience=4, steps=24, epochs=8)
    averages, plain = zip(*learn.weights.epochs)
    assert len(averages) == 6 and learn.save_best.best_epoch == 3            # the second of equals is kept, yet patience counts from the first
    assert torch.equal(saved['best'], averages[3]) and not torch.equal(saved['best'], plain[3]) and not torch.equal(saved['best'], averages[-1])


def test_a_run_of_a_hundred_steps_forgets_its_random_start(items, tmp_path):
    learn, start = learn_for(items, lambda model: None, tmp_path, steps=100, epochs=1)
    (averages, plain), = learn.weights.epochs
    fixed = .998 ** 99
    assert (averages - plain).norm() < .25 * (averages - start).norm()
    assert (averages - start).norm() > 3 * (1 - fixed) * (plain - start).norm()       # a fixed .998 would have gone a fifth of the way


def test_micro_runs_wait_fifteen_epochs():
    assert settle(Situation(35, 'phase1')).settings.patience == 15
    assert [warmup_cosine(p) for p in (.02, .04, 1)] == pytest.approx([.5, 1, 0], abs=1e-9)    # warm-up, then cosine to zero


# ---- variants are made by workers

def test_variants_are_made_beside_the_model(tmp_path, items, monkeypatch):
    "Where a second core is free; the weights are the same either way."
    vocab = Vocab.build(items.train)
    varied, plain = AugmentedExamples(Augmented(items.train, 4), vocab), Examples(items.train, vocab)
    for cores, n in ((1, 0), (2, 1), (64, 8)):
        monkeypatch.setattr('os.sched_getaffinity', lambda _: set(range(cores)), raising=False)
        assert (varied.n_workers(), plain.n_workers()) == (n, 0)
    train = Items(train=items.train[:6], val=items.val[:2], split_given=True)
    here, there = (fit(train, tmp_path, tell=quiet, workers=n, augment=4, **quick).checkpoint.model.state_dict() for n in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(here.values(), there.values()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_gpu_and_processor_agree(tmp_path, items):
    run = fit('sample', tmp_path, tell=quiet, **quick | dict(members=2))
    assert next(run.checkpoint.model.parameters()).is_cuda and len(run.results) == 2
    c = open_run('base').checkpoint
    model, vocab, s = c.model, c.vocab, c.settings
    examples = Examples(items.all, vocab, s.image_size, pictures=False)
    there, here = (predict_tables(m, examples, 8) for m in (model, model.cpu()))
    assert sum(a.label == b.label for a, b in zip(there, here)) >= len(here) - 1   # a near tie may fall either way
    assert max(abs(x - y) for a, b in zip(there, here) if a.label == b.label for x, y in zip(a.conf, b.conf)) < .01
