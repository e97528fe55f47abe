"Confidence: the temperature that is found, what it may change and what not, and what predict says of its doubts."
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

torch = pytest.importorskip('torch')
from layoutdiff.cli import main, predict as predict_verb
from layoutdiff.core import Node, Section, Structure
from layoutdiff.data import Examples
from layoutdiff.draw import UNSURE
from layoutdiff.tables import calibration_rows, element_confidence
from layoutdiff.evaluate import section_counts
from layoutdiff.items import Items, get_items
from layoutdiff.confidence import confidence, fit_temperature, tempered, unsmoothed
from layoutdiff.ensemble import Ensemble, as_ensemble
from layoutdiff.metrics import bootstrap, calibration_error, gaps, pool, reliability
from layoutdiff.model import LayoutDiT, ModelConfig, model_config
from layoutdiff.settings import Settings
from layoutdiff.predict import LayoutPredictor, predict_to
from layoutdiff.run import Checkpoint, Run, open_run, steps_of
from layoutdiff.sample import label_probs, predict_tables
from layoutdiff.slots import SlotTable, Vocab, decode, encode
from layoutdiff.train import fit, separate_validation

quick = settings(max_examples=25, deadline=None)
quiet = lambda line: None


@pytest.fixture(scope='module')
def items(): return get_items('sample')


def noisy_model(vocab, image_size=32):
    "A model whose answers are nonsense of every kind."
    torch.manual_seed(0)
    model = LayoutDiT(model_config(vocab, 'tiny', image_size=image_size))
    for layer in (model.label, model.wrap, model.depth): torch.nn.init.normal_(layer.weight, std=.3)
    return model.eval()


@pytest.fixture(scope='module')
def vocab(items): return Vocab.build(items.train)


@pytest.fixture(scope='module')
def run(tmp_path_factory, vocab):
    folder = tmp_path_factory.mktemp('run')
    (folder/'weights').mkdir()
    Checkpoint(as_ensemble(noisy_model(vocab)), vocab, Settings(sample_steps=2), dict(groups=[])).save(folder/'weights'/'best.safetensors')
    return Run(folder)


# ---- the error

@quick
@given(st.integers(0, 10_000), st.integers(2, 30), st.floats(.3, 3))
def test_answers_that_keep_their_word_have_almost_no_error(seed, bins, shape):
    rng = np.random.default_rng(seed)
    conf = rng.uniform(size=30_000) ** shape
    right = rng.uniform(size=30_000) < conf
    # chance alone: a bin of share w is off by |z| * .5 * sqrt(w / n) at most; the sum has mean .4 * sqrt(bins / n) and a spread of .3 / sqrt(n); five of these
    assert calibration_error(conf, right, bins) < (.4 * math.sqrt(bins) + 1.5) / math.sqrt(30_000)
    assert calibration_error(conf ** .5, right, bins) > .05                       # told with too much courage


@quick
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 5))
def test_pooled_over_sections_is_the_same(answers, n):
    conf, right = zip(*answers)
    parts = [gaps('calibration_error', conf[i::n], right[i::n]) for i in range(n)]
    assert abs(pool(parts)['calibration_error'] - calibration_error(conf, right)) < 1e-9
    assert sum(b['n'] for b in reliability(conf, right)) == len(conf)
    assert n == 1 or 0 <= bootstrap(parts, range(n), n=20)['calibration_error'][0] <= 1


# ---- the temperature

@quick
@given(st.integers(0, 10_000), st.floats(.35, 4), st.integers(3, 12))
def test_the_temperature_of_overconfidence_is_found(seed, T, words):
    g = torch.Generator().manual_seed(seed)
    honest = (2 * torch.randn(8000, words, generator=g)).softmax(-1)
    truth = torch.multinomial(honest, 1, generator=g)[:, 0]
    sharp = tempered(honest.double(), 1 / T)
    assert abs(math.log(fit_temperature([(sharp, truth)]) / T)) < .12
    halves = [(sharp[:4000], truth[:4000]), (sharp[4000:], truth[4000:])]
    assert abs(fit_temperature(halves) - fit_temperature([(sharp, truth)])) < 1e-3


@quick
@given(st.integers(0, 10_000), st.floats(.5, 3), st.floats(0, .2))
def test_smoothing_is_taken_back_before(seed, T, smoothing):
    "Overconfident, and trained with smoothing: both are found, and the first label stays first."
    g = torch.Generator().manual_seed(seed)
    honest = torch.randn(8000, 5, generator=g).double().softmax(-1)
    truth = torch.multinomial(honest, 1, generator=g)[:, 0]
    taught = (1 - smoothing) * tempered(honest, 1 / T) + smoothing / 5
    assert torch.allclose(unsmoothed(taught, smoothing), tempered(honest, 1 / T), atol=2e-6)
    assert abs(math.log(fit_temperature([(taught, truth)], smoothing) / T)) < .2
    assert (unsmoothed(taught, smoothing).argmax(-1) == taught.argmax(-1)).all()


def test_nothing_wrong_in_a_few_nodes_makes_nobody_certain():
    "Without the prior the likeliest temperature would be the lowest allowed."
    p = torch.tensor([[.9, .06, .04]]).repeat(20, 1)
    assert .5 < fit_temperature([(p, torch.zeros(20, dtype=torch.long))]) < 1
    assert fit_temperature([]) == fit_temperature([(p[:0], torch.zeros(0, dtype=torch.long))]) == 1


@quick
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=9).filter(lambda p: sum(p) > 1e-3), st.floats(.2, 20))
def test_tempering_keeps_order_sum_and_what_is_impossible(p, T):
    p = torch.tensor(p) / sum(p)
    q = tempered(p, T)
    assert abs(q.sum().item() - 1) < 1e-4 and (q[p == 0] == 0).all() and q.argmax() in (p == p.max()).nonzero()
    order = p.argsort()
    assert (q[order].diff() >= -1e-6).all()


@pytest.mark.parametrize('T', [.25, .9, 3., 20.])
@pytest.mark.parametrize('given_', [('structure', 'screenshot'), ('screenshot',)])
def test_what_is_written_does_not_depend_on_it(items, vocab, T, given_):
    model, few = noisy_model(vocab), Examples(items.test[:4], vocab, 32)
    plain = predict_tables(model, few, 3, given=given_)
    model.cfg.conf_temperature, model.cfg.conf_smoothing = T, .03
    other = predict_tables(model, few, 3, given=given_)
    for a, b in zip(plain, other):
        assert (a.label, a.wrap, a.box, a.depth) == (b.label, b.wrap, b.box, b.depth)
        assert a.conf == a.raw == b.raw and all(0 <= c <= 1 for c in b.conf)
        assert (a.conf == b.conf) == a.free                         # fitted on nodes, so free slots keep 1
        assert not a.free or 'merge' not in a.label
    if not plain[0].free: assert all('empty' not in b.label for b in other)


def test_the_probs_are_those_the_labels_were_chosen_by(items, vocab):
    model, few = noisy_model(vocab), Examples(items.test[:4], vocab, 32)
    probs, truth = label_probs(model, few, 3)
    tables = predict_tables(model, few, 3, bs=24)
    assert len(probs) == len(truth) == sum(len(s.structure) for s in few.sections) and torch.allclose(probs.sum(-1), torch.ones(len(probs)))
    assert sorted(truth.tolist()) == sorted(vocab.labels.index(l) for s in few.sections for l in encode(s).label)
    assert np.allclose(sorted(probs.max(-1).values.tolist()), sorted(c for t in tables for c in t.raw), atol=1e-6)
    bare = Examples([replace(s, structure=None) for s in items.test[:2]], vocab, 32)
    assert len(label_probs(model, bare, 1)[1]) == 0 and fit_temperature([label_probs(model, bare, 1)]) == 1


def test_given_words_are_certain():
    probs = torch.tensor([[[.2, .8], [0., 0.]]])
    assert confidence(probs, torch.tensor([[0, 1]]), torch.tensor([[[4.]]]))[0].tolist() == [pytest.approx(.2 ** .25 / (.2 ** .25 + .8 ** .25)), 1]


# ---- runs

def test_it_is_kept_with_the_weights_and_old_weights_load(tmp_path, vocab):
    model = as_ensemble(noisy_model(vocab))
    model.cfg.conf_temperature = 1.7
    Checkpoint(model, vocab, Settings(), dict(groups=[])).save(tmp_path/'new.safetensors')
    assert Checkpoint.load(tmp_path/'new.safetensors').model.cfg.conf_temperature == 1.7
    with safe_open(tmp_path/'new.safetensors', 'pt') as f: meta, tensors = dict(f.metadata()), {k: f.get_tensor(k) for k in f.keys()}
    config = json.loads(meta['config'])
    for k in ('conf_temperature', 'conf_smoothing'): del config[k]                                  # as written before there was one
    save_file(tensors, tmp_path/'old.safetensors', {**meta, 'config': json.dumps({**config, 'memory': 3., 'support': True})})   # fields that are gone
    old = Checkpoint.load(tmp_path/'old.safetensors').model
    assert (old.cfg.conf_temperature, old.cfg.conf_smoothing) == (1, 0) and old.cfg == ModelConfig.from_dict(config)
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), model.parameters()))


def test_training_fits_it_on_other_sections_only(items, tmp_path):
    short, told = dict(steps=4, epochs=1, size='tiny', members=1), []
    run = fit(Items(train=items.train[:5], val=items.val[:3], split_given=True), tmp_path, tell=told.append, **short)
    ckpt = open_run(run.path).checkpoint
    model, vocab, s, meta = ckpt.model, ckpt.vocab, ckpt.settings, ckpt.meta
    again = fit_temperature([label_probs(model, Examples(items.val[:3], vocab, s.image_size), steps_of(s))], s.smoothing * (1 - s.trees))
    assert s.smoothing > 0 and model.cfg.conf_smoothing == pytest.approx(s.smoothing * (1 - s.trees))  # trees learn from labels as they are
    assert model.cfg.conf_temperature == pytest.approx(again) != 1 and meta['groups'] == sorted({o.group for o in items.train[:5]})
    assert any(l.startswith('confidence: temperature') for l in told)
    same = fit(Items(train=items.train[:5], val=items.train[:5], split_given=True), tmp_path, tell=told.append, init=run.path, **short)
    assert ((cfg := same.checkpoint.model.cfg).conf_temperature, cfg.conf_smoothing) == (1, 0) and any('no separate validation' in l for l in told)   # not that of the run it began with


def test_same_names_are_not_the_same_sections(items):
    renamed = [replace(b, id=a.id) for a, b in zip(items.train, items.val)]
    train = items.train[:len(renamed)]
    assert separate_validation(Items(train=train, val=renamed)) and not separate_validation(Items(train=train, val=list(train))) and not separate_validation(Items(train=train))


# ---- elements

@quick
@given(st.data())
def test_an_element_is_as_sure_as_its_nodes_together(data):
    n = data.draw(st.integers(1, 8))
    page = Structure([Node('div', i - 1) for i in range(n)])
    labels = data.draw(st.lists(st.sampled_from(['merge', 'drop', 'heading', 'bi']), min_size=n, max_size=n))
    conf = data.draw(st.lists(st.floats(.01, 1), min_size=n, max_size=n))
    for e in decode(SlotTable(labels, ['none'] * n, [None] * n, conf=conf), page): assert e.confidence == pytest.approx(math.prod(conf[s] for s in e.sources))


def test_the_scores_of_sure_tables(items):
    sections = items.test[:4]
    tables = [replace(t, conf=[1.] * len(t), raw=[.5] * len(t)) for t in map(encode, sections)]
    truths = [t.label for t in tables]
    scores = pool([section_counts(t, s, truth) for t, s, truth in zip(tables, sections, truths)])
    assert (scores['calibration_error'], scores['calibration_error_uncalibrated'], scores['calibration_error_elements']) == (0, .5, 0)
    rows = calibration_rows(tables, sections, truths)
    assert [r['accuracy'] for name in rows for r in rows[name]] == [1] * 3
    wrong = element_confidence(decode(tables[0], sections[0].structure), sections[1].layout)[1]
    assert not all(wrong)


# ---- predict

def test_predict_marks_and_names_its_doubts(run, items, tmp_path):
    section, told = items.test[0], {}
    for threshold in (0, .5, 1):
        lines = []
        (folder,), _ = predict_to(run, [section], tmp_path/str(threshold), tell=lines.append, threshold=threshold)
        told[threshold] = lines, {p.name: p.read_bytes() for p in folder.iterdir()}
    layout = LayoutPredictor(run).section(section)
    below = sorted(e.confidence for e in layout if e.confidence is not None and e.confidence < .5)
    assert 0 < len(below) and len(told[0][0]) == 1 and len(told[.5][0]) == len(told[1][0]) == 2
    assert told[.5][0][1].startswith(f'{len(below)} of {len(layout)} elements below .50: ') and f'{below[0]:.2f}'.lstrip('0') in told[.5][0][1]
    files = [told[k][1] for k in told]
    assert all(f['layout.json'] == files[0]['layout.json'] and f['layout.v2.json'] == files[0]['layout.v2.json'] for f in files)
    assert files[0]['overlay.png'] != files[1]['overlay.png'] and files[0]['overlay.png'] != files[2]['overlay.png']
    written = json.loads(files[0]['layout.v2.json'])['elements']
    assert [e.get('confidence') for e in written] == [e.confidence for e in layout]
    assert 'confidence' not in files[0]['layout.json'].decode()


def test_the_threshold_on_the_command_line(run, tmp_path, capsys):
    (tmp_path/'page.html').write_text('<section><h1>Hello</h1><p>x</p></section>')
    ask = lambda *more: main(['predict', str(run.path), str(tmp_path/'page.html'), '--out', str(tmp_path/'out'), *more])
    assert ask('--threshold', '1') == 0 and 'elements below 1.00' in capsys.readouterr().out
    assert ask('--threshold', '0') == 0 and 'below' not in capsys.readouterr().out
    assert ask('--threshold', '80') == 2 and 'allowed are 0 to 1' in capsys.readouterr().err
    assert predict_verb.__defaults__[-1] == UNSURE


# ---- how much later sampling steps count

def test_with_html_the_first_answer_stands(items, vocab):
    "A network is asked once, whatever the steps; the answer is that of one step."
    model, asked = noisy_model(vocab), []
    forward, examples = model.forward, Examples(items.test[:4], vocab, 32)
    model.forward = lambda *args: asked.append(1) or forward(*args)
    many, one = (predict_tables(model, examples, n) for n in (6, 1))
    assert [(t.label, t.wrap, t.conf) for t in many] == [(t.label, t.wrap, t.conf) for t in one] and len(asked) == 2


def test_free_slots_are_asked_in_every_step(items, vocab):
    model, asked = noisy_model(vocab), []
    forward, examples = model.forward, Examples(items.test[:4], vocab, 32)
    with torch.no_grad(): model.box.weight.normal_(std=.05)
    model.forward = lambda *args: asked.append(1) or forward(*args)
    tables = [predict_tables(model, examples, n, given=('screenshot',)) for n in (6, 1)]
    assert len(asked) == 7 and [t.box for t in tables[0]] != [t.box for t in tables[1]]


def test_boxes_that_are_unknown_are_still_denoised(items, vocab):
    "HTML without boxes: the labels are those of one step, the boxes take all steps."
    bare = [replace(s, structure=Structure([replace(n, box=None) for n in s.structure])) for s in items.test[:3]]
    model, examples = noisy_model(vocab), Examples(bare, vocab, 32)
    with torch.no_grad(): model.box.weight.normal_(std=.05)
    many, one = (predict_tables(model, examples, n) for n in (6, 1))
    assert [t.label for t in many] == [t.label for t in one] and [t.box for t in many] != [t.box for t in one]


def test_of_several_networks_later_steps_move_the_shares(items, vocab):
    both = Ensemble([noisy_model(vocab), noisy_model(vocab)]).eval()
    with torch.no_grad():
        for p in both.members[1].parameters(): p.add_(.05 * torch.randn(p.shape))
    asked, forward = [], both.forward
    both.forward = lambda *args: asked.append(1) or forward(*args)
    examples = Examples(items.test[:4], vocab, 32)
    many, one = (predict_tables(both, examples, n) for n in (6, 1))
    assert len(asked) == 2
    assert [t.conf for t in many] != [t.conf for t in one]
    same = Ensemble([both.members[0]] * 2).eval()
    assert [t.label for t in predict_tables(same, examples, 6)] == [t.label for t in predict_tables(same, examples, 1)]
