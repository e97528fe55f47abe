"The formats: there-and-back over random trees, corrupt files, and the real data where it is present."
import json, os
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from layoutdiff.core import Element, Layout, LayoutError, Node, Section, Structure
from layoutdiff.faults import Sink
from layoutdiff.html import dumps, format_key, loads, parse_html, parse_key, split_key, structure_from_v1, structure_to_v1
from layoutdiff.resolve import layout_from_v1, layout_to_v1
from layoutdiff.formats import section_from_v2, section_to_v2
from layoutdiff.items import distinct, get_items, read_section, split_items, write_section

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
names = st.text(st.sampled_from("ab1-_.@$#[]'%:é /"), min_size=1, max_size=6).filter(lambda s: s.strip() == s)
words = st.text(max_size=8)
values = st.one_of(st.integers(-99, 9999), st.sampled_from(['grid', 'flex', "a'b", '1.5', '']))
hints = st.dictionaries(st.sampled_from(['d', 'col', 'z', 'p', 'a:b']), values, max_size=3)
attrs = st.dictionaries(st.sampled_from(['src', 'svg', 'text', '@click', 'x-on:click.once', 'alt']), words, max_size=3)
numbers = st.floats(0, 1e6) | st.integers(0, 5000)
boxes = st.none() | st.tuples(numbers, numbers, numbers, numbers)


@st.composite
def structures(draw, size=12):
    "Trees with few tags and classes, so that keys repeat."
    out, chain = [], []
    for i in range(draw(st.integers(1, size))):
        chain = chain[:draw(st.integers(0, len(chain)))]
        out.append(Node(draw(st.sampled_from(['div', 'a', 'svg', 'text', 'my-x'])), chain[-1] if chain else -1,
                        tuple(draw(st.lists(st.sampled_from(['b', 'c.d']) | names, max_size=2))), draw(st.just('') | names), draw(hints),
                        draw(words).strip(), draw(attrs), draw(boxes)))
        chain.append(i)
    return Structure(out)


def layout_of(structure, draw):
    "A layout whose tree follows the nodes, with sourceless elements between."
    elements, owner = [], {}
    for i, n in enumerate(structure):
        above = n.parent
        while above >= 0 and above not in owner: above = structure[above].parent
        parent = owner.get(above, -1)
        what = draw(st.sampled_from(['start', 'start', 'merge', 'drop', 'wrap']))
        last = max((j for j, e in enumerate(elements)), default=-1)
        if what == 'merge' and parent == last >= 0: elements[parent].sources, owner[i] = (*elements[parent].sources, i), parent
        elif what in ('start', 'wrap') and _open(elements, parent):
            if what == 'wrap':
                elements.append(Element('column', (), parent))
                parent = len(elements) - 1
            elements.append(Element(draw(st.sampled_from(['box', 'text', 'a.b'])), (i,), parent, draw(boxes), draw(st.none() | st.floats(0, 1))))
            owner[i] = len(elements) - 1
    free = [i for i in range(len(structure)) if i not in owner]
    return Layout(elements, {'bi': free[:1], 'bo': free[1:3]} if draw(st.booleans()) else {})


def _open(elements, parent):
    "Whether an element may still be added below `parent` in preorder."
    i = len(elements) - 1
    while i >= 0 and i != parent: i = elements[i].parent
    return i == parent


@st.composite
def sections(draw):
    structure = draw(structures())
    return Section(draw(names), draw(st.sampled_from(['', 'site'])), size=draw(st.none() | st.just((1440, 600.5))), structure=structure,
                   layout=layout_of(structure, draw))


def plain(structure): return [(n.tag, n.parent, n.classes, n.id, n.hints, n.text, n.attrs) for n in structure]


@quick
@given(names, st.lists(names, max_size=3), st.just('') | names, hints, st.none() | st.integers(1, 99))
def test_key_there_and_back(tag, classes, id, hints, k):
    node = Node(tag, classes=tuple(classes), id=id, hints=hints)
    assert split_key(format_key(node, hints=True, k=k)) == (node, k)
    assert parse_key(format_key(node)) == Node(tag, classes=tuple(classes), id=id)


@quick
@given(sections())
def test_version_2_loses_nothing(sec):
    back = section_from_v2(loads(dumps(section_to_v2(sec))))
    assert back == sec and [(e.box, e.confidence) for e in back.layout] == [(e.box, e.confidence) for e in sec.layout]


@quick
@given(sections())
def test_version_1_there_and_back(sec):
    text = dumps(structure_to_v1(sec.structure)), dumps(layout_to_v1(sec.layout, sec.structure))
    structure = structure_from_v1(json.loads(text[0]))          # a plain parser sees every node: keys are unique
    sink = Sink(mode='read')
    assert structure == structure_from_v1(loads(text[0])) and plain(structure) == plain(sec.structure)
    assert layout_from_v1(json.loads(text[1]), structure) == sec.layout == layout_from_v1(json.loads(text[1]), structure, sink)
    assert not sink.notes and dumps(structure_to_v1(structure)) == text[0]


@quick
@given(sections(), st.integers(0, 11))
def test_a_lost_node_never_breaks_reading(sec, gone):
    obj, keep = layout_to_v1(sec.layout, sec.structure), [i for i in range(len(sec.structure)) if i != gone]
    if len(sec.structure) < 2 or gone >= len(sec.structure) or sec.structure.children[gone]: return
    nodes = [Node(n.tag, keep.index(n.parent) if n.parent >= 0 else -1, n.classes, n.id) for n in (sec.structure[i] for i in keep)]
    layout = layout_from_v1(obj, Structure(nodes), Sink(mode='read'))
    used = [s for e in layout for s in e.sources]
    assert len(used) == len(set(used)) and all(0 <= s < len(nodes) for s in used)
    assert layout_from_v1(layout_to_v1(layout, Structure(nodes)), Structure(nodes)) == layout


json_like = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | words,
                         lambda c: st.lists(c, max_size=3) | st.dictionaries(words | st.sampled_from(
                             ['structure', 'layout', 'nodes', 'elements', 'props', 'data', 'type', 'div.a', 'text', 'section@div.a', 'tag',
                              'parent', 'box', 'sources', 'hints', 'screenshot', 'path', 'width', 'bi']), c, max_size=4), max_leaves=20)


@quick
@given(json_like | st.builds(lambda s, l: {'structure': s, 'layout': l}, json_like, json_like))
def test_any_json_reads_or_says_why(tmp_path, obj):
    for name in ('example.json', 'structure.json', 'layout.json', 'x.json'):
        file = tmp_path/name.split('.')[0]/name
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(obj))
        try: read_section(file)
        except LayoutError as e: assert str(file.parent) in str(e)


@quick
@given(st.binary(max_size=200))
def test_any_bytes_read_or_say_why(tmp_path, data):
    for name in ('a.json', 'a.png', 'a.html', 'dataset_config.yaml'):
        (tmp_path/name).write_bytes(data)
        try: read_section(tmp_path/name) if name != 'dataset_config.yaml' else get_items(tmp_path/name)
        except LayoutError: pass


@quick
@given(st.text(st.sampled_from('<>/divpasg ="\'!-&;x'), max_size=80))
def test_any_html_is_forgiven(text):
    try: parse_html(text)
    except LayoutError as e: assert 'holds no element' in str(e)


@pytest.mark.parametrize('text, says', [
    ('', 'unreadable-json'), ('{', 'line 1'), ('{"a": NaN}', 'NaN'), ('[' * 100_000, 'nested too deeply'), ('[]', 'an object'), ('{}', 'the example has the keys none'),
    ('{"structure": {"version": 2, "nodes": []}}', 'holds no node'), ('{"structure": {"nodes": [{"tag": 3}]}}', 'tag=3'),
    ('{"structure": {"type": "HTMLObject"}}', 'has neither nodes nor data'), ('{"structure": {"nodes": [{"tag": "p", "box": [0, 0, -1, 1]}]}}', 'not negative'),
    ('{"structure": {"nodes": [{"tag": "p"}]}, "layout": {"elements": [{"type": "x", "sources": [7]}]}}', 'names node 7. Allowed: 0 to 0'),
    ('{"structure": {"nodes": [{"tag": "p"}]}, "layout": {"elements": [{"type": "x", "parent": 0}]}}', 'has parent 0. Allowed: -1 to -1'),
    ('{"structure": {"div[x]": {}}}', "unexpected '['"), ('{"structure": {"p": {}}, "layout": {"a": [1]}}', 'children as an object'),
    ('{"screenshot": {"path": "../../../etc/passwd"}}', 'path-escape'), ('{"screenshot": {"path": "/etc/passwd"}}', 'path-escape'),
    ('{"screenshot": {"width": 0, "height": 5}}', 'above 0')])
def test_faults_are_named(tmp_path, text, says):
    (tmp_path/'example.json').write_text(text)
    with pytest.raises(LayoutError, match='(?s)') as e: read_section(tmp_path)
    assert says in str(e.value) and str(tmp_path) in str(e.value)


def test_pictures(tmp_path):
    Image.new('1', (9000, 9000)).save(tmp_path/'large.png')
    with pytest.raises(LayoutError, match='oversized-image'): read_section(tmp_path/'large.png')
    whole = (tmp_path/'large.png').read_bytes()
    (tmp_path/'cut.png').write_bytes(whole[:12])
    with pytest.raises(LayoutError, match='unreadable-image'): read_section(tmp_path/'cut.png')
    (tmp_path/'text.png').write_text('hello')
    with pytest.raises(LayoutError, match='unreadable-image'): read_section(tmp_path/'text.png')
    with pytest.raises(LayoutError, match='nothing at this path'): read_section(tmp_path/'none.png')


STRUCTURE, LAYOUT = '{"div.a": {"h1": {"text": "x"}}}', '{"section@div.a": {"heading@h1": ""}}'


def test_parts_may_be_missing(tmp_path):
    for name, text in (('structure', STRUCTURE), ('layout', LAYOUT)):
        (tmp_path/name).mkdir()
        (tmp_path/name/f'{name}.json').write_text(text)
    (tmp_path/'shot').mkdir()
    Image.new('RGB', (30, 20)).save(tmp_path/'shot'/'screenshot.jpg')
    a, b, c = (read_section(tmp_path/n) for n in ('structure', 'layout', 'shot'))
    assert (len(a.structure), a.layout, a.notes) == (2, None, [])
    assert b.structure is None and [e.type for e in b.layout] == ['section', 'heading'] and len(b.notes) == 1
    assert (c.id, c.size, c.structure) == ('shot', (30, 20), None)


def test_swaps_in_version_1_examples(tmp_path):
    a, b = json.loads(STRUCTURE), json.loads(LAYOUT)
    wrong = {'structure': {'type': 'HTMLObject', 'data': b}, 'layout': {'type': 'SectionLayout', 'data': a, 'props': {}}}
    (tmp_path/'example.json').write_text(json.dumps(wrong))
    sec = read_section(tmp_path)
    assert sec.notes[0].startswith('swapped-files') and sec.layout[1].sources == (1,) and len(sec.structure) == 2


def test_manifest_of_processed_folders(tmp_path):
    for i in '001', '002':
        sec = Section(i, 'site' + i, structure=parse_html('<h1>Hi</h1>'), layout=Layout([Element('heading', (0,))]))
        (tmp_path/'processed'/'examples').mkdir(parents=True, exist_ok=True)
        (tmp_path/'processed'/'screenshots').mkdir(exist_ok=True)
        (tmp_path/'processed'/'examples'/f'{i}.json').write_text(dumps(section_to_v2(sec)))
        Image.new('RGB', (30, 20)).save(tmp_path/'processed'/'screenshots'/f'{i}.png')
    for paths in ('', 'paths: {base_dir: processed, examples_dir: examples, screenshots_dir: screenshots}',
                  'paths: {base_dir: ., examples_dir: processed/examples, screenshots_dir: processed/screenshots}'):
        (tmp_path/'dataset_config.yaml').write_text(f'splits:\n  train: [001]\n  test: {{size: 1, examples: [002, ../../x]}}\n{paths}\n')
        items = get_items(tmp_path)
        assert [s.id for s in items.train] == ['001'] and [s.size for s in items.test] == [(30, 20)]
        assert 'path-escape' in items.aside[0][1] and items.split_given and len(items.notes) == 1


@quick
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 9), st.integers(2, 6))
def test_splits_never_cut_a_group(groups, seed, k):
    many = [Section(str(i), f'g{g}') for i, g in enumerate(groups)]
    s = split_items(many, seed=seed)
    parts, n = [{o.group for o in p} for p in (s.train, s.val, s.test)], len(set(groups))
    assert sum(map(len, parts)) == n and len(s) == len(many) and [bool(p) for p in parts] == [True, n > 1, n > 2]
    folds = split_items(many, k=k, seed=seed)
    assert len(folds) == min(k, n) and all(not {o.group for o in a} & {o.group for o in b} for a, b in folds)
    assert n == 1 or sorted(o.id for _, b in folds for o in b) == sorted(o.id for o in many)


# The real data, where it is present

DATA = Path(os.environ.get('LAYOUTDIFF_DATA') or Path(__file__).parents[2]/'shared'/'data')
def needs(name): return pytest.mark.skipif(not (DATA/name).is_dir(), reason=f'{name} is not here (set LAYOUTDIFF_DATA)')


@needs('wp-sections')
def test_wp_sections_there_and_back(tmp_path):
    items = get_items(DATA/'wp-sections')
    assert (len(items.train), len(items.val), len(items.test), items.aside) == (1520, 244, 339, [])
    for i, s in enumerate(items.all):
        assert not s.notes and section_from_v2(loads(dumps(section_to_v2(s)))).structure == s.structure
        structure = structure_from_v1(loads(dumps(structure_to_v1(s.structure))))
        assert plain(structure) == plain(s.structure)
        assert layout_from_v1(loads(dumps(layout_to_v1(s.layout, s.structure))), structure) == s.layout
        if i % 100: continue
        for v in 1, 2:
            back = read_section(write_section(s, tmp_path/s.id/str(v), version=v))
            assert back.layout == s.layout and plain(back.structure) == plain(s.structure) and (v == 1 or back.structure == s.structure)


@needs('sections30')
def test_sections30_read_right():
    items = get_items(DATA/'sections30')
    told = [(s.id, n) for s in items.train for n in s.notes]
    assert (len(items), items.aside, len(distinct(items)), distinct(items).split_given) == (42, [], 30, False)
    assert [i[-2:] for i, n in told if n.startswith('swapped-files')] == ['05', '06', '07', '08', '13']
    assert [i[-2:] for i, n in told if n.startswith('dangling-reference')] == ['24', '24']
    for s in distinct(items).train:
        v1 = structure_to_v1(s.structure), layout_to_v1(s.layout, s.structure)
        two = section_from_v2(loads(dumps(section_to_v2(s))))
        assert (structure_to_v1(two.structure), layout_to_v1(two.layout, two.structure)) == v1
        assert structure_from_v1(v1[0]) == s.structure and layout_from_v1(v1[1], s.structure) == s.layout
