"The readers on broken files: a short run of tests/fuzz.py, and one small test for each fault that a long run found."
import json
import os
import time
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from fuzz import fuzz, png, reason, use
from layoutdiff.core import Element, Layout, LayoutError, Node, Section, Structure
from layoutdiff.faults import Sink
from layoutdiff.html import dumps, loads, parse_html, split_key, structure_from_v1
from layoutdiff.resolve import layout_from_v1
from layoutdiff.formats import read_layout, read_structure, section_from_v2
from layoutdiff.items import Items, _unique_ids, get_items, read_section
from layoutdiff.pixels import picture_size
from layoutdiff.slots import encode

SEED, COUNT = 0, 500          # the long run: python tests/fuzz.py --n 20000 --seed 0
SECONDS = 4.                  # the long run allows 1 on a quiet machine; .3 became 1.1 on a shared one (what hung took from two seconds to hours)


def soon(f, *args, limit=SECONDS):
    "The result, or the LayoutError; it must not take more than `limit` seconds of processor time (the better of two tries)."
    for last in False, True:
        start = time.process_time()
        try: out = f(*args)
        except LayoutError as e: out = e
        seconds = time.process_time() - start
        if seconds < limit: return out
    raise AssertionError(f'{seconds:.1f} s')

def refused(f, *args, code):
    out = soon(f, *args)
    assert isinstance(out, LayoutError) and reason(out) == code and len(str(out)) < 1500, repr(out)[:300]


def test_short_run(tmp_path):
    out = fuzz(COUNT, SEED, tmp_path, limit=SECONDS)
    assert out['n'] == COUNT and not out['faults'], out['faults']
    assert out['accepted'] > COUNT // 5 and sum(out['refused'].values()) > COUNT // 4 and len(out['refused']) >= 6


def test_a_case_is_always_the_same():
    a, b = (fuzz(1, 7, only=3) for _ in range(2))
    assert {k: a[k] for k in ('refused', 'kinds', 'faults')} == {k: b[k] for k in ('refused', 'kinds', 'faults')}


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.sampled_from("@.$#[]':%=+a1 \0"), max_size=60), st.text(st.sampled_from("@.$#[]':%=+a1 "), max_size=60))
def test_any_key_reads_or_says_why(a, b):
    for f in (lambda: split_key(a), lambda: layout_from_v1({a: {b: ''}}, Structure([Node('a')]), Sink(mode='read')),
        lambda: structure_from_v1({a: {b: {}}}),
              lambda: layout_from_v1({'structure': {}, 'props': {'bi': [a, b]}}, Structure([Node('a')]), Sink(mode='read'))):
        out = soon(f)
        assert not isinstance(out, LayoutError) or reason(out)


# Crashes

def v2(node=None, element=None, **more): return {'structure': {'nodes': [{'tag': 'p', **(node or {})}]},
    'layout': {'elements': [{'type': 'x', **(element or {})}]}, **more}

@pytest.mark.parametrize('obj, code', [
    (v2(node={'box': [0, 0, 10**400, 1]}), 'bad-box'), (v2(element={'box': [1e300, 0, 1, 1]}), 'bad-box'),
        (v2(element={'confidence': 10**400}), 'bad-schema'),
    (v2(screenshot={'width': 10**400, 'height': 5}), 'bad-schema'), (v2(screenshot={'width': 5e-324, 'height': 5}), 'bad-schema'),
    (v2(element={'type': 'x' * 1_000_000}), 'bad-syntax'), (v2(node={'parent': 7}), 'bad-tree'), (v2(element={'parent': 0}), 'bad-tree'),
    (v2(id={'a': 1}), 'bad-schema'), (v2(id='a\0b'), 'bad-schema'), (v2(id='\ud800'), 'bad-schema'), (v2(group='x' * 999), 'bad-schema'),
    ({'structure': {'p': {}}, 'layout': {'structure': {'x@p': ''}, 'props': {'bi': 5}}}, 'bad-schema')])
def test_values_that_no_page_has(obj, code): refused(section_from_v2, loads(json.dumps(obj)), code=code)

def test_props_without_a_structure(): assert soon(read_layout, {'structure': {'x': ''}, 'props': 5}, None, Sink(mode='read')) == Layout([Element('x')])

def test_a_deep_value_is_told_in_short():
    deep = loads('{"nodes": [{"tag": ' + '[' * 900 + ']' * 900 + '}]}')
    refused(read_structure, deep, code='bad-schema')
    refused(read_structure, {'nodes': [{'tag': 'p', 'classes': [[1]] * 1_000_000}]}, code='bad-schema')

def test_half_letters_in_html(): assert soon(parse_html, '<p title="\ud800">\ud800x')[0].text == '?x'

def test_a_chain_fills_its_gaps_in_place():
    page = structure_from_v1({'div.a': {}, 'p': {}, 'div$1': {}, 'div$2': {}})
    layout = layout_from_v1({'s@div.a': {'x@div$9@p@div$1': ''}}, page, Sink(mode='read'))
    assert layout[-1].sources == (1, 2)


# Hangs: each took from two seconds to hours

def test_equal_siblings():
    page = loads('{"div": {' + ','.join(['"p": {"b": {}}'] * 2500) + '}}')
    for ref, n in (('a@p', 2500), ('a@p$%d', 2500), ('a@p@b', 2500), ('a@q.x%d', 2500), ('a@b', 2500)):
        layout = loads('{"s@div": {' + ','.join(f'"{ref.replace("%d", str(i + 1))}": ""' for i in range(n)) + '}}')
        read = soon(read_section_of, page, layout)
        soon(use, read)

def read_section_of(page, layout):
    structure = structure_from_v1(page)
    return Section('x', structure=structure, layout=layout_from_v1(layout, structure, Sink(mode='read')))

@pytest.mark.parametrize('layout', ['{"s@div": {"x' + '@p' * 3000 + '": ""}}', '{"s@div": ' + '{"w":' * 200 + '{' + ','.join(['"a@p": ""'] * 3000) + '}' + '}' * 200 + '}',
                                    '{"structure": {"s@div": {}}, "props": {"bi": [' + ','.join(['"p"'] * 900) + '], "bo": "' + 'p@' * 900 + 'p"}}',
                                    '{"s@div": {"x' + '@p' * 1500 + '": {' + ','.join(['"a@b": ""'] * 1500) + '}}}'],
                                        ids=['chain', 'wraps', 'props', 'sets'])
def test_much_to_resolve(layout):
    page = loads('{"div": {' + ','.join(['"p": {"b": {}}'] * 3000) + '}}')
    soon(use, soon(read_section_of, page, loads(layout)))

@pytest.mark.parametrize('shape', ['wide', 'deep'])
def test_wide_and_deep_tables(shape):
    n = 5000 if shape == 'wide' else 500
    parents = [-1] + [0 if shape == 'wide' else i for i in range(n - 1)]
    sec = Section('x', structure=Structure([Node('p', p) for p in parents]),
        layout=Layout([Element('x', (i,), p) for i, p in enumerate(parents)]))
    assert soon(encode, sec).reasons == []
    soon(use, sec)

def test_too_deep(): refused(read_structure, {'nodes': [{'tag': 'p', 'parent': i - 1} for i in range(5000)]}, code='oversized-file')

@pytest.mark.parametrize('obj', ['{"p": {' + ','.join(['"text": "ab"'] * 100_000) + '}}', '{"p": {' + ','.join(f'"a{i}": ""' for i in range(300_000)) + '}}', '{"p' + '.a' * 900_000 + '": {}}',
                                 '{"p": {"b' + "['a:b']" * 300_000 + '": {}}}', '{"div": {' + ','.join(['"p": {}'] * 60_000) + '}}'],
                                     ids=['texts', 'attributes', 'classes', 'hints', 'nodes'])
def test_much_in_one_structure(obj): soon(lambda: read_structure(loads(obj)))

@pytest.mark.parametrize('key', ["['" * 200_000, '@' * 300_000, 'x' + '@p' * 300_000, 'x@p' + '.a' * 900_000, 'x@p' + '%' * 900_000,
    'x$1' * 300_000, "x@['x:@']" * 100_000])
def test_long_keys_of_a_layout(key):
    for obj in ({key: ''}, {'structure': {}, 'props': {'bi': key}}, {'structure': {}, 'props': {key: 'p'}}): soon(read_layout, obj,
        Structure([Node('p')]), Sink(mode='read'))

@pytest.mark.parametrize('html', [
    '<div>' * 30_000, '<div ' + ' '.join(f'a{i}' for i in range(30_000)) + '>',
        ''.join(f'<i id={i}>' for i in range(3000)) + '<p>' * 3000, '<b>' + '<div>' * 5000 + '</b>' * 5000,
    '<div>' * 1900 + '</p>' * 90_000, '<a><div>' * 20_000, '<div style="display:grid;grid-template-columns:' + '[' * 1_000_000 + '">',
    ('<div style="display:grid;grid-template-columns:' + '(' * 900 + ')' * 900 + '"></div>') * 300,
        ('<p style="display:grid;grid-template-columns:' + 'repeat(999,a)' * 150 + '"></p>') * 300,
    '<div style="' + ';' * 3_000_000 + '">'], ids=['deep', 'attributes', 'reopened', 'inline', 'paragraphs', 'links', 'brackets',
        'parentheses', 'repeat', 'style'])
def test_html_made_to_be_slow(html):
    out = soon(parse_html, html)
    assert isinstance(out, Structure) or reason(out) == 'oversized-file'

def test_html_nests_as_deep_as_in_browsers(): assert max(parse_html('<div>' * 1500).depth) == 511

def test_svg_and_sloppy_html_are_no_bombs():
    assert len(parse_html('<svg>' + '<path d="M0 0" />' * 3000 + '</svg>' + '<p>a<li>b<td>' * 900)) > 900
    assert len(parse_html('<ul>' + '<li><i class="icon"></i><a href="/">x</a>' * 900 + '</ul>')) == 2701

@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, '[' + '{},' * 1_000_000 + '1]',
    '{"structure": {"nodes": [' + '[],' * 1_000_000 + '1]}}'], ids=['lists', 'objects', 'many', 'nodes'])
def test_json_made_to_be_slow(tmp_path, text):
    (tmp_path/'example.json').write_text(text)
    out = soon(read_section, tmp_path)
    assert isinstance(out, LayoutError) and reason(out) in ('unreadable-json', 'oversized-file')

@pytest.mark.parametrize('name, data', [
    ('a.jpg', b'\xff\xd8' + b'\xff' * 3_000_000), ('a.jpg', b'\xff\xd8' + b'\xff\xe1\0\2' * 500_000),
        ('a.png', png(30, 20)[:33] + (b'\0\0\0\0abCd' + bytes(4)) * 300_000),
    ('a.png', b'GIF89a\1\0\1\0\0\0\0!\xfe' + (b'\xff' + b'c' * 255) * 40_000), ('a.png', png(100_000, 100_000)), ('a.png', png(0, 10))],
        ids=['padding', 'markers', 'chunks', 'comments', 'vast', 'none'])
def test_pictures_made_to_be_slow(tmp_path, name, data):
    (tmp_path/name).write_bytes(data)
    out = soon(picture_size, tmp_path/name)
    assert isinstance(out, LayoutError) and reason(out) in ('unreadable-image', 'oversized-image')

def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path/'screenshot.png')
    refused(read_section, tmp_path/'screenshot.png', code='missing-file')


# Neighbours and reasons

def example(folder, name='example.json', id=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder/name).write_text(dumps({'structure': {'nodes': [{'tag': 'p'}]}, **({'id': id} if id else {})}))

def test_a_folder_among_loose_files(tmp_path):
    for n in 'ac': example(tmp_path, f'{n}.json')
    (tmp_path/'b.json').mkdir()
    items = get_items(tmp_path)
    assert [s.id for s in items.all] == ['a', 'c'] and reason(items.aside[0][1]) == 'missing-file'
    (tmp_path/'thumbnails').mkdir()
    assert len(get_items(tmp_path)) == 2

@pytest.mark.parametrize('text, code', [
    ('a: &a [x,x]\n' + ''.join(f'{chr(98 + i)}: &{chr(98 + i)} [{",".join(["*" + chr(97 + i)] * 9)}]\n' for i in range(20)) + 'splits: {train: *u}', 'bad-syntax'),
    ('[' * 100_000, 'bad-syntax'), ('- ' * 100_000, 'bad-syntax'), ('{a: ' * 100_000, 'bad-syntax'),
        ('splits: {train: [a], train: [b]}', 'duplicate-key'), ('paths: {base_dir: [a]}\nsplits: {train: [a]}', 'bad-syntax'),
    ('paths: {screenshots_dir: ..}\nsplits: {train: [a]}', 'path-escape'),
        ('paths: {base_dir: /etc}\nsplits: {train: [a]}', 'path-escape'), ('splits: {train: a}', 'bad-schema'), ('x: 1', 'bad-syntax'),
        ('', 'bad-syntax')])
def test_manifests_that_are_refused(tmp_path, text, code):
    example(tmp_path/'d'/'a')
    (tmp_path/'d'/'dataset_config.yaml').write_text(text)
    refused(get_items, tmp_path/'d', code=code)

def test_odd_entries_of_a_manifest(tmp_path):
    for n in 'ab': example(tmp_path/n)
    (tmp_path/'dataset_config.yaml').write_text('splits:\n  train: [a, ' + 'x' * 5000 + ', [a], {b: c}, .., "", "\\0", /etc/passwd, a/../b, b]')
    items = get_items(tmp_path)
    assert [s.id for s in items.all] == ['a', 'b', 'b~2'][:len(items)] and {s.id for s in items.all} >= {'a', 'b'}
    assert all(reason(why) for _, why in items.aside) and len(items.aside) + len(items) == 10

def test_a_name_that_is_no_text(tmp_path):
    example(tmp_path/os.fsdecode(b'm\xff'))
    (tmp_path/os.fsdecode(b'n\xff')).mkdir()
    items = get_items(tmp_path)
    assert items.all[0].id == 'm\ufffd' and items.summary().encode()

def test_ten_thousand_equal_ids():
    items = Items(train=[Section('a') for _ in range(10_000)])
    soon(_unique_ids, items)
    assert len({s.id for s in items.all}) == 10_000
