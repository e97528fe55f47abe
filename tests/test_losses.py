"The losses beyond diffusion, their weights, any model's output, and figures over batches and processes."
import math
import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layoutdiff.aggregate import _add, _sums, aggregate
from layoutdiff.balance import LearnedWeights, ModalityAwareLossWeighting, take_rows
from layoutdiff.core import Element, Layout, LayoutError, Node, Section, Structure
from layoutdiff.data import Examples, collate
from layoutdiff.losses import LOSS_WEIGHTS, VarianceAwareLossScheduler, diffusion_losses
from layoutdiff.metrics import alignment, overlap
from layoutdiff.tasks import ABSENT, NOISY, blank_state
from layoutdiff.model import LayoutDiT, model_config
from layoutdiff.multitask import GOALS, MultiTaskLossFunction, _gaps, _pairs, contrast, covered, cross_modal_term, embeddings
from layoutdiff.outputs import get_logits
from layoutdiff.slots import SPECIAL, SlotTable, Vocab, decode, encode
from layoutdiff.terms import ElementCombinationLoss, MultiScaleConsistencyLoss, beliefs, depth_tree, owners, read_again, tree

TYPES = ['section', 'column', 'heading', 'paragraph']
VOCAB = Vocab(TYPES, ['none', '+column'], free_slots=8, max_depth=8)
K = len(VOCAB.labels)

# ---- random sections and answers

def section(seed, n, free=False, types=TYPES + ['merge', 'merge_prev', 'drop', 'bi']):
    "A random section of n nodes, or of n elements without nodes, whose layout fits its table."
    rng, parents = random.Random(seed), []
    for i in range(n): # any node of the right spine may be the parent: preorder
        spine, p = [-1], i - 1
        while p >= 0: spine.append(p); p = parents[p]
        parents.append(rng.choice(spine))
    boxes = [(rng.uniform(0, 60), rng.uniform(0, 50), rng.uniform(5, 40), rng.uniform(5, 30)) for _ in range(n)]
    if free: return Section(f's{seed}', layout=Layout([Element(rng.choice(TYPES), (), p, b) for p, b in zip(parents, boxes)]), size=(100, 80))
    s = Structure([Node('div', p, text='x') for p in parents])
    layout = decode(SlotTable([rng.choice(types) for _ in range(n)], ['none'] * n, boxes, size=(100, 80)), s)
    return Section(f's{seed}', structure=s, layout=layout, size=(100, 80))

def batch_of(*sections, free=False, vocab=VOCAB):
    ex = Examples(sections, vocab, image_size=32, pictures=False)
    return {**collate([ex[i, free] for i in range(len(sections))]), 'x0_known': collate([ex[i, free] for i in range(len(sections))])['label'] >= len(SPECIAL)}

def right(batch, by=40., dtype=torch.float32):
    "The right answer, as a model that is sure would give it, and a second reading that agrees."
    hot = {k: by * torch.nn.functional.one_hot(batch[k].clamp(min=0), n).to(dtype) for k, n in (('label', K), ('wrap', 2), ('depth', 8))}
    B = len(batch['mask'])
    views = dict(picture=torch.eye(B, dtype=dtype), structure=torch.eye(B, dtype=dtype), paired=torch.ones(B, dtype=torch.bool))
    out = dict(hot, x0=(batch['x0'] * 2 - 1).to(dtype), **views)
    return out | {k: dict(hot, x0=out['x0'], rows=batch['mask']) for k in ('coarse', 'upper')}

def wrong(batch, seed=0, dtype=torch.float32):
    "Random answers."
    g = torch.Generator().manual_seed(seed)
    def noise(x): return {k: noise(v) for k, v in x.items()} if isinstance(x, dict) else torch.randn(x.shape, generator=g, dtype=torch.float64).to(dtype) if x.is_floating_point() else x
    return noise(right(batch, dtype=dtype))

def state_of(batch, seed=0, share=.6):
    "A state in which some labels and boxes are given."
    g = torch.Generator().manual_seed(seed)
    hide = lambda k, n: torch.where((torch.rand(batch[k].shape, generator=g) < share) | (batch[k] < 0), n, batch[k])
    box = torch.where(batch['x0_known'], NOISY + (torch.rand(batch['label'].shape, generator=g) > share).long(), ABSENT)
    return dict(label=hide('label', K), wrap=hide('wrap', 2), depth=hide('depth', 8), box_state=box, t=torch.rand(len(batch['mask']), generator=g))

def diffusion_free(out, state, batch): return {}

LOSSES = dict(combination=ElementCombinationLoss, scales=MultiScaleConsistencyLoss, goals=lambda: MultiTaskLossFunction(diffusion_free, dict.fromkeys(LOSS_WEIGHTS, 0.)))
each_loss = pytest.mark.parametrize('name', LOSSES)
seeds = st.integers(0, 10_000)
few = settings(max_examples=15)

# ---- what every loss must hold

@each_loss
@given(seed=seeds, n=st.integers(1, 9), free=st.booleans())
@few
def test_the_right_answer_costs_nothing(name, seed, n, free):
    b = batch_of(section(seed, n, free), section(seed + 1, n + 2, free))
    for state in (None, state_of(b, seed)):
        loss = LOSSES[name]()
        assert abs(loss(right(b), state, b)) < 3e-3
        assert all(-1e-5 < v < 1e-2 for v in loss.last.values())
        assert loss(wrong(b, seed), None, b) > .02

@each_loss
@given(seed=seeds, n=st.integers(1, 7), free=st.booleans())
@few
def test_padding_changes_nothing(name, seed, n, free):
    a, longer = section(seed, n, free), section(seed + 1, n + 4, free)
    alone, both = batch_of(a), batch_of(a, longer)
    if free: both = batch_of(a, longer, vocab=Vocab(TYPES, VOCAB.wraps, 16, 8))
    beside, out = take_rows(both, [0], 2), wrong(both, seed)
    out, N = take_rows(out, [0], 2), alone['mask'].shape[1]
    cut = lambda x: {k: cut(v) for k, v in x.items()} if isinstance(x, dict) else x[:, :N] if x.dim() > 1 and x.shape[:2] == beside['mask'].shape else x
    if free: beside['mask'] = beside['mask'] & (torch.arange(beside['mask'].shape[1]) < N)
    state = state_of(beside, seed)
    x, y = (LOSSES[name]()(*args) for args in ((out, state, beside), (cut(out), cut(state), alone)))
    assert torch.allclose(x, y, atol=1e-5)

@each_loss
@given(seed=seeds)
@few
def test_the_order_of_a_batch_does_not_matter(name, seed):
    b = batch_of(*(section(seed + i, 3 + i) for i in range(3)))
    out, state, order = wrong(b, seed), state_of(b, seed), [2, 0, 1]
    turned = [take_rows(x, order, 3) for x in (out, state, b)]
    assert torch.allclose(LOSSES[name]()(out, state, b), LOSSES[name]()(*turned), atol=1e-5)

@each_loss
@pytest.mark.parametrize('free', [False, True])
@pytest.mark.parametrize('n', [0, 1, 200])
def test_finite_for_any_number_of_elements(name, n, free):
    vocab = Vocab(TYPES, VOCAB.wraps, max(n, 1), 8)
    b = batch_of(section(3, max(n, 1), free, TYPES if n else ['drop']), vocab=vocab, free=free)
    if n == 0 and free: b['mask'] = torch.zeros_like(b['mask'])
    assert ((b['label'] >= len(SPECIAL)) & b['mask']).sum() == n
    for make in (right, wrong):
        out = {k: v for k, v in make(b).items()}
        leaves = [v.requires_grad_() for v in out.values() if isinstance(v, torch.Tensor) and v.is_floating_point()]
        for state in (None, state_of(b)):
            total = LOSSES[name]().train()(out, state, b)
            assert total.isfinite()
            if total.requires_grad: total.backward()
        assert all(v.grad is None or v.grad.isfinite().all() for v in leaves)

@each_loss
def test_a_batch_of_no_rows_is_finite(name):
    b = take_rows(batch_of(section(1, 4), section(2, 3)), [], 2)
    none = {k: v[:, :0, :0] if k == 'rel' else v[:, :0] if v.dim() > 1 and k != 'image' else v for k, v in batch_of(section(1, 4)).items()}
    for batch in (b, none): assert LOSSES[name]()(wrong(batch), None, batch).isfinite()

@each_loss
def test_bf16_is_as_good_as_its_rounded_numbers(name):
    b = batch_of(section(5, 9), section(6, 40))
    wide = lambda x: {k: wide(v) for k, v in x.items()} if isinstance(x, dict) else x.float() if x.is_floating_point() else x
    out = wrong(b, dtype=torch.bfloat16)
    x, y = LOSSES[name]()(out, state_of(b), b), LOSSES[name]()(wide(out), state_of(b), b)
    assert x.dtype == torch.float32 and torch.allclose(x, y, atol=1e-6)

@each_loss
@pytest.mark.parametrize('free', [False, True])
def test_gradients_against_finite_differences(name, free):
    b = batch_of(section(11, 4, free), section(12, 3, free), vocab=Vocab(TYPES, VOCAB.wraps, 4, 8))
    out, state, loss = wrong(b, 3, torch.float64), state_of(b, 3), LOSSES[name]().eval()
    names = [k for k in dict(combination=['label'], scales=['label', 'wrap', 'depth', 'x0'], goals=['label', 'x0', 'picture', 'structure'])[name]]
    def f(*xs): return loss({**out, **dict(zip(names, xs))}, state, b)
    assert torch.autograd.gradcheck(f, [out[k].requires_grad_() for k in names], eps=1e-6, atol=1e-6)

@each_loss
def test_terms_have_names_and_make_the_sum(name):
    b = batch_of(section(5, 9), section(6, 12))
    loss = LOSSES[name]()
    total = loss(wrong(b), None, b)
    assert set(loss.last) <= set(loss.names) and all(v.dim() == 0 and not v.requires_grad for v in loss.last.values())
    assert torch.allclose(total, sum(loss.weights[k] * v for k, v in loss.last.items()), atol=1e-6)

# ---- the tree and the chains

@given(seed=seeds, n=st.integers(1, 25))
@settings(max_examples=40)
def test_owners_are_those_of_decode(seed, n):
    s = section(seed, n)
    if encode(s, VOCAB).reasons: return
    b = batch_of(s)
    owner = owners(b['label'], *tree(b))[0]
    for e in s.layout:
        if e.sources: assert (owner == e.sources[0]).nonzero().flatten().tolist() == list(e.sources)

@given(seed=seeds, n=st.integers(0, 20))
@settings(max_examples=40)
def test_depths_give_the_tree(seed, n):
    layout = section(seed, n, free=True).layout
    above, beside = (x[0] for x in depth_tree(torch.tensor([layout.depth]).reshape(1, n)))
    def up(i): return {layout[i].parent} | up(layout[i].parent) if layout[i].parent >= 0 else set()
    for i in range(n):
        assert set(above[i].nonzero().flatten().tolist()) == up(i)
        assert beside[i].nonzero().flatten().tolist() == [j for j in range(i) if layout[j].parent == layout[i].parent]

def test_given_labels_are_certain_and_not_asked():
    b, loss = batch_of(section(5, 9)), ElementCombinationLoss()
    state = dict(label=b['label'])
    assert loss(wrong(b), state, b) == 0
    assert torch.equal(beliefs(wrong(b), state, b).argmax(-1), b['label'])

def test_a_pair_that_is_never_seen_costs_and_a_seen_one_does_not():
    loss = ElementCombinationLoss(dict(pair=1.))
    many = batch_of(*(section(i, 12, types=['section', 'column']) for i in range(8)))
    loss(right(many), None, many)
    one = batch_of(section(3, 6, types=['section', 'column']))
    other = right({**one, 'label': torch.full_like(one['label'], VOCAB.labels.index('heading'))})
    assert loss.eval()(right(one), None, one) < 1e-6
    assert loss(other, None, one) == 0                                # a label that is never seen: chance would not have shown it
    later = ElementCombinationLoss(dict(pair=1.))
    later.load_state_dict(loss.state_dict())
    assert torch.equal(later.seen, loss.seen) and loss.seen.sum() > 0
    loss.seen[0, :, VOCAB.labels.index('heading')] = loss.seen[0, VOCAB.labels.index('heading')] = 0
    loss.seen[0, VOCAB.labels.index('drop'), VOCAB.labels.index('heading')] = loss.seen[0, VOCAB.labels.index('heading'), VOCAB.labels.index('drop')] = 50
    assert loss(other, None, one) > .1

# ---- boxes

@given(seed=seeds, n=st.integers(2, 9))
@few
def test_aesthetics_are_the_metrics(seed, n):
    b = batch_of(section(seed, n, free=True))
    boxes, E = b['x0'].double(), b['mask'] & (b['label'] >= len(SPECIAL))
    parents = torch.tensor([[e.parent for e in section(seed, n, free=True).layout] + [-1] * 8])[:, :E.shape[1]]
    above = tree(b)[0]
    pair = _pairs(E) & ~(above | above.transpose(1, 2))
    assert torch.allclose((covered(boxes) * pair).sum((1, 2)) / E.sum(1), overlap(boxes, E, parents))
    gaps = torch.where(E, _gaps(boxes, _pairs(E)), 0.).sum(1) / E.sum(1)
    assert torch.allclose(gaps, alignment(boxes, E), atol=1e-6)

def test_boxes_that_were_given_do_not_move_the_terms():
    b = batch_of(section(5, 6, free=True))
    state = state_of(b) | dict(box_state=torch.full_like(b['label'], 2))
    assert all(GOALS[k](wrong(b), state, b) == 0 for k in ('overlap', 'align'))
    state = state_of(b) | dict(box_state=torch.full_like(b['label'], NOISY), box_given=torch.ones(*b['label'].shape, 4).bool())
    assert all(GOALS[k](wrong(b), state, b) == 0 for k in ('overlap', 'align'))

# ---- picture and structure

@given(seed=seeds, n=st.integers(2, 12))
@few
def test_collapse_is_never_the_best(seed, n):
    point = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed)).expand(n, 6)
    collapsed = contrast(point, point)
    assert math.isclose(collapsed, math.log(n), rel_tol=1e-4)
    assert contrast(torch.eye(n), torch.eye(n)) < .01 * collapsed
    floor = math.log1p((n - 1) * math.exp(-20))
    a, b = (torch.randn(n, 6, generator=torch.Generator().manual_seed(seed + i)) for i in (1, 2))
    assert contrast(a, b) >= floor - 1e-6

def test_embeddings_learn_to_find_each_other():
    torch.manual_seed(0)
    ss = [section(i, 3 + i % 5) for i in range(8)]
    b = batch_of(*ss) | dict(image=torch.randint(0, 255, (8, 3, 32, 32)), has_image=torch.ones(8).bool())
    model = LayoutDiT(model_config(VOCAB, layers=1, image_size=32))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    trace = []
    for _ in range(60):
        opt.zero_grad()
        loss = cross_modal_term(embeddings(model, b), None, b)
        loss.backward()
        opt.step()
        trace.append(loss.item())
    assert trace[-1] < .5 * trace[0]

# ---- weights

@given(L=st.floats(.02, 20), kind=st.sampled_from(['class', 'regression']))
@few
def test_kendall_formulas(L, kind):
    w = LearnedWeights(dict(a=kind)).double()
    with torch.no_grad(): w.s.fill_(.7)
    sigma = math.exp(.35)
    want = L / sigma**2 + math.log(sigma) if kind == 'class' else L / (2 * sigma**2) + math.log(sigma)
    assert math.isclose(w.total(dict(a=torch.tensor(L, dtype=torch.float64))).item(), want, rel_tol=1e-6)
    assert torch.autograd.gradcheck(lambda s, v: _with(w, s).total(dict(a=v)), (torch.tensor([.7], dtype=torch.float64, requires_grad=True), torch.tensor(L, dtype=torch.float64, requires_grad=True)))

def _with(w, s): # the same weights with another s, which is no leaf
    new = LearnedWeights.__new__(LearnedWeights)
    torch.nn.Module.__init__(new)
    new.names, new.bound, new.start, new.scale = w.names, 1e9, w.start, w.scale
    object.__setattr__(new, 's', s * 1)
    return new

def test_learned_weights_start_as_the_fixed_ones_and_stay_in_bounds():
    w = LearnedWeights(dict(label='class', box='regression'), dict(label=.3, box=2.))
    assert w.now() == pytest.approx(dict(label=.3, box=2.), rel=1e-5)
    with torch.no_grad(): w.s.fill_(99.)
    w.total(dict(label=torch.tensor(1.))).backward()
    assert (w.s == 4).all() and w.s.grad[0] != 0 and w.s.grad[1] == 0
    assert w.param_group(lr=.1)['weight_decay'] == 0 and w.param_group()['params'] == [w.s]

def test_a_term_that_is_nan_or_missing_does_not_spoil_the_weights():
    w = LearnedWeights(dict(label='class', box='regression'))
    x = torch.tensor(float('nan'), requires_grad=True)
    total = w.total(dict(label=torch.tensor(1.), box=x))
    total.backward()
    assert total.isfinite() and w.s.grad.isfinite().all()
    with pytest.raises(LayoutError, match="did you mean 'label'"): w.total(dict(lable=torch.tensor(1.)))

def test_modality_weighting_gives_the_whole_loss_until_it_knows_better():
    b = batch_of(section(1, 5), section(2, 7)) | dict(has_image=torch.tensor([True, False]))
    out = wrong(b)
    loss = lambda out, state, batch: ElementCombinationLoss(dict(label=1.)).terms(out, state, batch)
    w = ModalityAwareLossWeighting(loss, warmup=2)
    assert torch.allclose(w(out, None, b), loss(out, None, b)['label'], atol=1e-5)
    assert set(w.n) == {'html', 'html+picture'}
    for _ in range(30): w(take_rows(out, [0], 2), None, take_rows(b, [0], 2)); w(take_rows(right(b), [1], 2), None, take_rows(b, [1], 2))
    f = w.factors()
    assert f['html'] < 1 < f['html+picture'] <= w.bound
    later = ModalityAwareLossWeighting(loss, warmup=2)
    later.load_state_dict(w.state_dict())
    assert later.factors() == f

@given(st.lists(st.tuples(st.sampled_from(['a', 'b', 'c']), st.floats(1e-3, 50)), max_size=80))
@few
def test_modality_factors_stay_in_bounds(steps):
    w = ModalityAwareLossWeighting(None, warmup=3, bound=3.)
    for name, v in steps: w.watch(name, v)
    assert all(1/3 - 1e-9 <= f <= 3 + 1e-9 for f in w.factors().values())

# ---- all together, with the real model and the real diffusion loss

@pytest.mark.parametrize('learned', [False, True])
def test_a_model_learns_with_all_goals(learned):
    torch.manual_seed(0)
    b = batch_of(*(section(i, 5 + i) for i in range(4))) | dict(image=torch.randint(0, 255, (4, 3, 32, 32)), has_image=torch.ones(4).bool())
    model = LayoutDiT(model_config(VOCAB, layers=1, image_size=32, dropout=0.))
    multi, combination, scales = MultiTaskLossFunction(diffusion_losses, learned=learned), ElementCombinationLoss(dict(chain=.3, pair=.3)), MultiScaleConsistencyLoss()
    groups = [dict(params=list(model.parameters()))] + ([multi.param_group()] if learned else [])
    opt, state, trace = torch.optim.AdamW(groups, lr=3e-3), blank_state(b, model.cfg), []
    for _ in range(40):
        out = model(b, state)
        out.update(embeddings(model, b), coarse=read_again(model, b, state, 'coarse'), upper=read_again(model, b, state, 'upper'))
        loss = multi(out, state, b) + combination(out, state, b) + scales(out, state, b)
        opt.zero_grad(); loss.backward(); opt.step()
        trace.append({**multi.last, **combination.last, **scales.last})
    assert set(trace[0]) >= {'label', 'box', 'overlap', 'align', 'cross_modal', 'diversity', 'props', 'chain', 'pair', 'coarse', 'upper'}
    assert all(trace[-1][k] < .8 * trace[0][k] for k in ('label', 'chain', 'cross_modal', 'diversity'))
    with torch.no_grad(): assert torch.isclose(multi(out, state, b), sum(multi.weights.start[k] * v for k, v in multi.last.items()) if learned else multi(out, state, b))

def test_weights_may_follow_the_variance():
    b = batch_of(section(1, 5), section(2, 7))
    multi = MultiTaskLossFunction(diffusion_free)
    fixed = multi(wrong(b), None, b)
    multi.weights = VarianceAwareLossScheduler(multi.weights)
    assert torch.allclose(multi(wrong(b), None, b), fixed) and multi.weights.n['props'] == 1

# ---- any model's output

@pytest.fixture
def tf(monkeypatch):
    "transformers; where torchvision does not fit torch, it is told that there is none."
    try: import torchvision  # noqa: F401
    except Exception: monkeypatch.setitem(sys.modules, 'torchvision', None)
    return pytest.importorskip('transformers')

def test_real_hugging_face_models(tf):
    torch.manual_seed(0)
    small = dict(vocab_size=K, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    b = batch_of(section(1, 5), section(2, 7))
    ids, labels = b['label'].clamp(min=0), torch.where(b['mask'], b['label'], -100)
    bert = tf.BertForMaskedLM(tf.BertConfig(**small)).eval()
    out = bert(input_ids=ids, labels=labels, output_hidden_states=True)
    as_tuple = bert(input_ids=ids, labels=labels, output_hidden_states=True, return_dict=False)
    assert type(out).__name__ == 'MaskedLMOutput' and out.loss.dim() == 0
    assert torch.equal(get_logits(out), out.logits) and torch.equal(get_logits(as_tuple), out.logits)
    loss = ElementCombinationLoss()(out, None, b)
    assert torch.equal(loss, ElementCombinationLoss()(as_tuple, None, b))
    loss.backward()
    assert bert.cls.predictions.bias.grad.abs().sum() > 0
    whole = tf.BertForPreTraining(tf.BertConfig(**small)).eval()(input_ids=ids)
    assert get_logits(whole) is whole.prediction_logits
    hidden = tf.BertModel(tf.BertConfig(**small)).eval()(input_ids=ids)
    with pytest.raises(LayoutError, match='last_hidden_state: float32'): get_logits(hidden)

def test_real_generation(tf):
    torch.manual_seed(0)
    t5 = tf.T5ForConditionalGeneration(tf.T5Config(vocab_size=K, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)).eval()
    ids = torch.randint(2, K, (2, 6))
    out = t5(input_ids=ids, labels=ids)
    assert get_logits(out) is out.logits and torch.equal(get_logits(t5(input_ids=ids, labels=ids, return_dict=False)), out.logits)
    how = dict(input_ids=ids, max_new_tokens=4, min_new_tokens=4, do_sample=False, return_dict_in_generate=True)
    scored, raw, bare = (t5.generate(**how, **k) for k in (dict(output_scores=True), dict(output_logits=True), {}))
    assert 'Generate' in type(scored).__name__ and isinstance(scored.scores, tuple)
    for o in (scored, raw): assert get_logits(o).shape == (2, 4, K) and torch.equal(get_logits(o).argmax(-1), o.sequences[:, 1:])
    assert torch.equal(get_logits(scored.scores), get_logits(scored))
    assert bare.get('scores') is None and torch.equal(get_logits(bare, K).argmax(-1), bare.sequences)
    label = scored.sequences[:, 1:]
    batch = dict(label=label, mask=torch.ones_like(label, dtype=torch.bool))
    assert ElementCombinationLoss(dict(label=1.))(scored, None, batch) < math.log(K)

@given(st.sampled_from(['logits', 'prediction_scores', 'prediction_logits', 'scores', 'label']), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
@few
def test_logits_are_found_under_each_name(name, B, N, n):
    x = torch.randn(B, N, n)
    for out in ({name: x}, {'loss': torch.tensor(1.), 'hidden_states': (x, x), name: x}, {name: x.unbind(1)}, (torch.tensor(1.), {name: x})): assert torch.equal(get_logits(out), x)
    for out in ({name: None}, {name: x.long()}, None, 'x', {}, [None]):
        with pytest.raises(LayoutError, match='no logits were found in'): get_logits(out)

# ---- figures over batches and processes

numbers = st.none() | st.floats(-100, 100) | st.just(float('nan'))
items = st.lists(st.fixed_dictionaries(dict(loss=numbers, parts=st.fixed_dictionaries(dict(f1=numbers)))), max_size=24)

def _plain(values): # the mean of the numbers there are
    there = [v for v in values if v is not None and not math.isnan(v)]
    return np.mean(there) if there else None

def _entry(chunk, kind): # a batch as one of the forms that a loop may have
    if kind == 'dicts': return chunk, 1
    def form(xs):
        if kind == 'lists': return xs
        if kind == 'tensors': return torch.tensor([float('nan') if x is None else x for x in xs], dtype=torch.float64)
        return _plain(xs)
    there = lambda xs: sum(x is not None and not math.isnan(x) for x in xs)
    columns = [c['loss'] for c in chunk], [c['parts']['f1'] for c in chunk]
    return dict(loss=form(columns[0]), parts=dict(f1=form(columns[1]))), dict(loss=there(columns[0]), parts=dict(f1=there(columns[1])))

@given(items, st.integers(1, 7), st.integers(1, 4), st.lists(st.sampled_from(['dicts', 'lists', 'tensors', 'means']), min_size=1, max_size=5))
def test_one_figure_for_any_batch_size_and_number_of_processes(rows, bs, world, kinds):
    chunks = [rows[i:i + bs] for i in range(0, len(rows), bs)]
    entries = [_entry(c, kinds[i % len(kinds)]) for i, c in enumerate(chunks)]
    parts = [entries[r::world] for r in range(world)]
    sums = [_add(t for v, n in part for t in _sums(v, n)) for part in parts]
    want = dict(loss=_plain([r['loss'] for r in rows]), parts=dict(f1=_plain([r['parts']['f1'] for r in rows])))
    for r, part in enumerate(parts):
        got = aggregate([v for v, _ in part], [n for _, n in part], gather=lambda mine: [*sums[:r], mine, *sums[r + 1:]])
        if not rows: assert got is None; continue
        for a, b in ((got['loss'], want['loss']), (got['parts']['f1'], want['parts']['f1'])): assert a is None and b is None or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)

def _process(rank, world, port, path):
    import torch.distributed as dist
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=world)
    mine = [dict(loss=torch.tensor([1., 2., 3.]), f1=None), dict(loss=[4.], box=.5)] if rank == 0 else [dict(loss=10., f1=.25)]
    torch.save(aggregate(mine, [3, 1] if rank == 0 else [2]), f'{path}/{rank}')
    dist.destroy_process_group()

def test_two_processes_on_gloo(tmp_path):
    import socket
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(_process, (2, port, str(tmp_path)), 2)
    assert torch.load(tmp_path/'0') == torch.load(tmp_path/'1') == dict(loss=5., f1=.25, box=.5)
