"Curriculum, timestep groups, data dropout, modality weights, multi-scale: what each does to a run, and that it can be resumed."
import json
import math
import pickle
from types import SimpleNamespace as Bag

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback, CancelTrainException

from layoutdiff.core import LayoutError
from layoutdiff.data import Batches, Examples
from layoutdiff.items import Items, get_items
from layoutdiff.learner import layout_learner, make_learner, run_callbacks, seed_all
from layoutdiff.model import model_config
from layoutdiff.ordered import build_model
from layoutdiff.run import Checkpoint
from layoutdiff.sample import predict_tables
from layoutdiff.settings import Settings
from layoutdiff.shards import open_shards, write_shards
from layoutdiff.slots import Vocab
from layoutdiff.tasks import blank_state
from layoutdiff.techniques import technique_callbacks, technique_config
from layoutdiff.techniques.curriculum import Curriculum, stages_of
from layoutdiff.techniques.datadropout import DataDropout, right_probs
from layoutdiff.techniques.modality import ModalityWeighting
from layoutdiff.techniques.multiscale import MultiScale, views_of
from layoutdiff.techniques.timegroups import TimestepGroups
from layoutdiff.techniques.variance import VarianceAware
from layoutdiff.train import fit
from layoutdiff.variants import Augmented, AugmentedExamples

tiny = dict(size='tiny', drop_pixels=1, p_free=0)
quick = dict(steps=4, epochs=2, size='tiny', members=1, trees=0)
def quiet(line): pass


@pytest.fixture(scope='module')
def items(): return get_items('sample')


@pytest.fixture(scope='module')
def shards(items, tmp_path_factory):
    "Thirty sections in ten tar files: two windows."
    out = tmp_path_factory.mktemp('shards')
    write_shards({'train': items.train}, out, per_shard=3)
    return open_shards(out).train


@pytest.fixture(autouse=True)
def one_thread(): torch.set_num_threads(1)


class Seen(Callback):
    "The rows of every training batch, by epoch, and their learning rate."
    order = 95
    def __init__(self): self.rows, self.lr = {}, {}
    def after_batch(self):
        if not self.training: return
        self.rows.setdefault(self.epoch, []).extend(self.dls.train.dataset.lists[self.iter])
        self.lr.setdefault(self.epoch, []).append(self.opt.hypers[-1]['lr'])


def run(train, s, cbs=(), val=None, score=None, vocab=None, tmp=None):
    "A whole run with the callbacks that `fit` uses; `score`: of each epoch, instead of the true one."
    seed_all(0)
    val = val or Examples(get_items('sample').val[:2], train.vocab, s.image_size)
    learn = make_learner(train, val, build_model(model_config(train.vocab, 'tiny', image_size=s.image_size, **technique_config(s))), s, tmp)
    learn.add_cbs([*cbs, *run_callbacks(learn, s, val, lambda m: None, csv='x.csv', tell=quiet)])
    if score is not None:
        class Fixed(Callback):
            order = 31
            def after_validate(self): self.learn.validation.scores['score'] = score(self.epoch)
        learn.add_cb(Fixed())
    with learn.no_bar(), learn.no_logging(): learn.fit(s.epochs)
    return learn


def examples(items, n=30): return Examples(items.train[:n], Vocab.build(items.train), pictures=False)


# ---- all of them

ON = dict(curriculum=dict(curriculum=True), groups=dict(timestep_groups=3, timestep_share=.5), dbpd=dict(data_dropout='dbpd'), srd=dict(data_dropout='srd'),
          modality=dict(modality_weighting=True), multi=dict(multi_scale=.5))
ON['all'] = {k: v for o in ON.values() for k, v in o.items()}


def test_all_are_off_by_default():
    names = {type(c).__name__ for c in technique_callbacks(Settings())}
    assert not names & {'Curriculum', 'TimestepGroups', 'DataDropout', 'ModalityWeighting', 'MultiScale'} and technique_config(Settings()) == {}
    assert {'Curriculum', 'TimestepGroups', 'DataDropout', 'ModalityWeighting', 'MultiScale'} <= {type(c).__name__ for c in technique_callbacks(Settings(**ON['all']))}


@pytest.mark.parametrize('name', ON)
def test_each_trains_from_start_to_end(tmp_path, items, name):
    "With pictures and free batches, through all stages of a run; its file opens."
    few = Items(train=items.train[:10], val=items.val[:2], split_given=True)
    r = fit(few, tmp_path, tell=quiet, **{**quick, 'steps': 12, 'epochs': 3}, bs=4, image_size=32, p_free=.2, **ON[name])
    assert r.results[-1]['train_loss'] > 0 and len(r.results) == 3 and r.config['settings'].items() >= ON[name].items()
    assert len(predict_tables(r.checkpoint.model, Examples(items.val, r.checkpoint.vocab, 32), 2)) == len(items.val)


# ---- the planner

def test_a_pass_over_shards_has_each_allowed_section_once(shards):
    b = Batches(Examples(shards, shards.facts().vocab), bs=3, steps=4)
    ok = shards.n_elements <= 15
    b.restrict('small', ok)
    b.plan()
    first, n = sum(b.lists, []), int(ok.sum())
    while len(first) < n: b.epoch += 1; b.plan(); first += sum(b.lists, [])
    assert len(set(first[:n])) == n and all(ok[first])


def test_a_mask_that_changes_begins_a_new_pass_and_resumes_alike(shards):
    "From shards, a run that resumes in the middle of an epoch has the batches of the unbroken one."
    ex, ok = Examples(shards, shards.facts().vocab), shards.n_elements <= 15
    def at(epoch, **kwargs):
        b = Batches(ex, bs=3, steps=4, seed=7, **kwargs)
        for b.epoch in range(b.epoch, epoch + 1):
            if b.epoch >= 2: b.restrict('small', ok, *([2] if kwargs else []))
            b.plan()
        return b.lists
    assert at(4) == at(4, start=16) and at(4)[3:] == at(4, start=19)
    assert at(1) == Batches(ex, bs=3, steps=4, seed=7, start=4).lists       # before it changes, nothing does


def test_masks_add_up_and_go(items):
    b = Batches(examples(items), bs=4, steps=3)
    plain = b.lists
    small, even = np.array([len(s.layout) <= 15 for s in items.train]), np.arange(30) % 2 == 0
    b.restrict('a', small); b.restrict('b', even); b.plan()
    assert all(small[i] and even[i] for l in b.lists for i in l) and (b.allowed(but='a') == even).all()
    b.restrict('a', None); b.restrict('b', None); b.plan()
    assert b.lists == plain
    with pytest.raises(LayoutError, match='leave all of them out'): b.restrict('none', np.zeros(30, bool))


# ---- curriculum

def n_of(rows, n): return [n[i] for i in rows]


@pytest.mark.parametrize('kind', ['memory', 'shards', 'variants'])
def test_stages_see_what_they_should(tmp_path, items, shards, kind):
    "At most 5, at most 15, all; what was in a stage stays in."
    sections = shards if kind == 'shards' else items.train
    vocab = Vocab.build(items.train)
    ex = AugmentedExamples(Augmented(sections, 3), vocab, pictures=False) if kind == 'variants' else Examples(sections, vocab, pictures=False)
    s, seen = Settings(**tiny, steps=60, epochs=6, bs=4, patience=1, curriculum=True), Seen()
    run(ex, s, [seen], tmp=tmp_path, score=lambda e: 1 - e)     # it gets worse and worse: without the curriculum the run would stop after two epochs
    n = ex.per_row([len(o.layout) for o in items.train])
    of = {e: n_of(r, n) for e, r in seen.rows.items()}
    assert len(n) == len(ex) and max(of[0] + of[1]) <= 5 < max(of[2] + of[3]) <= 15 < max(of[4]) and min(of[2]) <= 5 and min(of[4]) <= 15
    assert set(of) >= {0, 1, 2, 3, 4}


def test_patience_ends_a_stage_earlier_and_rates_fall(tmp_path, items):
    s, seen = Settings(**tiny, steps=24, epochs=12, bs=4, curriculum=True, curriculum_pace='patience', curriculum_patience=2, curriculum_lr='1,.5,.25', warmup=0), Seen()
    learn = run(examples(items), s, [seen], tmp=tmp_path, score=lambda e: float(e == 0))   # never better than at first
    n = [len(o.layout) for o in items.train]
    tops = [max(n_of(seen.rows[e], n)) for e in range(8)]
    assert [t <= 5 for t in tops] == [True] * 3 + [False] * 5         # 0 is the best, 1 and 2 are no better
    assert all(t <= 15 for t in tops[3:6]) and max(tops[6:]) > 15     # 3 sets the mark of its stage, 4 and 5 ...
    cosine = lambda k: .5 * (1 + math.cos(math.pi * k / 24)) * s.lr
    assert all(math.isclose(seen.lr[e][0], cosine(2 * e) * f, rel_tol=1e-6) for e, f in ((1, 1), (4, .5), (7, .25)))
    assert learn.dls.train.dataset.masks == {}                        # nothing is left behind


def test_a_stage_of_few_is_skipped_and_wrong_settings_are_refused():
    assert [k for k, _ in stages_of([3, 9, 14, 30], (5, 15), 24)] == [2]
    for wrong in (dict(curriculum_pace='epoch'), dict(curriculum_lr='1,2'), dict(curriculum_lr='1;2;3')):
        with pytest.raises(LayoutError): technique_callbacks(Settings(curriculum=True, **wrong))


def test_the_curriculum_resumes(tmp_path, items):
    "Its state at the end of each epoch, put into a new one, leads to the same stages."
    def plain(state=None, start=0):
        cb, states = Curriculum((5, 15), 'patience', 2), []
        if state: cb.load_state_dict(json.loads(json.dumps(state)))
        b = Batches(examples(items), bs=4, steps=2, start=2 * start)
        cb.learn = Bag(dls=Bag(train=Bag(dataset=b)), n_epoch=12, pct_train=0., training=True, validation=Bag(scores={}))
        cb.before_fit()
        for epoch in range(start, 12):
            cb.learn.epoch, b.epoch = epoch, epoch
            cb.before_epoch(); b.plan()
            for i in range(2): cb.learn.pct_train = (epoch * 2 + i) / 24; cb.after_batch()
            cb.learn.validation.scores['score'] = float(epoch == 0)
            cb.after_epoch()
            states.append((cb.stage, b.lists, cb.state_dict()))
        return states
    whole = plain()
    assert [k for k, *_ in whole][:8] == [0, 0, 0, 1, 1, 1, 2, 2]
    for cut in (1, 3, 5, 8): assert [o[:2] for o in plain(whole[cut - 1][2], cut)] == [o[:2] for o in whole[cut:]]


# ---- timestep groups

def test_groups_off_leaves_no_trace_in_the_file(items):
    vocab = Vocab.build(items.train)
    off, on = (build_model(model_config(vocab, 'tiny', time_groups=g)).state_dict() for g in (1, 3))
    assert set(on) - set(off) == {'groups.table', 'groups.up', 'groups.down'}


def test_the_time_chooses_the_adapter(items):
    "At first nothing differs; then a change of one group is felt at its times only."
    torch.manual_seed(0)
    ex = examples(items, 3)
    model = build_model(model_config(ex.vocab, 'tiny', time_groups=3)).eval()
    for p in (model.label.weight, model.time[-1].weight): torch.nn.init.normal_(p, std=.1)
    batch = Batches(ex, bs=3, steps=1)[0][0]
    state = blank_state(batch, model.cfg)
    def at(t):
        with torch.no_grad(): return model(batch, {**state, 't': torch.tensor(t)})['label']
    times = [.1, .5, .9]
    plain = at(times)
    for which in ('table', 'up'):
        before = getattr(model.groups, which).data.clone()
        getattr(model.groups, which).data[1] += .1
        assert [not torch.equal(a, b) for a, b in zip(at(times), plain)] == [False, True, False], which
        getattr(model.groups, which).data = before


def test_first_the_shared_part_then_the_adapters(items):
    class Grads(Callback):
        order = 95
        def before_fit(self): self.rows = []
        def before_step(self):
            own = {id(p) for p in self.model.groups.parameters()}
            some = lambda inside: any(p.grad is not None and p.grad.abs().sum() > 0 for p in self.model.parameters() if (id(p) in own) == inside)
            self.rows.append((self.pct_train >= .5, some(False), some(True)))
    for freeze in (True, False):
        torch.manual_seed(0)
        learn = layout_learner(items.train[:4], items.val[:1], Settings(**tiny, steps=12, epochs=2, bs=4, timestep_groups=2), cbs=[TimestepGroups(.5, freeze), Grads()])
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2)
        assert {r for r in learn.grads.rows} == {(False, True, False), (True, not freeze, True)}
        assert all(p.requires_grad for p in learn.model.parameters()) and learn.model.groups.up.abs().sum() > 0


def test_adapters_are_saved_used_and_kept_in_fine_tuning(tmp_path, items):
    few = Items(train=items.train[:6], val=items.val[:2], split_given=True)
    r = fit(few, tmp_path, tell=quiet, **{**quick, 'steps': 20}, bs=6, timestep_groups=3, timestep_share=.8, ema=0)
    c = r.checkpoint
    net = c.model.members[0]
    assert net.cfg.time_groups == 3 and net.groups.up[2].abs().sum() > 0
    batch = Batches(Examples(items.val, c.vocab), bs=4)[0][0]
    state = blank_state(batch, net.cfg)
    with torch.no_grad():
        used = net(batch, state)['label']
        net.groups.up.zero_()
        assert not torch.equal(used, net(batch, state)['label'])
    again = fit(few, tmp_path, init=r.path, tell=quiet, **quick, interpolate=False).checkpoint.model.members[0]       # off: the adapters stay as they were learnt
    assert again.cfg.time_groups == 3 and again.groups.up.abs().sum() > 0
    fresh = fit(few, tmp_path, init='base', tell=quiet, **quick, interpolate=False, timestep_groups=2).checkpoint.model.members[0]
    assert fresh.cfg.time_groups == 2 and fresh.groups.up.shape[0] == 2


def test_early_stopping_waits_for_the_adapters(tmp_path, items):
    learn = run(examples(items, 4), Settings(**tiny, steps=8, epochs=8, bs=4, patience=1, timestep_groups=2, timestep_share=.4), tmp=tmp_path, score=lambda e: -e)
    assert len(learn.recorder.values) == 6 and learn.model.groups.up.abs().sum() > 0   # the adapters begin with step 5, epoch 5 does not count any more


def test_adapters_need_a_model_that_has_them(items):
    learn = layout_learner(items.train[:2], items.val[:1], Settings(**tiny, steps=2, epochs=1), cbs=TimestepGroups())
    with pytest.raises(LayoutError, match='time_groups'):
        with learn.no_bar(), learn.no_logging(): learn.fit(1)


# ---- data dropout

def test_right_probs_are_those_of_the_model(items):
    "Against a loop over single sections; no random number is used up."
    ex = examples(items, 7)
    torch.manual_seed(0)
    model = build_model(model_config(ex.vocab, 'tiny', dropout=.5))
    torch.nn.init.normal_(model.label.weight, std=.5)
    was, found = torch.get_rng_state(), right_probs(model, ex, bs=3)
    assert torch.equal(was, torch.get_rng_state()) and model.training
    model.eval()
    for i in range(7):
        batch = Batches(Examples(items.train[i:i+1], ex.vocab, pictures=False), bs=1)[0][0]
        with torch.no_grad(): p = model(batch, blank_state(batch, model.cfg))['label'][0].softmax(-1)
        assert math.isclose(found[i], float(p[range(len(p)), batch['label'][0]].mean()), rel_tol=1e-3)


class Probs(Callback):
    "What each epoch begins with: the probabilities, and the mask that was made of them."
    order = DataDropout.order + 1
    def before_fit(self): self.rows = []
    def before_epoch(self):
        b = self.dls.train.dataset
        ex = b.examples
        self.rows.append((ex.per_row(right_probs(self.model, Examples(ex.sections, ex.vocab, pictures=False))), b.masks.get('data_dropout')))


@pytest.mark.parametrize('kind', ['memory', 'variants', 'shards'])
def test_dbpd_trains_on_what_is_hard(tmp_path, items, shards, kind):
    vocab = Vocab.build(items.train)
    ex = AugmentedExamples(Augmented(items.train, 2), vocab, pictures=False) if kind == 'variants' else Examples(shards if kind == 'shards' else items.train, vocab, pictures=False)
    s, seen, probs = Settings(**tiny, steps=60, epochs=5, bs=4, lr=4e-3, ema=0, data_dropout='dbpd', data_dropout_tau=.4), Seen(), Probs()
    learn = run(ex, s, [seen, probs], tmp=tmp_path)
    assert probs.rows[0][1] is None and probs.rows[-1][1] is None and any(m is not None and not m.all() for _, m in probs.rows)   # the first and the last have all
    for e, (p, mask) in enumerate(probs.rows):
        if mask is None: continue
        hardest = np.argsort(p, kind='stable')[:s.bs]
        assert set(np.flatnonzero(mask)) == set(np.flatnonzero(p < .4)) | set(hardest) and set(seen.rows[e]) <= set(np.flatnonzero(mask))
        assert len(seen.lr[e]) == math.ceil(12 * mask.sum() / len(ex))
    assert len(seen.rows) == 5 and learn.clock.step == 60 and learn.train_iter < 60


def test_srd_draws_as_many_as_it_says(tmp_path, items):
    s, seen = Settings(**tiny, steps=64, epochs=8, bs=4, data_dropout='srd', data_dropout_gamma=.8, data_dropout_revision=2), Seen()
    learn = run(examples(items), s, [seen], tmp=tmp_path)
    sizes = [30 if e in (0, 6, 7) else math.ceil(.8 ** e * 30) for e in range(8)]
    assert np.allclose(learn.data_dropout.shares, [n / 30 for n in sizes])
    assert [len(seen.lr[e]) for e in range(8)] == [math.ceil(8 * n / 30) for n in sizes]
    assert all(len(set(seen.rows[e])) <= n for e, n in enumerate(sizes)) and learn.clock.step == 64
    assert seen.lr[7][-1] < seen.lr[0][0]                             # the schedule comes to its end


def test_data_dropout_stays_within_the_stage(tmp_path, items):
    s, seen = Settings(**tiny, steps=36, epochs=6, bs=4, lr=4e-3, curriculum=True, data_dropout='dbpd', data_dropout_tau=.5), Seen()
    run(examples(items), s, [seen], tmp=tmp_path)
    n = [len(o.layout) for o in items.train]
    assert max(n_of(seen.rows[0] + seen.rows[1], n)) <= 5 and max(n_of(seen.rows[2] + seen.rows[3], n)) <= 15


def test_data_dropout_resumes_in_the_middle_of_an_epoch(items):
    "The state is put into a new callback: the same sections, the same number of steps."
    ex = examples(items)
    def plain(state=None, start=0, stop=None):
        cb, steps = DataDropout('srd', gamma=.6, seed=3), []
        if state: cb.load_state_dict(pickle.loads(pickle.dumps(state)))
        b = Batches(ex, bs=4, steps=5, start=start)
        cb.learn = Bag(dls=Bag(train=Bag(dataset=b)), n_epoch=5, pct_train=0., training=True, clock=Bag(step=start))
        cb.before_fit()
        for epoch in range(5):
            cb.learn.epoch = epoch
            cb.before_epoch()                                            # of epochs that are skipped, too
            if epoch < b.epoch: continue
            b.plan()
            for i, rows in enumerate(b.lists):
                if len(steps) == stop: return cb.state_dict(), cb.learn.clock.step
                cb.learn.iter, cb.learn.clock.step, cb.learn.pct_train = i, cb.learn.clock.step + 1, cb.learn.clock.step / 25
                try: cb.before_batch()
                except CancelTrainException: break
                steps.append((epoch, rows))
                cb.after_batch()
            b.epoch += 1
        return steps
    whole = plain()
    assert [sum(e == k for e, _ in whole) for k in range(5)] == [5, 3, 2, 2, 5]
    for cut in (2, 5, 7, 9, 10, 13):
        state, step = plain(stop=cut)
        assert plain(state, step) == whole[cut:], cut


def test_an_epoch_ends_early_with_workers_too(tmp_path, items):
    r = fit(Items(train=items.train[:12], val=items.val[:2], split_given=True), tmp_path, tell=quiet, **{**tiny, **quick, 'steps': 24, 'epochs': 4}, bs=4, workers=1, data_dropout='srd', data_dropout_gamma=.5)
    assert [int(o['step']) for o in r.results] == [6, 9, 11, 17]


def test_data_dropout_refuses_other_names():
    with pytest.raises(LayoutError, match="did you mean 'dbpd'"): technique_callbacks(Settings(data_dropout='dbp'))


# ---- the losses

def test_modality_weights_move_training_alone(items):
    torch.manual_seed(0)
    s = Settings(size='tiny', steps=60, epochs=2, bs=4, image_size=32, drop_pixels=.5, drop_boxes=0, p_free=0)
    learn = layout_learner(items.train[:8], items.val[:2], s, cbs=ModalityWeighting())
    plain = learn.loss_func.terms
    class Look(Callback):
        order = 95
        def before_fit(self): self.rows = []
        def after_loss(self):
            loss, w = self.learn.loss_func, self.learn.modality_weighting.weighting
            with torch.no_grad(): terms = plain(self.pred, *self.yb)
            own = float(sum(loss.weights[k] * v for k, v in terms.items()))
            self.rows.append((self.training, own, float(self.loss), dict(w.factors()), dict(w.last)))
    learn.add_cb(Look())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2)
    assert all(math.isclose(own, loss, rel_tol=1e-5) for training, own, loss, *_ in learn.look.rows if not training)
    late = [r for r in learn.look.rows if r[0]][-8:]
    assert any(abs(own - loss) > 1e-3 * own for _, own, loss, *_ in late) and set(late[-1][4]) >= {'label', 'wrap', 'box'}
    assert all(.25 <= f <= 4 for f in late[-1][3].values())
    again = ModalityWeighting()
    again.load_state_dict(json.loads(json.dumps(learn.modality_weighting.state_dict())))
    again.learn = Bag(loss_func=Bag(terms=plain))
    again.before_fit()
    assert again.weighting.factors() == learn.modality_weighting.weighting.factors()


@pytest.mark.parametrize('p', [0., .5, 1.])
def test_a_share_of_the_steps_is_read_twice(items, p):
    torch.manual_seed(0)
    s = Settings(size='tiny', steps=60, epochs=2, bs=4, image_size=32, drop_pixels=.5, p_free=.3)
    learn = layout_learner(items.train[:8], items.val[:2], s, cbs=MultiScale(p, .5))
    before = dict(learn.loss_func.weights)
    class Look(Callback):
        order = 95
        def before_fit(self): self.rows = []
        def after_loss(self): self.rows.append((self.training, {k for k in ('coarse', 'upper') if k in self.pred}, set(views_of(self.xb[0])), float(self.loss)))
    learn.add_cb(Look())
    with learn.no_bar(), learn.no_logging(): learn.fit(2)
    could = [r for r in learn.look.rows if r[0] and r[2]]
    twice = [r for r in could if r[1]]
    assert not any(r[1] for r in learn.look.rows if not r[0]) and all(r[1] <= r[2] and len(r[1]) == 1 for r in twice)
    assert abs(len(twice) / len(could) - p) < .2 and (p < 1 or {'coarse', 'upper'} == set().union(*(r[1] for r in twice)))
    assert learn.loss_func.weights == before                        # undone


def test_the_disagreement_is_part_of_the_loss_and_has_a_gradient(items):
    torch.manual_seed(0)
    learn = layout_learner(items.train[:4], items.val[:1], Settings(**tiny, steps=4, epochs=1, bs=4), cbs=MultiScale(1., 3.))
    torch.nn.init.normal_(learn.model.label.weight)
    class Look(Callback):
        order = 95
        def after_loss(self):
            if not self.training: return
            own, loss = self.learn.multi_scale, self.learn.loss_func
            plain = sum(loss.weights[k] * v for k, v in own.plain[0](self.pred, *self.yb).items())
            extra = own.loss.terms(self.pred, *self.yb)
            assert set(extra) == {'upper'} and math.isclose(float(self.loss), float(plain + 3 * extra['upper']), rel_tol=1e-5)
            g = torch.autograd.grad(extra['upper'], self.learn.model.label.weight, retain_graph=True)[0]
            assert g.abs().sum() > 0 and 0 < extra['upper'] < 1
    learn.add_cb(Look())
    with learn.no_bar(), learn.no_logging(): learn.fit(1)


def test_the_losses_go_together(items):
    "Weights by variance know the terms of the second reading, by name."
    torch.manual_seed(0)
    learn = layout_learner(items.train[:6], items.val[:1], Settings(**tiny, steps=50, epochs=1, bs=4), cbs=[VarianceAware(), ModalityWeighting(), MultiScale(1.)])
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert math.isfinite(learn.recorder.losses[-1])
