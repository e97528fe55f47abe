"Training on data as users have them: few, partly broken, partly unlabelled, without HTML, out of time."
import json
import shutil
import time
from dataclasses import replace

import pytest
import torch

from layoutdiff.core import LayoutError
from layoutdiff.data import Examples
from layoutdiff.items import SAMPLE, Items, get_items
from layoutdiff.run import open_run
from layoutdiff.sample import predict_tables
from layoutdiff.train import fit

quick = dict(steps=4, rounds=2, size='tiny')


def quiet(line): pass


@pytest.fixture(scope='module')
def items(): return get_items('sample')


@pytest.mark.parametrize('n', [1, 4, 7])
def test_fewer_sections_than_a_batch_train(tmp_path, items, n):
    run = fit(Items(train=items.train[:n]), tmp_path, tell=quiet, **quick)
    assert run.results[-1]['step'] == 4 and run.results[-1]['train_loss'] > 0
    assert open_run(run.path).loaded[1].types


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
    model, vocab, s, _ = run.loaded
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
    model, vocab, *_ = run.loaded
    assert not model.cfg.pixels and [t.label for t in predict_tables(model, Examples(items.train[:2], vocab), 1)] == \
        [t.label for t in predict_tables(model, Examples(items.train[:2], vocab), 1, given=('structure',))]   # pictures it never learned to read
    assert not model.cfg.boxes and all(b is None for t in predict_tables(model, Examples(bare, vocab), 2) for b in t.box)


def test_time_is_kept(tmp_path, items):
    start = time.monotonic()
    run = fit(items, tmp_path, time=4, tell=quiet, steps=100_000, rounds=1000, size='tiny')
    assert time.monotonic() - start < 120 and run.results[-1]['step'] < 100_000
    assert run.results[-1]['lr'] < 1e-3 and (run.path/'weights'/'last.safetensors').is_file()


def test_patience_ends_training(tmp_path, items):
    run = fit(Items(train=items.train[:4], val=items.val[:2], split_given=True), tmp_path, tell=quiet, steps=60, rounds=60, patience=2, size='tiny', lr=1e-7)
    assert len(run.results) < 60


def test_prediction_is_the_same_in_any_company(tmp_path, items):
    run = fit(Items(train=items.train[:6], val=items.val[:2], split_given=True), tmp_path, tell=quiet, **quick)
    model, vocab, *_ = run.loaded
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
    second = fit(Items(train=[more], val=[more], split_given=True), tmp_path, init=first.path, tell=told.append, steps=1, rounds=1, lr=1e-7, warmup=.9)
    (old, v1, *_), (new, v2, *_) = first.loaded, second.loaded
    assert v2.types[:len(v1.types)] == v1.types and 'title-of-mine' in v2.types and any('title-of-mine' in line for line in told)
    assert torch.allclose(new.blocks[0].qkv.weight, old.blocks[0].qkv.weight, atol=1e-4)
    assert torch.allclose(new.slots.label.weight[:len(v1.labels)], old.slots.label.weight[:-1], atol=1e-4)
    assert second.config['init'] == str(first.path)


def replace_type(layout, old, new):
    return type(layout)([replace(e, type=new if e.type == old else e.type) for e in layout], layout.props)


def test_lower_levels_learn_later_and_more_slowly(tmp_path, items):
    first = fit(Items(train=items.train[:6]), tmp_path, tell=quiet, **quick)
    frozen = fit(Items(train=items.train[:6]), tmp_path, init=first.path, tell=quiet, steps=3, rounds=1, layer_decay=.5, unfreeze=1, ema=0)
    (old, *_), (new, *_) = first.loaded, frozen.loaded
    assert not torch.equal(new.label.weight, old.label.weight) and torch.equal(new.slots.tag.weight, old.slots.tag.weight)


def test_a_support_set_changes_the_answer_and_variants_are_trained_on(tmp_path, items):
    run = fit(Items(train=items.train), tmp_path, tell=quiet, **{**quick, 'steps': 12}, p_support=1., augment=4)
    model, vocab, *_ = run.loaded
    few, shown = Examples(items.test[:3], vocab), Examples(items.val[:2], vocab)
    alone, helped = predict_tables(model, few, 1), predict_tables(model, few, 1, support=shown)
    assert model.cfg.support and all(a.conf != b.conf for a, b in zip(alone, helped))
    assert helped == predict_tables(model, few, 1, support=shown)
