"Tasks: what `begin` gives and hides, in training and in sampling, and inputs that are corrupted."
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

from layoutdiff.core import LayoutError
from layoutdiff.data import Batches, Examples
from layoutdiff.items import get_items
from layoutdiff.losses import diffusion_losses
from layoutdiff.model import LayoutDiT, model_config
from layoutdiff.ordered import build_model
from layoutdiff.settings import Settings
from layoutdiff.sample import sample
from layoutdiff.schedule import draw_t, mask_cells, q_sample
from layoutdiff.slots import Vocab
from layoutdiff.tasks import ABSENT, COLUMNS, GIVEN, GIVEN_CELLS, NOISY, TASKS, Task, begin, blank_state, corrupt, hide, mask_ids, task_of, task_shares


@pytest.fixture(scope='module')
def vocab(): return Vocab.build(get_items('sample').train)


@pytest.fixture(scope='module')
def batches(vocab):
    examples = Examples(get_items('sample').train[:4], vocab, 32)
    return {rows: Batches(examples, free=rows == 'free')[0][0] for rows in ('nodes', 'free')}


@pytest.fixture(scope='module')
def model(vocab):
    torch.manual_seed(0)
    model = LayoutDiT(model_config(vocab, image_size=32)).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(.05 * torch.randn_like(p))
    return model


def of(task, batches): return batches['free' if task.rows == 'free' else 'nodes']


@pytest.mark.parametrize('name', TASKS)
def test_every_task_trains_and_samples(name, batches, model):
    "One path for both: a finite loss and gradient, a full table, and given cells that come back as they were."
    task = TASKS[name]
    batch, state = begin(task, of(task, batches), model.cfg, draw_t(4))
    loss = sum(diffusion_losses(model(batch, state), state, batch).values())
    assert loss.isfinite() and (not loss.requires_grad or loss.backward() is None)
    result, (batch, state) = sample(model, of(task, batches), 3, task=task), begin(task, of(task, batches), model.cfg)
    for k, n in mask_ids(model.cfg).items():
        given = state[k] < n
        assert (result[k][batch['mask']] < n).all() and torch.equal(result[k][given], state[k][given])
    assert result['x0'].isfinite().all()


@pytest.mark.parametrize('name', TASKS)
def test_what_is_not_seen_changes_nothing(name, batches, model):
    task, batch = TASKS[name], of(TASKS[name], batches)
    torch.manual_seed(0)
    one = sample(model, batch, 1, task=task)
    torch.manual_seed(0)
    two = sample(model, hide(batch, task), 1, task=task)
    assert all(torch.equal(one[k], two[k]) for k in ('label', 'x0', 'conf'))


def test_by_types_and_sizes_keeps_widths_and_heights_alone(batches, model):
    batch = batches['free']
    r, known = sample(model, batch, 4, task='by_types_sizes'), batch['x0_known'] & batch['mask']
    torch.testing.assert_close(r['x0'][known][:, 2:], batch['x0'][known][:, 2:], atol=1e-5, rtol=0)
    assert not torch.allclose(r['x0'][known][:, :2], batch['x0'][known][:, :2], atol=.01) and torch.equal(r['label'], batch['label'])


def test_completion_fills_what_is_missing(batches, model):
    batch = {**batches['free']}
    batch['label'] = torch.where(torch.arange(batch['mask'].shape[1]) < 3, batch['label'], -1)
    r = sample(model, batch, 4, task='completion')
    assert torch.equal(r['label'][:, :3], batch['label'][:, :3]) and (r['label'] < model.cfg.n_labels).all() and (r['conf'][:, :3] == 1).all()


def test_refinement_begins_near_the_end(batches, model):
    "A model that predicts the truth leaves a rough layout's boxes at the truth; the start is not pure noise."
    batch = batches['free']
    _, state = begin('refinement', batch, model.cfg)
    here = batch['x0_known'] & batch['mask']
    assert (state['t'] < .2).all() and (state['xt'][here] - (batch['x0'][here] * 2 - 1)).abs().max() < .1
    seen = []
    sample(model, batch, 3, task='refinement', callback=lambda d: seen.append(d['t']))
    assert seen == sorted(seen, reverse=True) and seen[0] == pytest.approx(.1)


def test_given_cells_are_no_loss(batches, model):
    "Wrong logits on given cells cost nothing."
    torch.manual_seed(0)
    batch, state = begin('completion', batches['free'], model.cfg, torch.ones(4))
    given = (state['label'] < model.cfg.n_labels) & batch['mask']
    with torch.no_grad(): out = model(batch, state)
    before = diffusion_losses(out, state, batch)
    for k in (*COLUMNS, 'x0'): out[k] = torch.where(given[..., None], out[k] + 3 * torch.randn_like(out[k]), out[k])
    after = diffusion_losses(out, state, batch)
    assert given.any() and all(torch.equal(before[k], after[k]) for k in before)


def test_a_stranger_adds_a_task(batches, model, monkeypatch):
    "One function for its cells, one row: training draws it by weight and sampling takes it by name."
    monkeypatch.setitem(GIVEN_CELLS, 'first', lambda b, training: dict(label=torch.arange(b['mask'].shape[1])[None].expand_as(b['mask']) < 1))
    monkeypatch.setitem(TASKS, 'start', Task('start', 'free', ('pixels',), 'first', weight=1))
    torch.manual_seed(0)
    drawn = [task_of(batches['free']).name for _ in range(200)]
    assert set(drawn) == {'start', 'screenshot'} and 60 < drawn.count('start') < 140
    r = sample(model, batches['free'], 2, task='start')
    assert torch.equal(r['label'][:, 0], batches['free']['label'][:, 0]) and (r['conf'][:, 0] == 1).all() and (r['conf'][:, 1:] < 1).any()


def test_wrong_use_says_what_to_do(batches, model):
    with pytest.raises(LayoutError, match="did you mean 'refinement'"): begin('refinment', batches['free'], model.cfg)
    with pytest.raises(LayoutError, match='free=True'): begin('by_types', batches['nodes'], model.cfg)
    with pytest.raises(LayoutError, match='no answers'): begin('by_types', {k: v for k, v in batches['free'].items() if k != 'label'}, model.cfg)
    with pytest.raises(LayoutError, match='no task has nodes rows'): task_of(batches['nodes'], {k: TASKS[k] for k in ('screenshot',)})


# ---- as training has always drawn them

def noise_of_0_1(b, cfg, p_full):
    "What version 0.1 did, written out."
    t = draw_t(len(b['mask']), p_full, b['mask'].device)
    words = {k: mask_cells(b[k], t, n) for k, n in mask_ids(cfg).items()}
    xt = torch.where(b['has_box'][..., None], b['box'] * 2 - 1, q_sample(b['x0'] * 2 - 1, t, torch.randn_like(b['x0'])))
    return dict(**words, xt=xt, box_state=torch.where(b['has_box'], GIVEN, torch.where(b['x0_known'], NOISY, ABSENT)), t=t)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(['nodes', 'free']), st.booleans(), st.floats(0, 1), st.floats(0, 1))
def test_a_seed_gives_the_same_training_batch_as_before(batches, model, seed, rows, colours, drop_pixels, drop_boxes):
    "The main tasks draw no number of their own, and hide nothing that was not dropped."
    s = Settings(drop_pixels=drop_pixels, drop_boxes=drop_boxes, recolour=colours, zoom=.3)
    torch.manual_seed(seed)
    old = corrupt(batches[rows], s)
    state = noise_of_0_1(old, model.cfg, s.p_full)
    torch.manual_seed(seed)
    batch, found = model.noised(corrupt(batches[rows], s), s.p_full)
    assert set(found) == set(state) and all(torch.equal(found[k], state[k]) for k in state) and all(torch.equal(batch[k], old[k]) for k in old)


def test_shares_are_those_that_are_drawn(batches):
    "p_free plans the rows; drop_pixels and drop_boxes are drawn: counts agree with the table."
    s = Settings(p_free=.3, drop_pixels=.4, drop_boxes=.2, recolour=False)
    torch.manual_seed(0)
    n, shares = 600, task_shares(s)
    drawn = [task_of(corrupt(batches['free' if i < s.p_free * n else 'nodes'], s)).name for i in range(n)]
    assert sum(shares.values()) == pytest.approx(1) and all(abs(drawn.count(k) / n - v) < .05 for k, v in shares.items()) and set(drawn) <= set(shares)


def test_a_mixed_batch_is_one_task(vocab, model):
    "Sections with and without HTML in one batch."
    sections = get_items('sample').train[:4]
    batch, _ = Batches(Examples([replace(s, structure=None) if i % 2 else s for i, s in enumerate(sections)], vocab, 32))[0]
    batch, state = model.noised(batch)
    assert batch['free'].any() and not batch['free'].all() and sum(diffusion_losses(model(batch, state), state, batch).values()).isfinite()
    assert (sample(model, batch, 2, task='structure_screenshot')['label'][batch['mask']] < model.cfg.n_labels).all()


def test_a_reader_in_order_takes_both_kinds_of_sections(vocab):
    "Free rows are written in order, nodes denoised; together or apart, the same."
    torch.manual_seed(0)
    reader = build_model(model_config(vocab, image_size=64, in_order=True, patch=8, shared_keys=True)).eval()
    with torch.no_grad():
        for p in reader.parameters(): p.add_(.05 * torch.randn_like(p))
    sections = get_items('sample').train[:4]
    batch, _ = Batches(Examples([replace(s, structure=None) if i % 2 else s for i, s in enumerate(sections)], vocab, 64))[0]
    both, free = sample(reader, batch, 4), batch['free']
    part = lambda rows: {k: v[rows] for k, v in batch.items()}
    for rows in (free, ~free):
        alone = sample(reader, part(rows), 4)
        assert torch.equal(both['label'][rows], alone['label'])
    _, state = reader.noised(batch)
    assert (state['t'][free] == 1).all() and (state['box_t'][free] == 0).all() and 'earlier' in state


@pytest.mark.parametrize('boxes, pixels', [(False, True), (True, False), (False, False)])
def test_a_model_without_boxes_or_pixels_samples_every_task(vocab, batches, boxes, pixels):
    torch.manual_seed(0)
    model = LayoutDiT(model_config(vocab, image_size=32, boxes=boxes, pixels=pixels)).eval()
    for name, task in TASKS.items(): assert (sample(model, of(task, batches), 2, task=name)['label'][of(task, batches)['mask']] < model.cfg.n_labels).all()
    assert (blank_state(batches['free'], model.cfg)['box_state'] == (NOISY if boxes else ABSENT)).all()


def test_corrupting_keeps_padding_and_answers(batches):
    "Labels, masks and padding are never touched; the input batch is left as it is."
    batch = batches['nodes']
    before = {k: v.clone() for k, v in batch.items()}
    torch.manual_seed(0)
    b = corrupt(batch, Settings(drop_tokens=.5, drop_boxes=.5))
    assert all(torch.equal(batch[k], before[k]) for k in before)
    assert all(torch.equal(b[k], batch[k]) for k in ('label', 'wrap', 'depth', 'x0', 'mask', 'rel', 'tag')) and not (b['tok'] > 0)[~batch['mask']].any()
