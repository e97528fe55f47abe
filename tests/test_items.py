"Manifests and the processed layout: written, read, changed, and the split that stays."
import os
import shutil
from dataclasses import replace
from pathlib import Path
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from layoutdiff.core import Element, Layout, LayoutError, Node, Section, Structure
from layoutdiff.items import Items, content_key, file_name, get_items, id_of, statistics
from layoutdiff.pixels import picture_size
from layoutdiff.manifest import Manifest, make_splits, write_items, write_manifest

SPLITS = 'train', 'val', 'test'
def told(items): return {n: [(s.id, s.group, s.size, s.structure, s.layout, [e.box for e in s.layout], s.notes,
    s.screenshot and picture_size(s.screenshot))
                             for s in getattr(items, n)] for n in SPLITS}
def ids(items): return {n: [s.id for s in getattr(items, n)] for n in SPLITS}
def small(id, group=''): return Section(id, group, size=(10, 5), structure=Structure([Node('h1', box=(0, 0, 5, 5))]),
    layout=Layout([Element('heading', (0,))]))

@pytest.fixture(scope='module')
def sample(): return get_items('sample')

@pytest.fixture
def data(tmp_path, sample):
    return write_items(replace(sample, train=sample.train[:6], val=sample.val[:2], test=sample.test[:2]), tmp_path/'data', 'processed')


@pytest.mark.parametrize('form, sized', [('folder', False), ('processed', False), ('processed', True)])
def test_written_and_read_again(tmp_path, sample, form, sized):
    out = write_items(sample, tmp_path/'a', form, sized)
    assert told(get_items(out)) == told(sample)
    assert told(get_items(write_items(get_items(out), tmp_path/'b', 'processed' if form == 'folder' else 'folder'))) == told(sample)

def test_processed_as_others_write_it(data):
    d = yaml.safe_load((data/'dataset_config.yaml').read_text())
    assert d['paths'] == dict(base_dir='processed', examples_dir='examples',
        screenshots_dir='screenshots') and set(d['splits']) == set(SPLITS)
    for i in d['splits']['train']: assert (data/'processed'/'examples'/f'{i}.json').is_file() and (data/'processed'/'screenshots'/f'{i}.png').is_file()
    for p in (data/'processed'/'examples').iterdir():          # pictures are found by their name alone, too
        p.write_text(p.read_text().replace('../screenshots/', 'gone/'))
    assert all(s.screenshot and not s.notes for s in get_items(data).all)

@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(st.characters(exclude_categories=['Cs', 'Cc', 'Zs', 'Zl', 'Zp', 'Cf', 'Co',
    'Cn']) | st.sampled_from("./\\:* %~'\"-#"), min_size=1, max_size=199)
    | st.builds(str.__add__, st.sampled_from(['layout', 'structure', 'example', 'Layout', 'screenshot', 'train', 'b']),
                st.sampled_from(['', '.json', '.JSON', '.png', '.html', '.yaml'])), min_size=1, max_size=6, unique=True))
def test_any_id_can_be_written(tmp_path_factory, names):
    out = tmp_path_factory.mktemp('x')
    items = Items(train=[small(n) for n in names])
    for form in 'folder', 'processed':
        back = get_items(write_items(items, out/form, form))
        assert sorted(s.id for s in back.all) == sorted(names) and not back.aside
        listed = get_items(write_manifest(back, out/f'{form}.yaml'))   # the same sections, by a manifest of their own
        assert sorted(s.id for s in listed.all) == sorted(names) and not listed.aside

@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8) | st.sampled_from(['layout', 'Example.json', 'train', 'TEST', '.', '..', '__x', 'a.', 'b ', '%2E', 'con']), unique=True))
def test_a_file_name_stands_for_one_id(ids):
    names = [file_name(i) for i in ids]
    assert [id_of(n) for n in names] == ids and len(set(names)) == len(ids)
    for n in names:
        assert '/' not in n and '\\' not in n and not n.startswith(('.', '__')) and not n.endswith(('.', ' '))
        assert n.lower() not in ('train', 'val', 'test', 'layout', 'structure', 'example', 'example.json')

def test_long_ids_have_names_of_their_own():
    a, b = (file_name('x' * 300 + c) for c in 'ab')
    assert a != b and len(a) <= 120 and len(file_name('\u00e9' * 200).encode()) <= 120

def test_what_counts_as_the_same_content(sample):
    s = sample.train[0]
    moved = [replace(n, box=n.box and (n.box[0] + 1, *n.box[1:])) for n in s.structure]
    renamed = Layout([replace(e, type='other') for e in s.layout])
    near = [replace(n, box=n.box and (n.box[0] + .004, *n.box[1:])) for n in s.structure]
    key = content_key(s)
    assert key == content_key(replace(s, id='x', group='y', notes=['z'])) == content_key(replace(s, structure=Structure(near)))
    assert content_key(replace(s, structure=Structure(moved))) != key != content_key(replace(s, layout=renamed))
    assert content_key(replace(s, structure=Structure(moved)), boxes=False) == content_key(s, boxes=False)
    assert content_key(replace(s, layout=renamed), layout=False) == content_key(s, layout=False)
    bare = replace(s, structure=None)
    assert content_key(bare, picture='p') != content_key(bare, picture='q') and content_key(s, picture='p') == content_key(s, picture='q')
    assert content_key(bare) != content_key(replace(bare, screenshot=sample.train[1].screenshot))

@pytest.mark.parametrize('name', ['layout', 'structure'])
def test_processed_files_named_like_a_part(data, name):
    "Others write such a file under the plain name; it is a whole example all the same."
    first = Manifest(data).splits['train'][0]
    (data/'processed'/'examples'/f'{first}.json').rename(data/'processed'/'examples'/f'{name}.json')
    config = data/'dataset_config.yaml'
    config.write_text(config.read_text().replace(f'- {first}\n', f'- {name}\n'))
    items = get_items(data)
    assert first in ids(items)['train'] and not items.aside

def test_ids_that_look_like_numbers(tmp_path):
    names = ['007', '1e3', 'yes', 'null', '0x10', '2024-01-01', '~', '1_000', 'on', '.5', '- a', 'a: b', '#x']
    out = write_items(Items(train=[small(n) for n in names]), tmp_path/'a', 'processed')
    assert ids(get_items(out))['train'] == names
    Manifest(out).move(names[:4], 'test')
    assert ids(get_items(out)) == dict(train=names[4:], val=[], test=names[:4])


OTHER = '''# our data
# of May

name: "007"
limit: 1e-3          # this comment is lost
nothing: ~
when: 2024-01-01
paths: {base_dir: processed}
more: {deep: [1, two, {three: 0x10}], 'quoted': '5'}
splits:
  training:
    size: 6
    examples: [%s]
  dev: [%s]
'''

def test_other_keys_stay(data):
    path, before = data/'dataset_config.yaml', get_items(data)
    a, b = ([s.id for s in before.train], [s.id for s in before.val])
    path.write_text(OTHER % (', '.join(a), ', '.join(b)))
    Manifest(data).move(a[0], 'val').move(a[1], 'test')
    text, was, now = path.read_text(), yaml.safe_load(OTHER % ('', '')), yaml.safe_load(path.read_text())
    assert text.startswith('# our data\n# of May\n\nname: "007"\n') and {k: v for k, v in now.items() if k != 'splits'} == {k: v for k,
        v in was.items() if k != 'splits'}
    assert '0x10' in text and "'5'" in text and '1e-3' in text
    assert now['splits'] == {'training': {'size': 4, 'examples': a[2:]}, 'dev': [*b, a[0]], 'test': [a[1]]}
    assert get_items(data).notes == [] and [p.name for p in data.iterdir() if p.name.startswith('.')] == []

def test_top_level_splits_and_two_names_of_one(tmp_path):
    for n in 'abcd': write_items([small(n)], tmp_path/n/'x')
    for n in 'abcd': shutil.move(tmp_path/n/'x'/'train'/n/'example.json', tmp_path/n/'example.json')
    (tmp_path/'dataset_config.yaml').write_text('train: [a]\nval: [b]\nvalid: [c]\nother: 1\n')
    Manifest(tmp_path).move('a', 'val').add(small('e'), 'train')
    assert yaml.safe_load((tmp_path/'dataset_config.yaml').read_text()) == {'train': ['e'], 'val': ['b', 'c', 'a'], 'valid': [], 'other': 1}
    assert ids(get_items(tmp_path)) == dict(train=['e'], val=['b', 'c', 'a'], test=[])

def test_nothing_moves_where_one_is_unknown(data):
    before, (a, *_) = (data/'dataset_config.yaml').read_bytes(), [s.id for s in get_items(data).train]
    with pytest.raises(LayoutError, match=f"lists 10 examples, and none is .*did you mean '{a}'"): Manifest(data).move([a, a + 'x'], 'test')
    with pytest.raises(LayoutError, match="there is no split 'tset'; did you mean 'test'"): Manifest(data).move(a, 'tset')
    assert (data/'dataset_config.yaml').read_bytes() == before

def test_a_stop_while_writing_leaves_the_old_one(data, monkeypatch):
    before, (a, *_) = (data/'dataset_config.yaml').read_bytes(), [s.id for s in get_items(data).train]
    def stop(*_): raise KeyboardInterrupt
    monkeypatch.setattr(os, 'replace', stop)
    with pytest.raises(KeyboardInterrupt): Manifest(data).move(a, 'test')
    assert (data/'dataset_config.yaml').read_bytes() == before and len(list(data.iterdir())) == 2

def test_one_more_example(data, sample):
    new = replace(sample.train[9], id='new one', notes=[])
    Manifest(data).add(new, 'test')
    s = get_items(data).test[-1]
    assert (s.id, s.group, s.structure, s.layout, s.size) == ('new one', new.group, new.structure, new.layout,
        new.size) and s.screenshot.parent.name == 'screenshots'
    before = (data/'dataset_config.yaml').read_bytes()
    for again in (new, replace(new, structure=None)):
        with pytest.raises(LayoutError, match='duplicate-id'): Manifest(data).add(again)
    assert (data/'dataset_config.yaml').read_bytes() == before


def test_a_manifest_elsewhere(tmp_path, data):
    items = get_items(data)
    path = write_manifest(items, tmp_path/'runs'/'one.yaml', sized=True)
    assert told(get_items(path)) == told(items) and yaml.safe_load(path.read_text())['paths']['base_dir'] == '../data/processed'
    (tmp_path/'found').mkdir()
    shutil.copy(path, tmp_path/'found'/'dataset_config.yaml')
    with pytest.raises(LayoutError, match='path-escape'): get_items(tmp_path/'found')

@pytest.mark.parametrize('paths', ['{screenshots_dir: ../outside}', '{screenshots_dir: /etc}', '{examples_dir: ../outside}',
    '{base_dir: ..}', '{base_dir: ../outside}'])
def test_paths_cannot_leave(tmp_path, data, paths):
    shutil.copytree(data/'processed'/'screenshots', tmp_path/'outside')
    d = yaml.safe_load((data/'dataset_config.yaml').read_text())
    (data/'dataset_config.yaml').write_text(yaml.safe_dump({**d, 'paths': yaml.safe_load(paths)}))
    with pytest.raises(LayoutError, match='path-escape'): get_items(data)

def test_a_named_manifest_keeps_its_folders_inside(tmp_path, data):
    path = tmp_path/'mine.yaml'
    path.write_text('paths: {base_dir: data/processed, screenshots_dir: ../../..}\nsplits: {train: [a]}')
    with pytest.raises(LayoutError, match='path-escape'): get_items(path)


def test_splits_that_stay(tmp_path, sample):
    root = write_items(sample.all, tmp_path/'data')
    made = make_splits(root, (.7, .15, .15), seed=3)
    assert told(get_items(root)) == told(made) == told(make_splits(root, (.1, .1, .8), seed=9)) and made.split_given
    groups = [{s.group for s in getattr(made, n)} for n in SPLITS]
    assert all(groups) and not groups[0] & groups[1] and not (groups[0] | groups[1]) & groups[2] and len(made) == 50
    assert yaml.safe_load((root/'dataset_config.yaml').read_text())['made'] == dict(by='group', ratios=[.7, .15, .15], seed=3, sections=50)

def test_splits_written_elsewhere(tmp_path, sample):
    root = write_items(sample.all, tmp_path/'data')
    made = make_splits(root, path=tmp_path/'runs'/'split.yaml')
    assert told(get_items(tmp_path/'runs'/'split.yaml')) == told(made) and not (root/'dataset_config.yaml').exists() and not get_items(root).split_given

def test_only_what_is_missing_is_made(data, sample):
    Manifest(data).move([s.id for s in get_items(data).val], 'train')
    test = ids(get_items(data))['test']
    made = make_splits(data, (.7, .15, .15))
    assert ids(made)['test'] == test == ids(get_items(data))['test'] and ids(made)['val'] and told(get_items(data)) == told(made)
    assert make_splits(sample) is sample

def test_splits_with_a_broken_example(tmp_path):
    root = write_items([small(str(i)) for i in range(9)], tmp_path/'data')
    (root/'train'/'4'/'example.json').write_text('{')
    made = make_splits(root)
    assert made.notes == ['1 examples could not be read and are in no split.'] and len(get_items(root)) == 8
    with pytest.raises(LayoutError, match='say where'): make_splits(Items(train=[small('a')]))


def test_statistics(sample):
    s = statistics(sample)
    assert [s[n]['sections'] for n in SPLITS] == [30, 10,
        10] and s['train']['types']['heading'] == sum(e.type == 'heading' for o in sample.train for e in o.layout)
    assert s['test']['nodes'] == sum(len(o.structure) for o in sample.test) and s['val']['no_layout'] == 0
    assert statistics([Section('a')])['all']['no_structure'] == 1 and '| sections | 30 | 10 | 10 |' in s._repr_markdown_()

def test_large_manifests_are_quick(tmp_path):
    import time
    names = [f'section-{i:06}' for i in range(20_000)]
    path = tmp_path/'dataset_config.yaml'
    path.write_text('splits:\n  train:\n' + ''.join(f'  - {n}\n' for n in names))
    start = time.process_time()
    Manifest(path).move(names[::2], 'val')
    assert Manifest(path).splits == {'train': names[1::2], 'val': names[::2]} and time.process_time() - start < 10

def test_path_of_manifest_is_any(tmp_path):
    with pytest.raises(LayoutError, match='there is no manifest'): Manifest(tmp_path)
    with pytest.raises(LayoutError, match='there is no manifest'): Manifest(Path('nowhere.yaml'))
