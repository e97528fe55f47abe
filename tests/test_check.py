"Faults of datasets: planted ones are found, clean sections are left in peace, and what is repaired stays good."
import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from layoutdiff.check import list_sections, open_section, same_aspect, validate
from layoutdiff.core import LayoutError
from layoutdiff.faults import CODES, Sink
from layoutdiff.listing import SAMPLE
from layoutdiff.repair import REPAIRS, fix
from layoutdiff.items import distinct, get_items, read_section, write_section

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get('LAYOUTDIFF_DATA', ROOT.parent/'shared'/'data'))
sys.path.insert(0, str(ROOT/'nbs'/'bench'))
import plant
from fuzz import disagree

def needs(name): return pytest.mark.skipif(not (DATA/name).is_dir(), reason=f'no {name} here')

@pytest.fixture(scope='module')
def clean(): return plant.clean_counts({'v2', 'v1', 'manifest'})

@pytest.mark.parametrize('name', plant.PLANTS)
def test_planted_faults(name, clean):
    "All found, no false alarm."
    row, wrong = plant.score(name, 3, 7, clean)
    assert row['found'] == row['planted'] >= 3 and not wrong

def test_sample_has_no_error():
    report = validate('sample')
    assert report.exit_code == 0 and report.sections == 50 and set(report.counts) <= {'outside-box', 'rare-label'}

def test_sections_are_what_the_reader_reads():
    root, found = list_sections('sample', Sink())
    for e in found:
        mine, theirs = open_section(e, root).section, read_section(e.path)
        assert (mine.id, mine.group, mine.size, mine.screenshot) == (theirs.id, theirs.group, theirs.size, theirs.screenshot)
        assert mine.structure == theirs.structure and mine.layout == theirs.layout

def small(folder, name='example.json', **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder/name).write_text(json.dumps({'structure': {'nodes': [{'tag': 'p'}]}, 'layout': {'elements': [{'type': 'text', 'sources': [0]}]}, **more}))

def test_loose_files_beside_a_folder_of_notes(tmp_path):
    "The reader reads both files; so the check looks at both, and the repaired copy holds both."
    root = tmp_path/'data'
    for name in 'ab': small(root, f'{name}.json')
    (root/'notes').mkdir()
    (root/'notes'/'todo.txt').write_text('x')
    assert [s.id for s in get_items(root).all] == ['a', 'b']
    report = validate(root)
    assert set(report.entries) == {'a.json', 'b.json'} and not report.counts['unlisted'] and report.exit_code == 0
    fix(root, tmp_path/'out')
    assert [s.id for s in get_items(tmp_path/'out').all] == ['a', 'b']

PLACES = st.sampled_from(['a', 'b', 'train/a', 'train/b', 'val/a', 'test/c', 'validation/d', 'trian/e', 'notes/x/y', '.hidden', '__pycache__/a',
                          'examples/a', 'processed/examples/b', 'quarantine/q', 'train/sub/z'])
PIECES = st.sampled_from(['example.json', 'a.json', 'b.json', 'layout.json', 'structure.json', 'screenshot.png', 'notes.txt', 'broken', 'link', 'folder.json'])
MANIFESTS = st.none() | st.dictionaries(st.sampled_from(['train', 'val', 'valid', 'test']),
    st.lists(st.sampled_from(['a', 'b', 'c', 'a.json', 'train/a', 'gone', '../x', 'sub/z', '']), max_size=4), min_size=1)

def put(folder, piece):
    "One file of a random dataset."
    folder.mkdir(parents=True, exist_ok=True)
    if piece == 'screenshot.png': Image.new('RGB', (30, 20), 'red').save(folder/piece)
    elif piece == 'broken': (folder/'example.json').write_text('{"id": ')
    elif piece == 'structure.json': (folder/piece).write_text('{"div.a": {"h1": {"text": "x"}}}')
    elif piece == 'layout.json': (folder/piece).write_text('{"section@div.a": {"heading@h1": ""}}')
    elif piece == 'link': (folder/'layout.json').unlink(missing_ok=True) or (folder/'layout.json').symlink_to('nowhere')
    elif piece == 'folder.json': (folder/piece).mkdir(exist_ok=True)
    elif piece == 'notes.txt': (folder/piece).write_text('x')
    else: small(folder, piece)

@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(PLACES | st.just('.'), PIECES), min_size=1, max_size=9), MANIFESTS)
def test_the_check_looks_at_what_the_reader_reads(tmp_path_factory, files, manifest):
    root = tmp_path_factory.mktemp('any')/'data'
    for place, piece in files: put(root/place, piece)
    if manifest is not None: (root/'dataset_config.yaml').write_text(json.dumps({'splits': manifest}))
    try: items = get_items(root)
    except LayoutError: return
    assert not disagree(root, items)

@pytest.fixture
def broken(tmp_path):
    "Every kind of fault that a section can show, one section each, in one folder."
    root = tmp_path/'data'
    shutil.copytree(SAMPLE, root)
    rng, kept = random.Random(3), sorted((root/'train').iterdir())[-3:]
    shutil.copytree(kept[0], root/'test'/'renamed')
    plant.edit(root/'test'/'renamed', lambda d: d.update(id='renamed'))
    plant.edit(kept[1], lambda d: d.update(id=plant.js(kept[2])['id']))
    at = iter([p for p in plant.sections(root) if p not in kept and p.name != 'renamed'])
    for name, (code, base, f, _) in plant.PLANTS.items():
        if f.__code__.co_varnames[0] == 'root' or base == 'manifest': continue
        for p in at:
            try:
                if base == 'v1':
                    write_section(read_section(p), p, version=1)
                    (p/'example.json').unlink()
                f(p, rng)
                break
            except (StopIteration, IndexError, ValueError): continue
    return root

def test_all_faults_at_once(broken):
    counts = validate(broken).counts
    assert {c for c, base, f, _ in plant.PLANTS.values() if base != 'manifest' and f.__code__.co_varnames[0] == 'p'} <= set(counts) and counts['split-leak']

def snapshot(root): return {p: p.read_bytes() for p in sorted(root.rglob('*')) if p.is_file()}

def test_fix(broken, tmp_path):
    before, said = snapshot(broken), []
    lines = fix(broken, tmp_path/'out', tell=said.append)
    assert snapshot(broken) == before and lines == said
    after = validate(tmp_path/'out')
    left = {f.code for f in after.faults if f.level == 'error'}
    assert not left & {*REPAIRS, 'split-leak', 'group-cut', 'duplicate-id', 'unreadable-json', 'bad-schema', 'bad-tree'}, left
    reasons = [json.loads(p.read_text()) for p in (tmp_path/'out'/'quarantine').glob('*/reason.json')]
    assert reasons and all(r['faults'] and all(f['code'] in CODES for f in r['faults']) for r in reasons)
    changes = json.loads((tmp_path/'out'/'changes.json').read_text())
    assert {c['code'] for c in changes['changes']} >= {'swapped-files', 'split-leak', 'dangling-reference', 'duplicate-id'}
    kept, gone = after.sections, sum(c['code'] in ('unreadable', 'split-leak') for c in changes['changes'])
    assert kept + gone == validate(broken).sections                # nothing is lost in silence

def test_fix_again_changes_nothing(broken, tmp_path):
    fix(broken, tmp_path/'one')
    lines = fix(tmp_path/'one', tmp_path/'two')
    assert [p.relative_to(tmp_path/'one') for p in sorted((tmp_path/'one').glob('t*/*/*'))] == [p.relative_to(tmp_path/'two') for p in sorted((tmp_path/'two').glob('t*/*/*'))]
    assert 'nothing had to be repaired' in lines[-1]

def test_fix_keeps_a_cut_group_together(tmp_path):
    root = tmp_path/'data'
    shutil.copytree(SAMPLE, root)
    p = next((root/'train').iterdir())
    shutil.move(p, root/'test'/p.name)
    assert validate(root).counts['group-cut'] == 1
    lines = fix(root, tmp_path/'out')
    assert (tmp_path/'out'/'train'/p.name).is_dir() and any('moved from test to train' in l for l in lines)
    assert validate(tmp_path/'out').exit_code == 0

@pytest.mark.parametrize('out', ['', 'new', '..'])
def test_fix_refuses_the_dataset_itself(tmp_path, out):
    shutil.copytree(SAMPLE/'val', tmp_path/'data'/'val')
    with pytest.raises(LayoutError, match='cannot lie in the dataset'): fix(tmp_path/'data', tmp_path/'data'/out)

def test_fix_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path/'out').mkdir()
    (tmp_path/'out'/'mine.txt').write_text('mine')
    with pytest.raises(LayoutError, match='not empty'): fix('sample', tmp_path/'out')
    assert [p.name for p in (tmp_path/'out').iterdir()] == ['mine.txt']

def test_exit_codes_and_wrong_use(tmp_path, broken):
    assert (validate('sample').exit_code, validate(broken).exit_code) == (0, 1)
    (tmp_path/'empty').mkdir()
    for path in (tmp_path/'empty', tmp_path/'nothing'):
        with pytest.raises(LayoutError): validate(path)

def test_reports(broken, tmp_path):
    report = validate(broken)
    page = report.html(tmp_path/'report.html').read_text(encoding='utf-8')
    assert page.count('class="card"') == 10 and 'data:image/png;base64,' in page and '<script' not in page
    assert all(f'<code>{c}</code>' in page for c in report.counts)
    said = json.loads(report.to_json())
    assert said['counts'] == report.counts and all({'code', 'path', 'found', 'allowed', 'fix', 'level'} <= set(f) for f in said['faults'])
    assert all(c in report._repr_markdown_() for c in report.counts)

def test_html_is_escaped(tmp_path):
    p = tmp_path/'data'/'train'/'a'
    shutil.copytree(next((SAMPLE/'train').iterdir()), p)
    plant.edit(p, lambda d: d['structure']['nodes'][0].update({'<script>alert(1)</script>': 1}))
    assert '<script>' not in validate(tmp_path/'data').html(tmp_path/'r.html').read_text()

def test_processes_agree_with_one(tmp_path):
    root = tmp_path/'data'
    for k in range(6): shutil.copytree(SAMPLE/'train', root/'train', dirs_exist_ok=True) if k == 0 else [shutil.copytree(p, root/'train'/f'{p.name}-{k}') for p in sorted((SAMPLE/'train').iterdir())]
    for p in sorted((SAMPLE/'val').iterdir()):
        for k in range(9): shutil.copytree(p, root/'val'/f'{p.name}-{k}')
    one, two = validate(root, workers=1), validate(root, workers=2)
    assert one.sections >= 256 and one.faults == two.faults

def test_nothing_stops_it(tmp_path):
    "Random bytes in random places: a report, never an exception."
    rng, root = random.Random(5), tmp_path/'data'
    shutil.copytree(SAMPLE/'val', root/'train')
    files = [f for p in sorted((root/'train').iterdir()) for f in sorted(p.iterdir())]
    for k in range(15):
        for f in rng.sample(files, 6):
            data = bytearray(f.read_bytes())
            for _ in range(rng.choice([1, 3, 30])):
                if data: data[rng.randrange(len(data))] = rng.choice(b'{}[]",:0-9\x00\xffae')
            f.write_bytes(data[:rng.randrange(len(data))] if rng.random() < .1 and data else data)
        assert not validate(root).counts['unchecked']

@pytest.mark.parametrize('text', ['[]', '1', '"a"', 'null', '{}', '{"structure": 1, "layout": 2, "screenshot": 3}', '{"structure": {"nodes": [1, null, {}]}}',
    '{"structure": {"type": "HTMLObject"}}', '{"layout": {"elements": [null, 3, {"type": 1, "sources": "x", "parent": {}}], "props": []}}', '[' * 5000,
    '{"structure": {"div": {"p": [1]}}, "layout": {"a@@": {"@": 1, "": []}}}', '{"structure": {"nodes": [{"tag": "a", "parent": -5}, {"tag": "b", "parent": 9e99}]}}'])
def test_odd_json(tmp_path, text):
    (tmp_path/'train'/'a').mkdir(parents=True)
    (tmp_path/'train'/'a'/'example.json').write_text(text)
    report = validate(tmp_path)
    assert report.levels['error'] and not report.counts['unchecked']

def test_many_faults_of_one_file_are_counted(tmp_path):
    p = tmp_path/'train'/'a'
    shutil.copytree(next((SAMPLE/'train').iterdir()), p)
    plant.edit(p, lambda d: d['structure'].update(nodes=d['structure']['nodes'][:1] + [{'tag': 'p', 'parent': 0, 'box': [0]}] * 500))
    told = [f for f in validate(tmp_path).faults if f.code == 'bad-box']
    assert len(told) == 51 and told[-1].found == '450 more of the same'

def test_aspect():
    assert same_aspect((384, 149), (1440, 560)) and not same_aspect((384, 152), (1440, 560)) and same_aspect((384, 152), (1440, 560), 3)

@needs('sections30')
def test_sections30_shows_its_known_faults(tmp_path):
    "Those that shared/data/README.md lists."
    report = validate(DATA/'sections30')
    at = lambda code: Counter(f.section for f in report.faults if f.code == code)
    assert set(at('split-leak')) == {f'{s}/{p.name}' for s in ('val', 'test') for p in (DATA/'sections30'/s).iterdir()} and len(at('split-leak')) == 12
    assert set(at('swapped-files')) == {f'train/example_{k}' for k in ('05', '06', '07', '08', '13')} | {f'test/example_{k}' for k in ('05', '06', '07')}
    assert at('dangling-reference') == {'train/example_24': 2, 'val/example_24': 2}
    told = [f.found for f in report.faults if f.code == 'inconsistent-label']
    assert len(told) >= 4 and any("'div.button-group' as the only child of 'div.margin-top.margin-medium'" in t for t in told)
    assert report.counts['uneven-hints'] == 1 and report.counts['lost-background'] and report.exit_code == 1
    fix(DATA/'sections30', tmp_path/'out')
    items, true = get_items(tmp_path/'out'), distinct(get_items(DATA/'sections30'))
    assert validate(tmp_path/'out').exit_code == 0 and len(items.train) == len(items) == len(true) == 30
    mine = {s.path.name: s for s in items.all}
    for s in true.all: assert mine[s.path.name].structure == s.structure and mine[s.path.name].layout == s.layout

@needs('wp-sections')
def test_wp_sections_show_none_of_those():
    report = validate(DATA/'wp-sections')
    assert not set(report.counts) & {'split-leak', 'swapped-files', 'dangling-reference', 'duplicate-key', 'inconsistent-label', 'uneven-hints', 'lost-background', 'group-cut'}
    assert report.sections == 2103 and report.exit_code == 0
