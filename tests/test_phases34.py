"The techniques of phases 3 and 4: what each does to a run, undone at its end, and nothing where it is off."
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.training import GradientClip

import layoutdiff.sample
import layoutdiff.techniques.mixed_precision as mixed
from layoutdiff.data import Batches, Examples
from layoutdiff.guidance import guided, no_condition
from layoutdiff.items import Items, get_items
from layoutdiff.learner import layout_learner, run_callbacks
from layoutdiff.losses import diffusion_losses
from layoutdiff.model import LayoutDiT, model_config
from layoutdiff.predict import LayoutPredictor
from layoutdiff.settings import Settings
from layoutdiff.slots import Vocab
from layoutdiff.tasks import blank_state
from layoutdiff.techniques import TECHNIQUES, technique_callbacks
from layoutdiff.techniques.accumulation import Accumulation, LRScaling, lr_factor
from layoutdiff.techniques.guidance import SCALES, Guidance
from layoutdiff.techniques.noise_injection import NoiseInjection
from layoutdiff.techniques.parallel import Parallel, for_rank, rank, share_terms, world
from layoutdiff.techniques.power_ema import PowerEMA, gamma_of, reconstruct, snapshots
from layoutdiff.techniques.stochastic_depth import StochasticDepth
from layoutdiff.techniques.uncertainty import Uncertainty
from layoutdiff.train import fit

quick = dict(size='tiny', members=1, trees=0, steps=8, epochs=2, bs=4, drop_pixels=1, p_free=0, image_size=64)
OURS = 'guidance', 'mixed_precision', 'stochastic_depth', 'noise_injection', 'parallel', 'accumulation', 'lr_scaling', 'power_ema', 'uncertainty'


def quiet(line): pass


@pytest.fixture(scope='module')
def items(): return get_items('sample')


@pytest.fixture(scope='module')
def few(items): return Items(train=items.train[:8], val=items.val[:4], split_given=True)


def train(few, tmp_path, **settings):
    told = []
    return fit(few, tmp_path, tell=told.append, workers=0, **{**quick, **settings}), told


def learner(items, s, *cbs):
    "A learner with the callbacks of a run."
    torch.manual_seed(0)
    learn = layout_learner(items.train[:12], items.val[:2], s)
    learn.add_cbs(run_callbacks(learn, s, learn.dls.valid.dataset.examples, lambda model: None, csv=Path(tempfile.mkdtemp())/'results.csv', tell=quiet))
    learn.add_cbs(cbs)
    return learn


def learn_quietly(learn, epochs=1):
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs)
    return learn


def test_all_are_off_by_default():
    assert set(OURS) <= set(TECHNIQUES) and not [k for k in OURS if TECHNIQUES[k].on(Settings())]
    on = dict(guidance=.1, mixed_precision=True, stochastic_depth=.1, noise_injection=.1, accumulation=64, lr_scaling=1, power_ema=.1, uncertainty=True)
    for k, v in on.items():
        assert [n for n in OURS if TECHNIQUES[n].on(Settings(**{k: v}))] == [k]
    assert not {type(c) for c in technique_callbacks(Settings(**on))} ^ ({type(c) for c in technique_callbacks(Settings())}
                | {Guidance, mixed.Precision, StochasticDepth, NoiseInjection, Accumulation, LRScaling, PowerEMA, Uncertainty})


# ---- guidance

def test_a_dropped_condition_tells_nothing(items):
    "Whatever the HTML and the picture are: the same answer, also where boxes were given."
    vocab = Vocab.build(items.train)
    torch.manual_seed(0)
    model = LayoutDiT(model_config(vocab)).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(.1 * torch.randn_like(p))
        batch, _ = Batches(Examples(items.train[:4], vocab), 4)[0]
        state = blank_state(batch, model.cfg)
        assert batch['has_box'].any() and batch['has_image'].any()
        html = batch['has_box']
        other = {**batch, 'image': 255 - batch['image'], 'rel': batch['rel'].flip(1), **{k: batch[k].flip(1) for k in ('tag', 'tok', 'word', 'num', 'geo', 'box')}}
        moved = {**state, 'xt': torch.where(html[..., None], other['box'] * 2 - 1, state['xt'])}
        a, b = (model(*no_condition(x, s))['label'][batch['mask']] for x, s in ((batch, state), (other, moved)))
        assert torch.allclose(a, b, atol=1e-4) and not torch.allclose(model(batch, state)['label'][batch['mask']], a, atol=1e-2)
        free, _ = no_condition(batch, state, torch.tensor([True, False, False, False]))
        assert torch.equal(free['tag'][1:], batch['tag'][1:]) and torch.equal(free['rel'][1:], batch['rel'][1:]) and not free['has_image'][0]


def test_guidance_compares_with_what_the_model_was_trained_for(items):
    vocab = Vocab.build(items.train)
    torch.manual_seed(0)
    model = LayoutDiT(model_config(vocab)).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(.1 * torch.randn_like(p))
        batch, _ = Batches(Examples(items.train[:3], vocab), 3)[0]
        state = blank_state(batch, model.cfg)
        by_picture = guided(model, batch, state, 2.)['label']
        model.cfg.guided = True
        whole, plain, nothing = guided(model, batch, state, 2.)['label'], model(batch, state)['label'], model(*no_condition(batch, state))['label']
    ok = plain > -1e3
    assert torch.allclose(whole[ok], (2 * plain - nothing)[ok], atol=1e-3) and not torch.allclose(whole[ok], by_picture[ok], atol=1e-2)


def test_the_scale_is_chosen_kept_and_used(few, tmp_path, monkeypatch):
    run, told = train(few, tmp_path, guidance=.15)
    line = next(l for l in told if l.startswith('guidance: scale'))
    assert line.count(' at ') == len(SCALES)
    c = run.checkpoint
    assert c.model.cfg.guided and c.settings.guidance_scale in SCALES and f'scale {c.settings.guidance_scale:g};' in line
    c.settings = c.settings.but(guidance_scale=3.)
    c.save(run.weights())
    asked, plain = [], layoutdiff.sample.guided
    monkeypatch.setattr(layoutdiff.sample, 'guided', lambda m, b, s, w, p: asked.append(w) or plain(m, b, s, w, p))
    LayoutPredictor(run)(structure=few.val[0].structure)
    assert set(asked) == {3.}


def test_without_guidance_the_scale_is_1(few, tmp_path):
    run, told = train(few, tmp_path, steps=2, epochs=1)
    assert not run.checkpoint.model.cfg.guided and run.checkpoint.settings.guidance_scale == 1
    assert not [l for l in told if l.startswith('guidance')]
    kept, told = train(few, tmp_path, steps=2, epochs=1, guidance=.1, guidance_scale=2)
    assert kept.checkpoint.settings.guidance_scale == 2 and 'guidance: scale 2, as given' in told


# ---- mixed precision

def test_mixed_precision_is_left_off_and_says_so(few, tmp_path, monkeypatch):
    "Where the processor does not know bf16: the same bits as without."
    monkeypatch.setattr(mixed, 'bf16_supported', lambda: False)
    (on, told), (off, _) = train(few, tmp_path, steps=4, mixed_precision=True), train(few, tmp_path, steps=4)
    assert any('left off' in l for l in told) and 'left off' in (on.path/'log.txt').read_text()
    assert all(torch.equal(a, b) for a, b in zip(on.checkpoint.model.state_dict().values(), off.checkpoint.model.state_dict().values()))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_mixed_precision_trains(items, monkeypatch, dtype):
    "fp16 with a scaled loss, bf16 without; overflow skips a step; autocast is left at the end, also when the clock ends an epoch."
    monkeypatch.setattr(mixed, 'precision_of', lambda device: dtype)
    scales = []
    class Scale(Callback):
        order = 30
        def after_step(self): scales.append(self.learn.scaler.get_scale())
    s = Settings(**{**quick, 'steps': 6, 'epochs': 1, 'mixed_precision': True})
    learn = learner(items, s, Scale())
    learn_quietly(learn)
    assert not torch.is_autocast_enabled('cpu') and all(p.dtype == torch.float32 and p.isfinite().all() for p in learn.model.parameters())
    assert (scales[-1] > 1) == (dtype == torch.float16)
    assert float(learn.recorder.losses[-1]) < float(learn.recorder.losses[0])
    learn.clock.seconds = 1e-9
    learn_quietly(learn)
    assert not torch.is_autocast_enabled('cpu')


# ---- stochastic depth, noise

@pytest.mark.parametrize('on', [dict(stochastic_depth=.5), dict(noise_injection=.5)])
def test_training_alone_is_disturbed(items, on):
    "Validation and the weights' names are as without; all is undone at the end."
    s = Settings(**{**quick, 'steps': 4, 'epochs': 1, 'lr': 1e-7, 'ema': 0., **on})
    learn, plain = (learn_quietly(learner(items, o)) for o in (s, s.but(**dict.fromkeys(on, 0.))))
    assert abs(learn.recorder.values[-1][1] - plain.recorder.values[-1][1]) < 1e-3
    assert list(learn.model.state_dict()) == list(plain.model.state_dict())
    assert not learn.model.slots._forward_hooks and not any('forward' in b.__dict__ for b in learn.model.blocks)


def test_a_block_left_out_gets_no_gradient(items):
    learn = layout_learner(items.train[:4], items.val[:2], Settings(**{**quick, 'steps': 1, 'epochs': 1}), cbs=StochasticDepth(.9))
    torch.manual_seed(0)
    kept = []
    class Kept(Callback):
        def before_step(self): kept.append([b.qkv.weight.grad is not None for b in self.model.blocks])
    learn.add_cb(Kept())
    learn_quietly(learn, 12)
    share = torch.tensor(kept).float().mean(0)
    assert share[0] > share[-1] and share[-1] < .5


# ---- large batches

def test_gathered_gradients_are_those_of_the_mean(items):
    "Of the sections gathered, whatever the batches' sizes; clipped once, as one."
    found, s = {}, Settings(**{**quick, 'bs': 5, 'steps': 1, 'epochs': 1, 'clip': 1e6, 'dropout': 0., 'accumulation': 12})
    class Grab(Callback):
        order = GradientClip.order + 1
        def before_fit(self): self.each, self.losses = [], []
        def after_loss(self):
            if not self.training: return
            n = len(self.yb[1]['mask'])
            grads = torch.autograd.grad(self.learn.loss, [p for p in self.model.parameters()], retain_graph=True, allow_unused=True)
            self.each.append((n, grads))
        def before_step(self): found['sum'] = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
    learn = learner(items, s, grab := Grab())
    learn_quietly(learn)
    total = sum(n for n, _ in grab.each)
    assert len(grab.each) > 1 and total >= 12
    for k, g in enumerate(found['sum']):
        if g is not None: assert torch.allclose(g, sum(n * e[k] for n, e in grab.each if e[k] is not None) / total, atol=1e-5)


def test_steps_are_optimizer_steps(items):
    "The schedule ends at 0 with the last of them, each epoch has its share, and the clipped norm is that of the gathered gradient."
    s = Settings(**{**quick, 'steps': 6, 'epochs': 2, 'clip': .5, 'accumulation': 10})
    norms, lrs, micro = [], [], []
    class Grab(Callback):
        order = GradientClip.order + 1
        def after_loss(self): micro.append(1) if self.training else None
        def before_step(self):
            norms.append(sum(float(p.grad.square().sum()) for p in self.model.parameters() if p.grad is not None) ** .5)
            lrs.append(self.opt.hypers[-1]['lr'])
    learn = learn_quietly(learner(items, s, Grab()), 2)
    assert len(norms) == 6 and max(norms) <= .5001 and len(micro) > 12
    assert int(next(iter(learn.opt.opt.state.values()))['step']) == 6
    plain = learner(items, s.but(accumulation=0))
    class Rates(Callback):
        order, run_valid = 70, False
        def before_fit(self): self.lrs = []
        def before_batch(self): self.lrs.append(self.opt.hypers[-1]['lr'])
    plain.add_cb(Rates())
    learn_quietly(plain, 2)
    assert lrs == pytest.approx(plain.rates.lrs)
    assert [r[list(learn.recorder.metric_names).index('step') - 1] for r in learn.recorder.values] == [3, 6]
    assert learn.accumulation.state_dict() == dict(taken=0) and learn.dls.train.dataset.steps == 3


def test_lr_grows_with_the_batch_and_warms_up_longer(items):
    s = Settings(**{**quick, 'steps': 20, 'epochs': 1, 'lr_scaling': 1., 'accumulation': 8, 'scaled_warmup': .5})
    rates = []
    class Rates(Callback):
        order = GradientClip.order + 1
        def before_step(self): rates.append(self.opt.hypers[-1]['lr'])
    learn_quietly(learner(items, s, Rates()))
    assert lr_factor(s) == 2 and max(rates) == pytest.approx(2 * s.lr) and 9 <= rates.index(max(rates)) <= 11


# ---- EMA

def test_power_ema_lends_its_weights_and_can_be_made_anew(few, tmp_path):
    run, _ = train(few, tmp_path, power_ema=.1, steps=40, epochs=5)
    last, folder = run.weights('last'), run.path/'state'/'ema-0'
    assert {s for _, s in snapshots(folder)} == {.05, .1} and max(snapshots(folder))[0] == 40
    from layoutdiff.run import Checkpoint
    saved = dict(Checkpoint.load(last).model.members[0].named_parameters())
    made = reconstruct(folder, .1)
    assert set(made) == set(saved)
    assert all(torch.allclose(made[k], saved[k].cpu(), atol=2e-3, rtol=2e-2) for k in saved)
    other = reconstruct(folder, .05)
    assert any(not torch.allclose(other[k], made[k], atol=1e-4) for k in made)


def test_power_ema_resumes(tmp_path):
    "Ten and ten steps are twenty."
    def walk(cb, values):
        for v in values:
            cb.model.weight.data.fill_(v)
            cb.after_step()
    def new(sigma):
        cb = PowerEMA(sigma, folder=tmp_path)
        cb.learn = SimpleNamespace(model=torch.nn.Linear(1, 1), cbs=[], path=tmp_path)
        return cb
    values = torch.rand(20).tolist()
    whole, first, second = new(.1), new(.1), new(.1)
    whole.before_fit()
    walk(whole, values)
    first.before_fit()
    walk(first, values[:10])
    second.load_state_dict(first.state_dict())
    second.before_fit()
    walk(second, values[10:])
    assert second.t == 20 and all(torch.equal(a.module.weight, b.module.weight) for a, b in zip(whole.averages, second.averages))
    assert gamma_of(.05) == pytest.approx(16.97, abs=.01) and gamma_of(.1) == pytest.approx(6.94, abs=.01)


# ---- uncertainty

def test_uncertainty_has_a_group_of_its_own(items):
    seen = []
    class Look(Callback):
        order = 90
        def before_step(self): seen.append((dict(self.opt.hypers[-1]), self.uncertainty.learned.s.grad is not None, self.opt.hypers[-2]['lr']))
    s = Settings(**{**quick, 'epochs': 1, 'uncertainty': True, 'wrap_weight': 0.})
    learn = learner(items, s, Look())
    groups = len(learn.opt.hypers)
    learn_quietly(learn)
    assert all(h['wd'] == 0 and grad and h['lr'] == lr for h, grad, lr in seen) and len(learn.opt.hypers) == groups
    learned = learn.uncertainty.learned
    assert 'wrap' not in learned.names and learned.now()['label'] != pytest.approx(1, abs=1e-4)
    state = learn.uncertainty.state_dict()
    again = learner(items, s)
    again.uncertainty.load_state_dict(state)
    class Begins(Callback):
        order = 90
        def before_batch(self): self.first = getattr(self, 'first', None) or self.uncertainty.learned.s.detach().tolist()
    again.add_cb(Begins())
    learn_quietly(again)
    assert again.begins.first == state['s'].tolist()


# ---- two processes

def test_terms_of_ranks_make_the_term_of_all(items, monkeypatch):
    "Any cut of a batch, labels, wraps and boxes, with free slots too."
    import layoutdiff.techniques.parallel as parallel
    vocab = Vocab.build(items.train)
    model = LayoutDiT(model_config(vocab)).eval()
    for free in (False, True):
        batch, _ = Batches(Examples(items.train[:6], vocab, 64), 6, free=free)[0]
        torch.manual_seed(0)
        batch, state = model.noised({**batch, **{k: batch[k] & False for k in ('has_box', 'has_image')}})
        whole, real = diffusion_losses(model(batch, state), state, batch), parallel.total
        n = parallel.total(torch.stack(list(parallel.term_cells(state, batch).values())).double())
        monkeypatch.setattr(parallel, 'total', lambda x: n)
        for cut in (1, 3, 5):
            parts = []
            for rows in (slice(0, cut), slice(cut, 6)):
                b, s = ({k: v[rows] for k, v in d.items()} for d in (batch, state))
                parts.append(share_terms(diffusion_losses(model(b, s), s, b), s, b, 2))
            for k in whole: assert float(sum(p[k] for p in parts)) / 2 == pytest.approx(float(whole[k]), rel=1e-4, abs=1e-6)
        monkeypatch.setattr(parallel, 'total', real)


def start(n, merged, folder, **settings):
    "What each of `n` processes wrote."
    folder.mkdir()
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(Path(__file__).parent.parent)}
    script = str(Path(__file__).with_name('two.py'))
    all = [subprocess.Popen([sys.executable, script, str(r), str(n), str(merged), str(folder), json.dumps(settings)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={**env, **(dict(WORLD_SIZE=str(n), RANK=str(r), LOCAL_RANK=str(r)) if n > 1 else {})}) for r in range(n)]
    try: said = [p.communicate(timeout=240)[0] for p in all]
    finally:
        for p in all: p.kill()
    assert all and not any(p.returncode for p in all), '\n'.join(said)
    return [json.loads((folder/f'{r}.json').read_text()) for r in range(n)]


@pytest.mark.parametrize('settings', [dict(bs=4, steps=8, epochs=2), dict(bs=3, steps=4, epochs=2, accumulation=16, lr_scaling=1, uncertainty=True, power_ema=.1)], ids=['plain', 'large'])
def test_two_processes_are_one(tmp_path, settings):
    "With the same global batch: the losses of one process, each section once an epoch, one run folder."
    two, (one,) = start(2, 1, tmp_path/'two', **settings), start(1, 2, tmp_path/'one', **settings)
    assert two[0]['losses'] == two[1]['losses'] and len(one['losses']) >= 8
    assert two[0]['losses'] == pytest.approx(one['losses'], abs=1e-5, rel=1e-5)
    assert two[0]['weights'] == pytest.approx(two[1]['weights'], rel=1e-6)
    assert two[0]['weights'] == pytest.approx(one['weights'], rel=1e-3, abs=1e-3)
    assert [sorted(a + b) for a, b in zip(two[0]['seen'], two[1]['seen'])] == [sorted(o) for o in one['seen']]
    assert [p.name for p in (tmp_path/'two'/'runs').iterdir()] == ['run-001'] and not Path(two[1]['run']).exists()
    assert [r['step'] for r in two[0]['results']] == [r['step'] for r in one['results']]


def test_each_section_once_an_epoch(items):
    "A pass over the data is shared without rest and without repeats."
    ex = Examples(items.train, Vocab.build(items.train), 64)
    whole = len(Batches(ex, 4, steps=1)._lists(__import__('numpy').random.default_rng((0, 0))))
    ranks = [Batches(ex, 4, steps=10, rank=r, world=2) for r in range(2)]
    first = [b for pair in zip(*(r.lists for r in ranks)) for b in pair]
    n = next(k for k in range(1, len(first) + 1) if sum(map(len, first[:k])) == len(ex))
    assert sorted(sum(first[:n], [])) == list(range(len(ex))) and whole >= 1


def test_the_clock_of_rank_0_ends_all(tmp_path):
    "Neither waits for the other forever."
    a, b = start(2, 1, tmp_path/'two', bs=4, steps=100_000, epochs=100, time=6)
    assert len(a['losses']) == len(b['losses']) < 100_000


def test_alone_there_is_one_rank():
    assert (rank(), world(), for_rank('runs', quiet)) == (0, 1, ('runs', quiet)) and not TECHNIQUES['parallel'].on(Settings())
    assert Parallel.order > Accumulation.order


# ---- the phases

@pytest.mark.parametrize('on', [dict(guidance=.1, mixed_precision=True, smoothing=.1, stochastic_depth=.1, noise_injection=.1),
                                dict(accumulation=12, lr_scaling=.5, power_ema=.1, uncertainty=True, clip=1.)], ids=['phase3', 'phase4'])
def test_all_techniques_of_a_phase_learn(items, tmp_path, on):
    few = Items(train=items.train[:16], val=items.train[:16][:8], split_given=True)
    run, _ = train(few, tmp_path, phase=f'phase{3 if "guidance" in on else 4}', steps=60, epochs=4, bs=6, lr=2e-3, patience=10, **on)
    assert run.results[-1]['element_f1'] > .15 and run.results[-1]['train_loss'] < run.results[0]['train_loss']
    assert all(v.isfinite().all() for v in run.checkpoint.model.state_dict().values() if v.is_floating_point())
