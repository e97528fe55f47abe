"Sections answer alike in memory and in shards, and whatever is drawn from them is drawn alike."
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest

from layoutdiff.core import Element, Layout, LayoutError, Section
from layoutdiff.data import Batches, Examples, get_data, split_data
from layoutdiff.draw import show_sections
from layoutdiff.items import Items, get_items
from layoutdiff.pixels import open_picture, picture_size, read_pixels
from layoutdiff.sections import SectionList, Sections, as_sections
from layoutdiff.shards import ShardSections, open_shards, write_shards


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    "The same 53 sections, listed and in shards; two have no layout, one is a copy, one has no HTML."
    own = get_items('sample').all
    own = own + [replace(own[3], id='copy'), replace(own[4], id='bare', layout=None), replace(own[5], id='seen', structure=None, layout=None)]
    write_shards(own, folder := tmp_path_factory.mktemp('both')/'shards', per_shard=9)
    return SectionList(own), open_shards(folder).train


def test_every_question_has_one_answer(both):
    listed, lazy = both
    assert isinstance(listed, Sections) and isinstance(lazy, Sections) and as_sections(lazy) is lazy
    for name in ('ids', 'groups', 'n_nodes', 'n_elements', 'has_notes', 'contents'): assert list(getattr(listed, name)) == list(getattr(lazy, name)), name
    assert listed.has_structures == lazy.has_structures and listed.facts() == lazy.facts()
    for ask in (Sections.labelled, Sections.noted, Sections.distinct, lambda s: s.sample(9, seed=4), lambda s: s.by_ids(['seen', 'nobody', s.ids[7]]), lambda s: s[40:2:-3],
                lambda s: s.subset([5, 1, 5]), lambda s: s.subset(s.n_nodes > 20), lambda s: s[:4] + s[50:], lambda s: [] + s, lambda s: s.subset([])):
        a, b = ask(listed), ask(lazy)
        assert (type(a), type(b)) == (SectionList, ShardSections) and a.ids == b.ids
    assert len(listed.labelled()) == 51 and len(listed.distinct()) == 52 - (listed.contents[4] == listed.contents[51])


def test_names_of_content(both):
    for s in both:
        assert s.fingerprint() == s[:].fingerprint() != s[::-1].fingerprint()
        assert s.key(3) != s.key(4) and len({s.key(i) for i in range(len(s))}) == len(s)
    a = both[0][:1]
    assert as_sections([replace(a[0], size=(9, 9))]).key(0) != a.key(0) != as_sections([replace(a[0], screenshot=both[0][1].screenshot)]).key(0)


def test_the_sample_is_that_of_python(both):
    rows = sorted(random.Random(7).sample(range(53), 10))
    assert all(s.sample(10, 7).ids == [s.ids[i] for i in rows] for s in both)


def test_sections_of_different_shards_are_not_joined(both, tmp_path):
    write_shards(both[0][:3], tmp_path/'s')
    with pytest.raises(LayoutError, match='cannot be joined'): both[1] + open_shards(tmp_path/'s').train
    with pytest.raises(LayoutError, match='cannot be joined'): both[1] + both[0]


def test_nothing_is_read_that_the_index_knows(both, monkeypatch):
    lazy = both[1]
    monkeypatch.setattr('layoutdiff.shards.Index.section', lambda *a: pytest.fail('a section was read'))
    parts = split_data(Items(train=lazy.labelled()), seed=2)
    parts.train.sample(5).facts(), parts.val.fingerprint(), parts.test.key(0)
    Batches(Examples(lazy.labelled(), lazy.facts().vocab), bs=8, steps=5)


def test_lists_of_callers_become_sections():
    own = get_items('sample').train
    items = get_data(Items(train=own[:20], val=own[20:], split_given=True))
    assert all(isinstance(getattr(items, k), SectionList) for k in ('train', 'val', 'test', 'all')) and items.all.ids == [s.id for s in own]
    assert pickle.loads(pickle.dumps(items.train)).ids == items.train.ids


def test_in_memory_an_epoch_is_planned_anew_and_never_short():
    train = get_data('sample').train
    ex = Examples(train, train.facts().vocab)
    b = Batches(ex, bs=8, steps=11)
    first, b.epoch = b.lists, 1
    b.plan()
    assert len(first) == len(b.lists) == 11 and first != b.lists and {i for l in first for i in l} == set(range(30))
    assert [s.id for s in b.sections(0)] == [train.ids[i] for i in b.lists[0]] == [train.ids[i] for i in b[0][1]['index']]


def test_a_list_can_be_cached_too(tmp_path, monkeypatch):
    train = get_data('sample').train
    make = lambda: Examples(train, train.facts().vocab, keep=0, cache=tmp_path)[2]
    first = make()
    monkeypatch.setattr('layoutdiff.data.node_arrays', lambda s: pytest.fail('made anew'))
    monkeypatch.setattr('layoutdiff.data.read_pixels', lambda *a: pytest.fail('read anew'))
    again = make()
    assert first.keys() == again.keys() and all((first[k] == again[k]).all() for k in first)


# pictures

@pytest.mark.parametrize('raw', [b'', b'no picture', b'\x89PNG\r\n\x1a\n' + bytes(40)])
def test_what_is_no_picture_is_one_clear_error(tmp_path, raw):
    (path := tmp_path/'p.png').write_bytes(raw)
    for source in (path, raw):
        with pytest.raises(LayoutError, match='unreadable-image'): picture_size(source)
        with pytest.raises(LayoutError, match='unreadable-image'):
            with open_picture(source) as im: im.load()
    with pytest.raises(LayoutError, match='section lost'): read_pixels(Section('lost', screenshot=path))


def test_errors_of_the_caller_are_not_taken_for_damage():
    with pytest.raises(LayoutError, match='^mine$'):
        with open_picture(get_items('sample').train[0].screenshot): raise LayoutError('mine')


def test_a_grid_of_sections():
    own = as_sections(get_items('sample').train)
    assert len(show_sections(own, n=5, width=80).axes) == 5
    assert len(show_sections(own, (s.layout for s in own), n=3, width=80).axes) == 6
    assert show_sections([Section('nothing'), Section('tall', size=(390, 4000))], [Layout([Element('map')]), Layout([])], width=80).png()
