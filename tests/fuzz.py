"""python tests/fuzz.py [--n 20000] [--seed 0] [--only CASE] [--kind slow] [--keep DIR] [--json FILE]: real files, broken in every way we could think of, through the readers.

Each broken file lies beside healthy neighbours. The readers must raise nothing but a LayoutError with a code, take no more than a second of
processor time, and lose no neighbour. `validate` must look at the same sections, and name an error for each that is set aside. Case I of seed S is always the same: `--only I` runs it alone, and `--keep` holds the files of what failed."""
import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault('OMP_NUM_THREADS', '1')
from PIL import Image  # noqa: E402
from layoutdiff.core import LayoutError  # noqa: E402
from layoutdiff.check import open_section, validate  # noqa: E402
from layoutdiff.faults import Sink, relative  # noqa: E402
from layoutdiff.html import dumps, loads, pairs, parse_html, structure_from_v1, structure_to_v1  # noqa: E402
from layoutdiff.resolve import layout_from_v1, layout_to_v1  # noqa: E402
from layoutdiff.formats import read_layout, read_structure, section_from_v2, section_to_v2  # noqa: E402
from layoutdiff.listing import SAMPLE, list_data  # noqa: E402
from layoutdiff.items import get_items, read_section, write_section  # noqa: E402
from layoutdiff.slots import decode, encode  # noqa: E402

LIMIT = 1.    # seconds of processor time that a file may take
CODE = re.compile(r'(?:^|: )([a-z]+(?:-[a-z]+)+): ')


# Real files to start from

def picture(section, fmt='PNG'):
    "The section's screenshot at a quarter of its size, as bytes."
    with Image.open(section.screenshot) as im: im.convert('RGB').reduce(4).save(f := io.BytesIO(), fmt)
    return f.getvalue()

def as_html(structure):
    "A page with the tags, classes and texts of a structure."
    out, opened = [], []
    for i, n in enumerate(structure):
        while opened and opened[-1] != n.parent: out.append(f'</{structure[opened.pop()].tag}>')
        out.append(f'<{n.tag} class="{" ".join(n.classes)}" style="display:{n.hints.get("d", "block")};grid-template-columns:repeat(2, 1fr)">{n.text}')
        opened.append(i)
    return ''.join(out + [f'</{structure[i].tag}>' for i in reversed(opened)])

def materials():
    "{kind: list of {file name: bytes}}"
    some, out = sorted(get_items(SAMPLE).all[::7], key=lambda s: len(s.structure)), {k: [] for k in ('example', 'pair', 'page', 'picture',
        'manifest')}
    with tempfile.TemporaryDirectory() as tmp:
        for s in some:
            shot = picture(s)
            out['example'].append({'example.json': dumps(section_to_v2(replace(s, screenshot=Path('screenshot.png')))).encode(),
                'screenshot.png': shot})
            folder = write_section(replace(s, screenshot=None), Path(tmp)/s.id, version=1)
            out['pair'].append({p.name: p.read_bytes() for p in sorted(folder.iterdir())} | {'screenshot.png': shot})
            out['page'].append({'page.html': as_html(s.structure).encode()})
        for fmt, ext in (('PNG', 'png'), ('JPEG', 'jpg'), ('WEBP', 'webp'), ('PNG', 'png')):
            out['picture'].append({'screenshot.' + ext: picture(some[len(out['picture'])], fmt),
                'structure.json': b'{"h1.a": {"text": "x"}}'})
    for p in sorted((ROOT/'nbs'/'sample'/'sites').glob('*.html'))[:3]: out['page'].append({'page.html': p.read_bytes()})
    return out


# Text that is not quite JSON

class Raw(str):
    "Written as it stands."

def emit(o):
    "JSON text of a tree that may hold `Raw` pieces and repeated keys (as lists of pairs under `Obj`)."
    if isinstance(o, Raw): return str(o)
    if isinstance(o, Obj): return '{' + ','.join(f'{emit(k)}:{emit(v)}' for k, v in o) + '}'
    if isinstance(o, list): return '[' + ','.join(map(emit, o)) + ']'
    return json.dumps(o)

class Obj(list):
    "A JSON object as a list of [key, value]."

def as_tree(o):
    if isinstance(o, dict): return Obj([k, as_tree(v)] for k, v in pairs(o))
    return [as_tree(v) for v in o] if isinstance(o, list) else o

def places(o, out=None):
    "All (container, index) of a tree, the way to every value."
    out = [] if out is None else out
    for i, v in enumerate(o):
        where, v = (v, v[1]) if isinstance(o, Obj) else (o, v)
        out.append((where, 1 if isinstance(o, Obj) else i))
        if isinstance(v, list): places(v, out)
    return out

def objects(o, out=None):
    out = [] if out is None else out
    if isinstance(o, Obj): out.append(o)
    for v in o:
        v = v[1] if isinstance(o, Obj) else v
        if isinstance(v, list): objects(v, out)
    return out

ODD = ['', ' ', '\0', '\ud800', '\udfff\ud800', '\u202eabc', '\ufeff', '\u2028', 'e\u0301' * 50, '\U0001f600', '../../x', '/etc/passwd',
    'con', 'a' * 300, '%00', '%2E', '%zz',
       '=+', '+a =b', 'merge', 'drop', 'none', 'empty', 'bi', '~', '.', '..', 'x' * 70_000, "['", '@', '$', '#', 'div$0', 'div$999999999',
           'div$9999999999', "a['d:grid']['d:flex']",
       '\r\n', '\t', '<script>', '{{', '\x1b[31m', '\x7f']
VALUES = [None, True, False, -1, 0, 1, 2**31, 2**63, 10**30, -10**400, Raw('1' * 4000), Raw('1' * 5000), Raw('1e308'), Raw('-1e308'),
    Raw('1e999'), Raw('NaN'), Raw('Infinity'),
          Raw('-Infinity'), Raw('5e-324'), Raw('-0.0'), 1.5, [], Obj(), [None], [[]], [0, 0, 0, 0], [0, 0, -1, 1], [1, 2],
              Obj([['a', 1]]), Obj([['div', Obj()]]), [Obj()], Raw('{"a":1,"a":2}'),
          Raw('[' * 300 + ']' * 300), Raw('{"a":' * 300 + '1' + '}' * 300), Raw('01'), Raw('.5'), Raw('0x10'), Raw("'a'"),
              Raw('undefined'), Raw('"\\ud800"'), Raw('"\\u0000"'), Raw('"\\x"'),
          Raw('[' + '0,' * 3000 + '0]')] + ODD
KEYS = ['structure', 'layout', 'screenshot', 'nodes', 'elements', 'props', 'data', 'type', 'version', 'id', 'group', 'parent', 'tag',
    'classes', 'hints', 'text', 'attrs', 'box', 'sources',
        'path', 'width', 'height', 'confidence', 'bi', 'bo', 'bv', 'src', 'svg', 'div', 'div.a', 'section@div', 'section@div@div',
            'column$1', 'heading@h1'] + ODD

def break_tree(tree, rng):
    "One to four faults in a JSON tree."
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, objs = places(tree), objects(tree)
        what = rng.choice(('value', 'value', 'key', 'remove', 'twice', 'swap', 'number', 'reference', 'grow', 'wrap'))
        where, i = rng.choice(at) if at else (tree, 0)
        obj = rng.choice(objs) if objs else Obj()
        if not at: return tree
        if what == 'value': where[i] = rng.choice(VALUES)
        elif what == 'key' and obj: rng.choice(obj)[0] = rng.choice(KEYS)
        elif what == 'remove' and obj: obj.pop(rng.randrange(len(obj)))
        elif what == 'twice' and obj:
            for _ in range(rng.choice((1, 3, 50))): obj.insert(rng.randrange(len(obj) + 1), list(rng.choice(obj)))
        elif what == 'swap':
            a, j = rng.choice(at)
            if not inside(where[i], a) and not inside(a[j], where): where[i], a[j] = a[j], where[i]
        elif what == 'number':
            numbers = [(w, j) for w, j in at if isinstance(w[j], (int, float)) and not isinstance(w[j], bool)]
            if numbers:
                w, j = rng.choice(numbers)
                w[j] = rng.choice((-1, 0, w[j] + 1, w[j] - 1, -w[j], w[j] * 10**9, 10**400, Raw('1e308'), Raw('1e-320'), str(w[j])))
        elif what == 'reference':
            named = [o for o in objs for o in o if isinstance(o[0], str) and re.search(r'[@.$#\[]', o[0])]
            if named:
                pair = rng.choice(named)
                pair[0] = break_text(pair[0], rng)
        elif what == 'grow' and obj: obj += [list(rng.choice(obj)) for _ in range(rng.choice((10, 300)))]
        elif what == 'wrap': where[i] = Obj([[rng.choice(KEYS), where[i]]])
    return tree

def inside(value, container): return isinstance(value, list) and any(o is container for o in [value, *objects(value),
    *(w for w, _ in places(value))])

def break_text(text, rng):
    "A key with a few characters changed."
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(text) + 1)
        text = rng.choice((text[:i] + rng.choice("@.$#[]'%: =+\0\ud800") + text[i:], text[:i] + text[i+1:], text[:i], text + text[:i],
            text[:i] + rng.choice(ODD[:30]) + text[i:]))
    return text

def break_bytes(data, rng, other=b''):
    "One to three faults in bytes."
    for _ in range(rng.choice((1, 1, 2, 3))):
        n, i = len(data), rng.randrange(len(data) + 1)
        what = rng.choice(('cut', 'cut', 'flip', 'flip', 'flip', 'insert', 'delete', 'repeat', 'splice', 'empty', 'noise', 'coding',
            'head', 'tail'))
        if what == 'cut': data = data[:i]
        elif what == 'flip' and n:
            b = bytearray(data)
            for _ in range(rng.choice((1, 1, 3, 20))): b[rng.randrange(n)] ^= 1 << rng.randrange(8)
            data = bytes(b)
        elif what == 'insert': data = data[:i] + rng.choice([rng.randbytes(rng.randint(1, 9)), b'\0', b'"', b'{', b'}', b'[', b',', b'\\',
            b'\xff', b'<', b'\xed\xa0\x80']) + data[i:]
        elif what == 'delete': data = data[:i] + data[i + rng.choice((1, 2, 9, 99)):]
        elif what == 'repeat': data = data[:i] + data[i:i+200] * rng.choice((2, 5, 100)) + data[i:]
        elif what == 'splice': data = data[:i] + other[rng.randrange(len(other) + 1):]
        elif what == 'empty' and rng.random() < .2: data = b''
        elif what == 'noise' and rng.random() < .2: data = rng.randbytes(rng.choice((1, 30, 3000)))
        elif what == 'coding':
            coding = rng.choice(('utf-16', 'utf-16-le', 'utf-32', 'utf-8-sig', 'latin-1', 'utf-7', 'cp037'))
            data = data.decode('utf-8', 'replace').encode(coding, 'replace')
        elif what == 'head': data = rng.choice((b'\xef\xbb\xbf', b'\xff\xfe', b'\0', b'\n' * 50, b'// x\n', b'\x1f\x8b')) + data
        elif what == 'tail': data += rng.choice((b'\0' * 99, data[:99], b'}', b']', b'\x1a', b'<!--', b' ' * 10_000))
    return data


# Files made to be slow

def big(rng, most): return min(most, int(10 ** rng.uniform(2.5, 7)))

def slow_key(rng):
    "A key that a careless pattern would read for ever."
    piece = rng.choice(("['", "['a", "['a'", "['a:b']", '[', ']', '.a', '.', '@div', '@', '$1', '%', '%41', "'", 'a', ' ', '#a', "@a['",
        "@['x:@']", '@p$1', '.a@a', '\u00e9', '"', "$1['d:1']", '\\', '['+"'"*3, '=a', '+a'))
    head = rng.choice(('div', 'section@div', '', 'div.a', 'section@div@p'))
    return head + piece * (big(rng, 3_000_000) // len(piece)) + rng.choice(('', '!', "']", '@', '.', ' '))

def nested(key, n, leaf=''):
    return '{' + '{'.join(f'"{key.replace("%d", str(i))}":' for i in range(n)) + f'"{leaf}"' + '}' * n

def flat_nodes(rng, n):
    shape = rng.choice(('wide', 'deep', 'stairs', 'random'))
    parents = [{'wide': 0, 'deep': i - 1, 'stairs': max(0, i - 1 - i % 3),
        'random': max(0, i - rng.randint(1, 4))}[shape] if i else -1 for i in range(n)]
    if shape in ('stairs', 'random'):          # keep it a preorder: a parent among the ancestors of the node before
        for i in range(1, n):
            p = i - 1
            while p > parents[i]: p = parents[p]
            parents[i] = max(p, 0)
    return parents

def slow_section(rng):
    "A well-formed example that asks for much work: n equal siblings, deep chains, all names lost, all elements wrapped."
    n = big(rng, 20_000)
    kind = rng.choice(('equal', 'numbered', 'lost', 'chain', 'chains', 'wraps', 'v2', 'v2', 'v2wraps', 'texts', 'props', 'attrs',
        'classes', 'sources', 'sets', 'deepnames'))
    if kind == 'texts': return {'structure.json': ('{"p": {' + ','.join(['"text": "ab"'] * n * 20) + '}}').encode()}
    if kind == 'attrs': return {'structure.json': ('{"p": {' + ','.join(f'"a{i}": "b"' for i in range(n * 20)) + '}}').encode()}
    if kind == 'classes': return {'structure.json': json.dumps({f'div{i}' + '.a' * (600_000 // n): {} for i in range(n)}).encode()}
    if kind in ('v2', 'v2wraps', 'sources'):
        parents = flat_nodes(rng, n)
        nodes = [{'tag': 'p', 'parent': p} for p in parents]
        els = [{'type': 'a' * rng.choice((1, 90)), 'parent': p, 'sources': [i] if kind == 'v2' or i > n // 2 else []} for i,
            p in enumerate(parents)]
        if kind == 'sources': els = [{'type': 'x', 'parent': -1, 'sources': list(range(n // 2))}] + [{'type': 'y', 'parent': 0,
            'sources': [i]} for i in range(n // 2, n)]
        return {'example.json': json.dumps({'structure': {'nodes': nodes}, 'layout': {'elements': els, 'props': {'bi': list(range(min(n,
            500)))}}}).encode()}
    if kind == 'deepnames':
        m = min(n, 450)
        return {'structure.json': nested('div$%d', m).encode(), 'layout.json': nested(rng.choice(('box$%d', 'box@div', 'box@p',
            'box@div$%d')), m).encode()}
    inner = ','.join(f'"p": {{"b": {{"text": "{i}"}}}}' for i in range(n // 2))
    struct_ = '{"div": {' + inner + '}}'
    ref = {'equal': 'a@p', 'numbered': 'a@p$%d', 'lost': 'a@q.x%d', 'chain': 'a@p', 'wraps': 'a@p', 'chains': 'a@p@b', 'props': 'a@p',
        'sets': 'a@b'}[kind]
    leaves = ','.join(f'"{ref.replace("%d", str(i + 1))}": ""' for i in range(n // 2))
    if kind == 'chain': layout = '{"s@div": {"x' + '@p' * (n // 2) + '": ""}}'
    elif kind == 'sets': layout = '{"s@div": {"x' + '@p' * (n // 4) + '": {' + leaves + '}}}'
    elif kind == 'wraps': layout = '{"s@div": ' + '{"w":' * 200 + '{' + leaves + '}' + '}' * 200 + '}'
    elif kind == 'props': layout = '{"structure": {"s@div": {}}, "props": {"bi": [' + ','.join(['"p"'] * (n // 2)) + '], "bo": "' + 'p@' * (n // 2) + 'p"}}'
    else: layout = '{"s@div": {' + leaves + '}}'
    return {'structure.json': struct_.encode(), 'layout.json': layout.encode()}

def slow_json(rng):
    n = big(rng, 5_000_000)
    text = rng.choice(('[' * n, '{"a":' * n, '{"structure":' * n, '[' * n + ']' * n, '{"div":' * n + '{}' + '}' * n, '[' + '{},' * n,
        '[' + '0,' * n + '0]', '{' + '"a":{},' * (n // 8) + '"b":1}', '"' + '\\u0041' * n + '"',
                       '1' * n, '1.' + '1' * n, '{"structure": {"nodes": [' + '[],' * n + '1]}}', ' ' * n, '"' * n,
                           '{"id": "' + 'x' * n + '", "structure": {"p": {}}}',
                       '{"structure": {"type": "HTMLObject", "nodes": [{"tag": [' + '1,' * n + '1]}]}}',
                           '{"structure": {"p": {"text": "' + 'a' * n + '"}}}',
                           '{"structure": ' + '{"d":' * (n % 970) + '{}' + '}' * (n % 970) + '}'))
    return {rng.choice(('example.json', 'structure.json', 'layout.json')): text.encode()}

def slow_pair(rng):
    key = json.dumps(slow_key(rng))
    a, b = rng.choice((('{"div.a": {"p": {"text": "x"}}}', f'{{{key}: {{"a@p": ""}}}}'), (f'{{"div": {{{key}: {{}}}}}}', '{"s@div": ""}'),
                       ('{"div.a": {}}', f'{{"structure": {{"s@div.a": ""}}, "props": {{"bi": {key}, {key}: "div"}}}}'),
                           (f'{{"div.a": {{{key}: "text"}}}}', f'{{"s@div.a": {{{key}: ""}}}}')))
    return {'structure.json': a.encode(), 'layout.json': b.encode()}

def slow_page(rng):
    n = big(rng, 400_000)
    k = rng.choice((300, 1900, 5000, 30_000))
    return rng.choice((
        lambda: '<div>' * n, lambda: '<b><p>' * n, lambda: '<div ' + ' '.join(f'a{i}' for i in range(k)) + '>',
            lambda: ('<p ' + ''.join(f'a{i}=""' for i in range(200)) + '>') * (n // 99),
        lambda: ''.join(f'<font size={i}>' for i in range(k)) + '<p>' * k, lambda: '<table>' * n, lambda: '<table><b>x' * n,
            lambda: '<a><div>' * n, lambda: '<svg>' * n + '</svg>' * n,
        lambda: '<svg>' + '<path d="M 0 0"/>' * n + '</svg>', lambda: '<ul><li>' * n, lambda: '<div>' * k + '</p>' * n,
            lambda: '<b>' + '<div>' * k + '</b>' * k, lambda: '<!--' * n, lambda: '<!--' + '-' * n * 10,
        lambda: '<' * n, lambda: '<a' * n, lambda: '&' * n * 10, lambda: '<p>' + '&amp;' * n, lambda: 'a ' * n * 20,
            lambda: '<select><option>' * n, lambda: '<p>' * n, lambda: '<p/>' * n,
        lambda: '<script>' + '<div>' * n, lambda: '<textarea>' * n, lambda: '<plaintext>' + '<p>' * n, lambda: '<template>' * n,
            lambda: '<math><mi>' * n, lambda: '<a ="' * n, lambda: "<a b='" + '<a b="' * n,
        lambda: '<div class="' + 'a ' * n * 5 + '">x', lambda: f'<div style="{";" * n}display:grid">x', lambda: '<p>' + 'a<!-- -->' * n,
            lambda: '<div hidden=' + 'x' * n + '>y',
        lambda: ('<div style="display:grid;grid-template-columns:' + rng.choice(('(', '[', 'repeat(999,', 'repeat(999,a)', '()',
            '(' * 300 + ')' * 300)) * 300 + '">x</div>') * (n // 40)))()[:30_000_000].encode()


# Pictures that unpack to more than they are

def chunk(name, data): return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

def png(w, h, *chunks, bits=8, colour=2, pixels=b''):
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, bits, colour, 0, 0, 0)) + b''.join(chunks) + chunk(b'IDAT',
        pixels) + chunk(b'IEND', b'')

def bombs(rng):
    zeros, n = zlib.compress(bytes(rng.choice((10_000, 50_000_000))), 9), big(rng, 300_000)
    name, data = rng.choice((
        lambda: ('png', png(100_000, 100_000)), lambda: ('png', png(2**31 - 1, 2**31 - 1)), lambda: ('png', png(0, 10)),
            lambda: ('png', png(2**32 - 1, 1)), lambda: ('png', png(8000, 8000, pixels=zeros)),
        lambda: ('png', png(30, 20, chunk(b'iCCP', b'x\0\0' + zeros))),
            lambda: ('png', png(30, 20, *[chunk(b'zTXt', b'k\0\0' + zeros)] * rng.choice((1, 30, 300)))),
        lambda: ('png', png(30, 20, *[chunk(b'iTXt', b'k\0\1\0\0\0' + zeros)] * 30)),
            lambda: ('png', png(30, 20, *[chunk(b'tEXt', b'k\0v')] * n)),
            lambda: ('png', png(30, 20, chunk(b'tEXt', b'k\0' + bytes(n * 9)))),
        lambda: ('png', png(30, 20, *[chunk(b'abCd', b'')] * n)), lambda: ('png', png(30, 20, bits=7, colour=9)),
            lambda: ('png', png(30, 20, chunk(b'IHDR', bytes(13)))),
        lambda: ('png', png(30, 20)[:33] + struct.pack('>I', 2**31) + b'IDAT'),
            lambda: ('png', png(30, 20, chunk(b'acTL', struct.pack('>II', 2**31, 0)), chunk(b'fcTL', bytes(26)))),
        lambda: ('jpg', b'\xff\xd8' + b'\xff' * n * 9), lambda: ('jpg', b'\xff\xd8' + b'\xff\xe1\0\2' * n),
            lambda: ('jpg', b'\xff\xd8' + b'\0' * n * 9),
            lambda: ('jpg', b'\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3' + bytes(9) + b'\xff\xda'),
        lambda: ('png', b'GIF89a\1\0\1\0\0\0\0' + b'!\xfe' + (b'\xff' + b'c' * 255) * (n // 9) + b'\0'),
            lambda: ('png', b'GIF89a\xff\xff\xff\xff\0\0\0' + b'!\xf9\4\0\0\0\0\0' * n),
            lambda: ('png', b'GIF89a\1\0\1\0\0\0\0' + b'!\xff' + b'\1a' * n),
        lambda: ('webp', b'RIFF' + struct.pack('<I', 30) + b'WEBPVP8X\n\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff'),
            lambda: ('png', b'BM' + struct.pack('<IIIIii', 99, 0, 54, 40, 2**31 - 1, -2**31) + bytes(40)),
        lambda: ('png', b'BM' + bytes(n)), lambda: ('webp', b'RIFF\xff\xff\xff\x7fWEBPVP8L' + bytes(n)), lambda: ('jpg', png(30, 20)),
            lambda: ('png', b'<svg/>'), lambda: ('png', b'PK\3\4' + bytes(99))))()
    return {'screenshot.' + name: data, 'structure.json': b'{"h1.a": {"text": "x"}}'}


# Manifests

IDS = ['a-healthy', 'b-healthy']
def manifest(rng):
    "YAML that lists the healthy ones, and odd things beside them; True where both must be read."
    odd = ['..', '../x', '/etc/passwd', '""', '~', '[a, b]', '{a: b}', '"\\0"', '"\\ud800"', '"a\\nb"', 'x' * 5000, '.', '"."',
        'a-healthy/../b', '1e3', 'yes', '007', '"C:\\\\x"', "'%s'", '!!python/object:os.system x', 'm', '"\\u202e"']
    head, ids = '', IDS + [rng.choice(odd) for _ in range(rng.randint(0, 4))]
    rng.shuffle(ids)
    kind = rng.choice(('ids', 'ids', 'sized', 'paths', 'bytes', 'bytes', 'bomb', 'many'))
    body = ''.join(f'  - {i}\n' for i in ids) if kind != 'sized' else ''
    sized = f'splits:\n  train:\n    size: {rng.choice(["2", "[]", "many", "-1", "9" * 400, "{}", ""])}\n    examples:\n' + ''.join(f'    - {i}\n' for i in ids)
    text = sized if kind == 'sized' else 'splits:\n  train:\n' + body.replace('  -', '    -')
    sure = kind in ('ids', 'sized') and not re.search(r'!!|ud800', text)     # with these it is no YAML
    if kind == 'paths':
        name, value = rng.choice(('base_dir', 'examples_dir', 'screenshots_dir')), rng.choice(('..', '/', '/etc', '../../..', '.',
            'a-healthy', '"\\0"', '[a]', '{a: b}', '~', 'x' * 5000, '\u202e', '"\\ud800"'))
        head = f'paths:\n  {name}: {value}\n'
    if kind == 'bomb': head = rng.choice((
        'a: &a [x,x]\n' + ''.join(f'{chr(98 + i)}: &{chr(98 + i)} [{",".join(["*" + chr(97 + i)] * 9)}]\n' for i in range(20)),
            'x: ' + '[' * 100_000 + '\n', 'x: ' + '{a: ' * 100_000, '- ' * 100_000, '? ' * 100_000,
        'x: !!binary ' + 'A' * 99_999 + '\n', 'x: &x *x\n', '<<: [a]\n', 'splits: {train: [a]}\n', 'x: "' + '\\x41' * 500_000 + '"\n',
            '%YAML 9.9\n---\n', '---\na: 1\n---\n', '\t\n', 'x: |' + '9' * 3000 + '\n', '? [a]\n: b\n', 'x: ' + '!t ' * 5000 + '\n'))
    if kind == 'many': text += ''.join(f'    - lost-{i}\n' for i in range(rng.choice((10, 3000))))
    data = (head + text).encode(errors='replace')
    return (break_bytes(data, rng, data) if kind == 'bytes' else data), sure


# One case

def case(i, seed, stock, kind=None):
    "Kind of fault, and the files of the broken example ({name: bytes}); a None stands for a trick of the file system."
    rng = random.Random(f'{seed}-{i}')
    other = rng.choice(stock['pair'])['structure.json']
    kind = kind or rng.choice(['json'] * 8 + ['bytes'] * 6 + ['picture'] * 4 + ['page'] * 3 + ['manifest'] * 3 + ['disk'] * 2 + ['slow'])
    if kind == 'slow':
        kind, make = rng.choice((('slow json', slow_json), ('slow keys', slow_pair), ('slow keys', slow_pair),
            ('slow section', slow_section), ('slow section', slow_section), ('slow section', slow_section),
                                 ('slow page', lambda r: {'page.html': slow_page(r)}),
                                     ('slow page', lambda r: {'page.html': slow_page(r)}), ('bomb', bombs), ('bomb', bombs)))
        return kind, make(rng), rng
    if kind == 'manifest': return kind, {}, rng
    if kind == 'page': return kind, {'page.html': break_bytes(rng.choice(stock['page'])['page.html'], rng, other)}, rng
    files = dict(rng.choice(stock['picture' if kind == 'picture' else rng.choice(('example', 'pair'))]))
    name = rng.choice([n for n in files if n.endswith('.json') == (kind != 'picture')])
    if kind in ('bytes', 'picture'): files[name] = break_bytes(files[name], rng, other)
    elif kind == 'json': files[name] = emit(break_tree(as_tree(loads(files[name])), rng)).encode('utf-8', 'replace')
    else: files[name] = None
    return kind, files, rng

def on_disk(path, rng):
    "Something else in the place of a file."
    what = rng.choice(('folder', 'loop', 'nowhere', 'device', 'pipe', 'outside', 'itself', 'gone', 'empty'))
    if what == 'folder': path.mkdir()
    elif what == 'loop': path.symlink_to(path.name)
    elif what == 'nowhere': path.symlink_to('/nowhere/at/all')
    elif what == 'device': path.symlink_to('/dev/zero')
    elif what == 'pipe': os.mkfifo(path)
    elif what == 'outside': path.symlink_to('/etc/hostname')
    elif what == 'itself': path.symlink_to('.')
    elif what == 'empty': path.write_bytes(b'')

def lay(root, files, rng):
    "Write the broken example among its neighbours; returns its path."
    single = list(files) == ['page.html'] or (len(files) == 1 and list(files)[0].endswith('.json') and rng.random() < .5)
    name = rng.choice(('m', 'm', 'm', 'm\u202e', 'm' * 200, 'm\udcff', '%6D')) if rng.random() < .1 else 'm'
    folder = root/name
    folder.mkdir()
    for n, data in files.items():
        path = folder/n
        if data is None: on_disk(path, rng)
        else: path.write_bytes(data)
    return folder/next(iter(files)) if single else folder

class Hang(BaseException): pass

def timed(f, *args, busy=15, waiting=120):
    "(result, error, seconds of processor time); stopped after `busy` seconds of work, or of `waiting` for something that never comes."
    def stop(*_): raise Hang(f'more than {busy} s of work, or {waiting} s of waiting')
    for timer, sign, seconds in (signal.ITIMER_PROF, signal.SIGPROF, busy), (signal.ITIMER_REAL, signal.SIGALRM, waiting):
        signal.signal(sign, stop)
        signal.setitimer(timer, seconds)
    start = time.process_time()
    try: out = f(*args), None
    except (Exception, Hang) as e: out = None, e
    for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL): signal.setitimer(timer, 0)
    return *out, time.process_time() - start

def use(section):
    "All that is done with a section which was accepted; raises AssertionError where a rule is broken."
    st, la = section.structure, section.layout
    back = section_from_v2(loads(dumps(section_to_v2(section))))
    assert (back.structure, back.layout) == (st, la), 'version 2 loses something'
    if st is not None:
        try: v1 = loads(dumps(structure_to_v1(st)))
        except LayoutError: v1 = None
        if v1 is not None and len(v1) and names_are_plain(st): assert [n.tag for n in structure_from_v1(v1)] == [n.tag for n in st], 'version 1 loses a node'
    if la is None: return
    table = encode(section)
    again = decode(table, st)
    assert table.reasons or again == la or st is None, 'decode differs without a reason'
    assert all(0 <= s < len(st or ()) for e in again for s in e.sources), 'a source is no node'
    try: v1 = layout_to_v1(la, st)
    except LayoutError: return
    if st is not None and names_are_plain(st) and all(e.type.strip() == e.type for e in la): assert layout_from_v1(v1,
        st) == la, 'version 1 reads back to another layout'

def names_are_plain(st): return all(n.tag == n.tag.strip() and n.tag and all(n.classes) and len(n.id) < 999 for n in st)

def reason(error):
    m = CODE.search(str(error))
    return m[1] if m else None

def parts(path):
    "The readers one by one, on the files of an example."
    for p in sorted(path.iterdir()) if path.is_dir() else [path]:
        if p.is_file() and p.suffix == '.html': yield parse_html, p.read_bytes()
        elif p.is_file() and p.suffix == '.json' and not p.is_symlink():
            obj, error, _ = timed(loads, p.read_bytes())
            if error is None and p.stat().st_size < 2_000_000: yield from ((read_structure, obj), (lambda o: read_layout(o, None, Sink(mode="read")), obj))

def disagree(root, items):
    "Where `validate` and `get_items` differ on one dataset, as sentences."
    report = validate(root, near=False, workers=1)
    def rel(path): return relative(path, report.root)
    missing = list_data(root).missing          # what a manifest lists and nobody finds: told at the manifest
    read, aside = {rel(s.path): s for s in items.all}, {rel(p) for p, why in items.aside if (p, why) not in missing}
    wrong = {f.section for f in report.faults if f.level == 'error'}
    out = [f'validate does not look at {p!r}' for p in {*read, *aside} - set(report.entries)]
    out += [f'only validate looks at {p!r}' for p in set(report.entries) - {*read, *aside}]
    out += [f'{p!r} is set aside, and validate tells no error' for p in aside - wrong]
    out += [f'validate meets an exception: {f.found}' for f in report.faults if f.code == 'unchecked']
    if sum(f.level == 'error' and not f.section for f in report.faults) < min(len(missing), 1): out.append('validate tells nothing of what is missing')
    for p in set(read) & set(report.entries) - wrong:
        mine = open_section(report.entries[p], report.root)
        if mine.lost or (mine.section.structure, mine.section.layout) != (read[p].structure, read[p].layout): out.append(f'{p!r} is read in two ways')
    return out

def run_case(i, seed, stock, root, neighbours, tally, kind=None, limit=LIMIT):
    "Faults found in case `i`, as sentences."
    kind, files, rng = case(i, seed, stock, kind)
    faults, sure = [], True
    def note(f, *args, what=''):
        out, error, seconds = timed(f, *args)
        if seconds > limit: seconds = min(seconds, timed(f, *args)[2])     # once more: the machine may have been busy
        if seconds > tally['slowest'][0]: tally['slowest'] = (round(seconds, 3), f'case {i}, {kind}, {what}')
        if seconds > limit: faults.append(f'{what} took {seconds:.1f} s')
        if error is not None and not (isinstance(error,
            LayoutError) and (reason(error) or what == 'use')): faults.append(f'{what}: {type(error).__name__}: {str(error)[:300]!r}')
        return out, error
    for p in root.iterdir():
        if p.name not in neighbours: shutil.rmtree(p) if p.is_dir() and not p.is_symlink() else p.unlink()
    if kind == 'manifest':
        data, sure = manifest(rng)
        (root/'dataset_config.yaml').write_bytes(data)
    else:
        path = lay(root, files, rng)
        sec, error = note(read_section, path, what='read_section')
        tally['code'][reason(error) if error else 'accepted'] += 1
        if sec is not None: note(use, sec, what='use')
        for f, arg in parts(path): note(f, arg, what=getattr(f, '__name__', 'reader'))
    items, error = note(get_items, root, what='get_items')
    if kind == 'manifest': tally['code'][reason(error) if error else 'accepted'] += 1
    if items is not None:
        faults += [f'no code for {p.name!r}: {why[:200]!r}' for p, why in items.aside if not reason(why)]
        if kind != 'slow': faults += disagree(root, items)
        try: (items.summary() + ''.join(items.summary(99))).encode()
        except UnicodeEncodeError: faults.append('the summary cannot be printed')
    found = {s.path.name: s for s in items.all} if items is not None else {}
    if sure: faults += [f'the neighbour {n} was lost' for n in neighbours if n not in found or (found[n].structure,
        found[n].layout) != neighbours[n]]
    tally['kind'][kind] += 1
    return faults

def fuzz(n=500, seed=0, keep=None, only=None, kind=None, tell=lambda s: None, limit=LIMIT):
    "Run cases; {'n', 'accepted', 'refused', 'kinds', 'slowest_ms', 'faults'}."
    stock, faults = materials(), []
    tally = dict(code=Counter(), kind=Counter(), slowest=(0, ''))
    with tempfile.TemporaryDirectory() as tmp:
        root, neighbours = Path(tmp)/'data', {}
        for name, files in zip(IDS, (stock['example'][0], stock['pair'][1])):
            (root/name).mkdir(parents=True)
            for f, data in files.items(): (root/name/f).write_bytes(data)
            s = read_section(root/name)
            neighbours[name] = s.structure, s.layout
        start = time.time()
        for i in [only] if only is not None else range(n):
            found = run_case(i, seed, stock, root, neighbours, tally, kind, limit)
            if found:
                faults.append((i, found))
                tell(f'case {i}: ' + '; '.join(found))
                if keep:
                    shutil.rmtree(to := Path(keep)/f'case-{seed}-{i}', ignore_errors=True)
                    shutil.copytree(root, to, symlinks=True, ignore=lambda d,
                        names: [o for o in names if o in neighbours or not (os.path.isfile(f'{d}/{o}') or os.path.isdir(f'{d}/{o}'))])
            if i % 1000 == 999: tell(f'{i+1} files, {time.time() - start:.0f} s, {len(faults)} faults')
    refused = {k: v for k, v in tally['code'].most_common() if k != 'accepted'}
    return dict(n=sum(tally['kind'].values()), accepted=tally['code']['accepted'], refused=refused, kinds=dict(tally['kind'].most_common()),
                slowest_ms=round(1000 * tally['slowest'][0]), slowest=tally['slowest'][1], faults=[[i, f] for i, f in faults])

def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('--n', type=int, default=20_000)
    ap.add_argument('--seed', type=int, default=0)
    ap.add_argument('--only', type=int, help='one case')
    ap.add_argument('--kind', choices=('json', 'bytes', 'picture', 'page', 'manifest', 'disk', 'slow'), help='only this kind of fault')
    ap.add_argument('--keep', default='fuzz-faults', help='folder for the files of what failed')
    ap.add_argument('--json', help='write the counts there')
    a = ap.parse_args()
    def git(*o): return subprocess.run(['git', '-C', str(ROOT), *o], capture_output=True, text=True).stdout.strip()
    code = ''.join((ROOT/'layoutdiff'/f'{m}.py').read_text() for m in ('core', 'faults', 'html', 'resolve', 'formats', 'slots', 'listing', 'items'))
    code = hashlib.sha256(re.sub(r'(?m)^# %%.*\n', '', code).encode()).hexdigest()[:12]     # without the numbers of notebook cells
    about = dict(command=f'python tests/fuzz.py --n {a.n} --seed {a.seed}' + (f' --kind {a.kind}' if a.kind else ''), seed=a.seed,
                 commit=git('rev-parse', '--short', 'HEAD'), readers=code)
    out = about | fuzz(a.n, a.seed, a.keep, a.only, a.kind, print)
    print(json.dumps(out, indent=2))
    if a.json: Path(a.json).write_text(json.dumps(out, indent=1) + '\n')
    return 1 if out['faults'] else 0

if __name__ == '__main__': sys.exit(main())
