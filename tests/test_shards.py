"Shards: nothing lost, nothing twice, whoever reads them: one process or many, from the start or from the middle."
import json
import os
import pickle
import shutil
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layoutdiff.core import LayoutError, Section
from layoutdiff.data import Batches, Examples, code_key, get_data, split_data
from layoutdiff.listing import SAMPLE
from layoutdiff.items import Items, get_items, split_items
from layoutdiff.sections import SectionList, Sections, as_sections
from layoutdiff.shards import ShardItems, ShardSections, index_shards, is_shards, load_index, read_shards, write_shards
from layoutdiff.learner import BatchLoader
from layoutdiff.train import fit, training_data


def quiet(line): pass


@pytest.fixture(scope='module')
def items(): return get_items('sample')


def repeated(sections, n):
    "`n` sections with ids and groups of their own."
    return (replace(sections[i % len(sections)], id=f's{i}', group=f'g{i // 7}') for i in range(n))


@pytest.fixture(scope='module')
def shards(tmp_path_factory, items):
    "230 sections in 23 tar files, without a split."
    out = tmp_path_factory.mktemp('shards')/'train-only'
    write_shards(repeated(items.all, 230), out, per_shard=10)
    return out


@pytest.fixture
def mine(shards, tmp_path): return Path(shutil.copytree(shards, tmp_path/'mine'))


def same(a, b): return (a.id, a.group, a.size, a.structure, a.layout, a.screenshot and a.screenshot.read_bytes()) == (b.id, b.group, b.size, b.structure, b.layout, b.screenshot and b.screenshot.read_bytes())


# what is written is read

def test_there_and_back(tmp_path, items):
    write_shards(items, tmp_path/'s', per_shard=7)
    back = get_data(tmp_path/'s')
    assert back.split_given and all(same(a, b) for k in ('train', 'val', 'test') for a, b in zip(getattr(items, k), getattr(back, k), strict=True))
    assert [s.id for s in read_shards(tmp_path/'s')] == [s.id for s in items.all] and all(not s.notes for s in back.all)


def test_the_same_sections_give_the_same_bytes(tmp_path, items):
    for d in ('a', 'b'): write_shards(items, tmp_path/d, per_shard=20)
    assert all(p.read_bytes() == (tmp_path/'b'/p.name).read_bytes() for p in (tmp_path/'a').iterdir() if p.suffix != '.npz')


def test_parts_may_be_missing(tmp_path, items):
    s = items.train[0]
    odd = [replace(s, id='no picture', screenshot=None), replace(s, id='no layout', layout=None), replace(s, id='no html', structure=None, layout=None), Section('größe/é.x@1', structure=s.structure)]
    write_shards({'val': odd}, tmp_path/'s')
    back = get_data(tmp_path/'s').val
    assert all(same(a, b) for a, b in zip(odd, back, strict=True)) and back.n_elements.tolist() == [len(s.layout), 0, 0, 0]


def test_a_generator_is_enough_and_twins_get_ids(tmp_path, items):
    write_shards((replace(items.train[0], group='') for _ in range(3)), tmp_path/'s', per_shard=2)
    id = items.train[0].id
    assert get_data(tmp_path/'s').train.ids == [id, f'{id}~2', f'{id}~3']


def test_what_cannot_be_written_is_set_aside(tmp_path, items):
    (tmp_path/'no.png').write_bytes(b'no picture')
    bad = [replace(items.train[0], screenshot=tmp_path/'gone.png'), replace(items.train[1], screenshot=tmp_path/'no.png'), items.train[2]]
    write_shards(bad, tmp_path/'s')
    back = get_data(tmp_path/'s')
    assert back.train.ids == [items.train[2].id] and len(back.aside) == 2 and 'unreadable-image' in back.aside[1][1]
    with pytest.raises(LayoutError, match='no section to write'): write_shards(bad[:2], tmp_path/'t')


def test_shards_are_rewritten_from_shards(shards, tmp_path):
    write_shards(get_data(shards), tmp_path/'s', per_shard=100)
    assert all(same(a, b) for a, b in zip(read_shards(shards), read_shards(tmp_path/'s'), strict=True))


# the index

def test_index_answers_as_the_sections_do(shards, items):
    listed, lazy = list(repeated(items.all, 230)), get_data(shards).train
    assert lazy.facts() == as_sections(listed).facts() and as_sections(lazy[3:40]).facts() == as_sections(listed[3:40]).facts()
    assert lazy.groups == [s.group for s in listed] and lazy.n_nodes.tolist() == [len(s.structure) for s in listed]
    a, b = split_data(Items(train=lazy), (.7, .2, .1), seed=5), get_data(split_items(Items(train=listed), (.7, .2, .1), seed=5))
    assert all(getattr(a, k).ids == getattr(b, k).ids for k in ('train', 'val', 'test'))
    assert lazy.by_ids(['s9', 'x', 's3']).ids == ['s9', 's3'] and len(lazy.distinct()) == len(lazy[:50].distinct()) == len(as_sections(listed).distinct())


def test_index_from_tars_alone(mine):
    was = load_index(mine)
    for name in ('index.json', 'index.npz'): (mine/name).unlink()
    assert is_shards(mine) and get_data(mine).train.ids == was.ids
    now = load_index(mine)
    assert now.head == was.head and all((now.cols[k] == was.cols[k]).all() for k in was.cols)


def test_a_folder_that_cannot_be_written_is_read(mine, monkeypatch):
    (mine/'index.json').unlink()
    monkeypatch.setattr('layoutdiff.shards.os.replace', lambda *a: (_ for _ in ()).throw(OSError('read-only')))
    assert len(get_data(mine).train) == 230


@pytest.mark.parametrize('harm', ['{', '{}', '{"format": "layoutdiff shards"}', 'npz', 'other', 'escape'])
def test_a_broken_index_is_one_clear_error(mine, harm):
    if harm == 'npz': (mine/'index.npz').write_bytes((mine/'index.npz').read_bytes()[:1000])
    elif harm == 'other':
        head = json.loads((mine/'index.json').read_text())
        (mine/'index.json').write_text(json.dumps(head | dict(fingerprint='0' * 16)))
    elif harm == 'escape':
        head = json.loads((mine/'index.json').read_text())
        head['shards'][0]['file'] = '../train-00000.tar'
        (mine/'index.json').write_text(json.dumps(head))
    else: (mine/'index.json').write_text(harm)
    with pytest.raises(LayoutError): get_data(mine)


def test_pickles_without_files(shards):
    lazy = get_data(shards).train
    lazy[5]
    assert same(pickle.loads(pickle.dumps(lazy))[5], lazy[5]) and lazy[-1].id == lazy[229].id
    with pytest.raises(IndexError): lazy[230]


def test_a_few_sections_are_held(shards):
    lazy = get_data(shards).train
    for s in lazy: pass
    assert len(lazy.recent) == lazy.keep == 64


# damage

def test_missing_and_cut_shards_are_set_aside(mine):
    (mine/'train-00003.tar').unlink()
    raw = (mine/'train-00007.tar').read_bytes()
    (mine/'train-00007.tar').write_bytes(raw[:len(raw) // 3])
    got = get_data(mine)
    assert 210 < len(got.train) < 220 and len(got.aside) == 2 and all(s.structure for s in got.train)
    index_shards(mine)
    assert 210 < len(get_data(mine).train) < 221


def test_a_changed_member_is_an_error_not_another_section(mine):
    index = load_index(mine)
    at = index.cols['at'][15].item()
    raw = bytearray((mine/'train-00001.tar').read_bytes())
    raw[at + 20] ^= 1
    (mine/'train-00001.tar').write_bytes(raw)
    lazy = get_data(mine).train
    with pytest.raises(LayoutError, match='changed since it was indexed'): lazy[15]
    assert lazy[16].id == 's16'


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_harm_takes_no_neighbour_along(shards, tmp_path_factory, data):
    "A block of a tar file is spoilt: all sections that do not stand in it are found again."
    whole, folder = load_index(shards), tmp_path_factory.mktemp('harm')
    raw = bytearray((shards/'train-00002.tar').read_bytes())
    mine, c = np.flatnonzero(whole.cols['shard'] == 2), whole.cols
    block = data.draw(st.integers(0, int(max(c['pic_at'][mine] + c['pic_size'][mine])) // 512)) * 512
    raw[block:block + 512] = data.draw(st.sampled_from([os.urandom(512), b'\xff' * 512, b'x' * 512]))
    (folder/'train-00002.tar').write_bytes(raw)
    found = set(get_data(folder).train.ids)
    struck = {whole.ids[r] for r in mine if c['at'][r] - 512 <= block < c['pic_at'][r] + -(-c['pic_size'][r] // 512) * 512}
    assert {whole.ids[r] for r in mine} - struck <= found and len(struck) <= 1


def test_any_bytes_end_in_a_reason(tmp_path):
    rng = np.random.default_rng(0)
    for i, raw in enumerate([b'', b'\0' * 10240, rng.bytes(5000), b'\x1f\x8b' + rng.bytes(100)]):
        (d := tmp_path/str(i)).mkdir()
        (d/'a.tar').write_bytes(raw)
        with pytest.raises(LayoutError, match='no section in 1 tar files'): get_data(d)


# shards that others wrote

def tar_of(path, members):
    with tarfile.open(path, 'w') as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))


def test_foreign_tars(tmp_path, items):
    s = items.train[0]
    body, picture = (SAMPLE/'train'/s.id/'example.json').read_bytes(), s.screenshot.read_bytes()
    long = 'a' * 150
    tar_of(tmp_path/'web-val-1.tar', [('deep/one.json', body), ('deep/one.png', picture), (f'{long}.png', picture), ('three.txt', b'?'), ('four.json', b'{'), ('five.json', b'[1]'),
                                      ('six.cls', b'1'), ('six.png', b'no'), ('seven.cls', b'1'), ('seven.json', body.replace(s.id.encode(), b'seven'))])
    got = get_data(tmp_path)
    assert [t.id for t in got.val] == [s.id, long, 'seven'] and len(got.aside) == 4
    assert got.val[0].layout == s.layout and got.val[1].size and 'missing-file' in got.val[2].notes[0]
    assert not Path(tmp_path/'deep').exists()


def test_split_folders_and_bystanders(tmp_path, items):
    write_shards(items, tmp_path/'s')
    for k in ('train', 'val'):
        (tmp_path/'w'/k).mkdir(parents=True)
        shutil.copy(tmp_path/'s'/f'{k}-00000.tar', tmp_path/'w'/k/'0.tar')
    got = get_data(tmp_path/'w')
    assert len(got.train) == 30 and len(got.val) == 10 and same(got.val[0], items.val[0]) and len(get_data(tmp_path/'w').val) == 10
    shutil.copytree(SAMPLE, tmp_path/'plain')
    shutil.copy(tmp_path/'s'/'val-00000.tar', tmp_path/'plain')
    assert not is_shards(tmp_path/'plain') and len(get_data(tmp_path/'plain')) == 50


def test_webdataset_reads_them(shards):
    wds = pytest.importorskip('webdataset')
    urls = sorted(str(p) for p in shards.glob('*.tar'))
    rows = list(wds.WebDataset(urls, shardshuffle=False).decode('pil'))
    lazy = get_data(shards).train
    assert len(rows) == 230 and [r['json']['id'] for r in rows] == lazy.ids and [r['__key__'] for r in rows] == [lazy.index.keys[i] for i in lazy.rows]
    assert rows[3]['png'].size and rows[3]['json']['screenshot']['path'] == rows[3]['__key__'] + '.png'


def test_webdataset_writes_for_us(tmp_path, items):
    wds = pytest.importorskip('webdataset')
    with wds.TarWriter(str(tmp_path/'train-0.tar')) as sink:
        for s in items.train[:5]: sink.write({'__key__': s.id, 'json': json.loads((SAMPLE/'train'/s.id/'example.json').read_text()), 'png': s.screenshot.read_bytes()})
    assert all(same(a, b) for a, b in zip(get_data(tmp_path).train, items.train[:5], strict=True))


# batches

@pytest.fixture(scope='module')
def examples(shards):
    lazy = get_data(shards).train
    return Examples(lazy, lazy.facts().vocab, keep=0)


def test_every_section_once_in_every_pass(examples):
    b = Batches(examples, bs=8, steps=7, seed=2)
    n, seen = len(b.draw(0)), []
    second = len(b.draw(1))
    for epoch in range(-(-(n + second) // 7)):
        b.epoch = epoch
        b.plan()
        seen += b.lists
    assert sorted(sum(seen[:n], [])) == list(range(230)) == sorted(sum(seen[n:n + second], [])) and seen[:n] != seen[n:n + second]


@pytest.mark.parametrize('world', [2, 3, 7])
def test_ranks_share_a_pass(examples, world):
    ranks = [Batches(examples, bs=8, steps=1, p_free=.2, seed=1, rank=r, world=world) for r in range(world)]
    parts = [r.draw(0) for r in ranks]
    assert len({len(p) for p in parts}) == 1 and sorted(i for p in parts for rows, _ in p for i in rows) == list(range(230))
    alone = [Batches(examples, bs=8, rank=r, world=world) for r in range(world)]
    assert len({len(b) for b in alone}) == 1 and sorted(i for b in alone for rows in b.lists for i in rows) == list(range(230))


def test_ranks_share_a_small_round(items):
    ex = Examples(items.train, as_sections(items.train).facts().vocab)
    whole, ranks = Batches(ex, bs=4, steps=10, p_free=.5), [Batches(ex, bs=4, steps=5, p_free=.5, rank=r, world=2) for r in range(2)]
    assert [b for pair in zip(ranks[0].lists, ranks[1].lists) for b in pair] == whole.lists


@pytest.mark.parametrize('start', [0, 1, 6, 7, 33])
def test_a_run_goes_on_where_it_ended(examples, start):
    def batches(start, epochs):
        b, out = Batches(examples, bs=8, steps=7, p_free=.3, seed=4, start=start), []
        for _ in range(epochs):
            b.plan()
            out += zip(b.lists, b.is_free)
            b.epoch += 1
        return out
    unbroken, late = batches(0, 10), batches(start, 3)
    assert late == unbroken[start:start + len(late)] and len(late) == 21 - start % 7


def test_windows_keep_reads_together(examples):
    windows = examples.windows(np.random.default_rng(0))
    assert sorted(np.concatenate(windows).tolist()) == list(range(230)) and [len(np.unique(examples.sections.shard[w])) for w in windows] == [8, 8, 7]


def test_workers_give_the_same_batches(examples):
    def all_of(workers):
        loader = BatchLoader(Batches(examples, bs=8, steps=9, p_free=.2, seed=3), workers)
        return [b for _ in range(2) for b in loader]
    alone, helped = all_of(0), all_of(2)
    assert len(alone) == len(helped) == 18 and all(torch.equal(x[k], y[k]) for a, b in zip(alone, helped) for x, y in zip(a, b) for k in x)


def test_a_resumed_loader_counts_right(examples):
    loader = BatchLoader(Batches(examples, bs=8, steps=7, seed=3, start=10))
    assert len(loader) == 4 and len(list(loader)) == 4 and len(list(loader)) == 7


# memory and cache

def test_memory_is_bounded(examples):
    few = Examples(examples.sections, examples.vocab, keep=500_000)
    for i in range(60): few[i]
    assert 400_000 < few.used <= 500_000 and few.used == sum(v.nbytes for d in few.kept.values() for v in d.values())
    real = sum(v.nbytes for i in range(40) for v in few[i].values())
    assert abs(real / Examples(examples.sections[:40], examples.vocab).nbytes() - 1) < .15


def test_cache_is_never_stale_and_safe_to_delete(shards, examples, tmp_path, monkeypatch):
    lazy, cache = get_data(shards).train, tmp_path/'cache'
    def rows(sections=lazy): return Examples(sections, examples.vocab, keep=0, cache=cache)[4]
    def equal(a, b): return a.keys() == b.keys() and all((a[k] == b[k]).all() and a[k].dtype == b[k].dtype and a[k].shape == b[k].shape for k in a)
    first = rows()
    files = sorted(p for p in cache.rglob('*') if p.is_file())
    assert len(files) == 2 and equal(first, rows()) and equal(first, examples[4])
    for harm in (b'', files[0].read_bytes()[:50], bytes(len(files[0].read_bytes()))):
        for p in files: p.write_bytes(harm)
        assert equal(first, rows())
    shutil.rmtree(cache)
    assert equal(first, rows())
    monkeypatch.setattr('layoutdiff.data.code_key', lambda: 'newer')
    rows()
    assert {p.name for p in cache.iterdir()} == {'newer', code_key()}
    monkeypatch.undo()
    other = replace(examples.vocab, types=examples.vocab.types[::-1])
    assert not (Examples(lazy, other, keep=0, cache=cache)[4]['label'] == first['label']).all()
    cache2 = tmp_path/'file'
    cache2.write_text('no folder')
    assert equal(first, Examples(lazy, examples.vocab, keep=0, cache=cache2)[4])


# training

def test_training_data_of_shards(shards):
    items, row = training_data(shards, tell=quiet)
    assert isinstance(items, ShardItems) and all(isinstance(getattr(items, k), ShardSections) for k in ('train', 'val', 'test')) and row.name == 'phase1'
    assert sum(map(len, (items.train, items.val, items.test))) == 230 and not set(items.train.groups) & set(items.val.groups)


@pytest.mark.parametrize('workers', [0, 1])
def test_fit_on_shards(tmp_path, shards, workers, monkeypatch):
    monkeypatch.setattr('layoutdiff.train.VALIDATED', 20)
    run = fit(shards, tmp_path/'runs', tell=quiet, steps=6, epochs=2, size='tiny', members=1, workers=workers, cache=tmp_path/'cache')
    assert run.results[-1]['step'] == 6 and run.results[-1]['train_loss'] > 0 and len(run.config['splits']['train']) > 100
    assert any((tmp_path/'cache').rglob('*')) and (run.path/'val_pred.png').is_file()


def test_batches_of_shards_are_those_of_their_sections(shards):
    lazy = get_data(shards).train[:40]
    listed = list(lazy)
    a, b = (Batches(Examples(s, as_sections(s).facts().vocab), bs=8) for s in (lazy, listed))
    assert a.lists == b.lists and all(torch.equal(a[i][0][k], b[i][0][k]) for i in range(len(a)) for k in a[i][0])
