"""Plant faults of every kind in clean sections, and count which ones `validate` finds. The plan `faults` runs it.

Each kind is planted in sections of the bundled sample, drawn at random, in a copy of its own; what the clean copy already shows is taken off.
A finding counts as a false alarm where it is neither the planted one nor one that follows from it by necessity.
A minute or two; tests/test_check.py runs it with fewer.
"""
import json
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import yaml
from PIL import Image

from layoutdiff.check import validate
from layoutdiff.core import Element, Layout, Structure
from layoutdiff.listing import SAMPLE
from layoutdiff.items import read_section, write_section

PLANTS = {}   # name -> (how the folder is laid out, function, codes that follow by necessity)


def plant(code, base='v2', follows=(), name=''):
    "Register a way to plant `code`."
    def keep(f):
        PLANTS[name or f.__name__.replace('_', ' ')] = (code, base, f, set(follows))
        return f
    return keep


def js(folder, name='example.json'): return json.loads((folder/name).read_text(encoding='utf-8'))
def put(folder, obj, name='example.json'): (folder/name).write_text(json.dumps(obj, ensure_ascii=False), encoding='utf-8')


def edit(folder, change, name='example.json'):
    "Read, change, write."
    obj = js(folder, name)
    change(obj)
    put(folder, obj, name)


def sections(root): return sorted(p for split in ('train', 'val', 'test') for p in (root/split).iterdir())


# ---------- files
@plant('missing-file')
def screenshot_named_but_gone(p, rng): (p/'screenshot.png').unlink()

@plant('missing-file')
def example_json_gone(p, rng):
    for f in p.iterdir(): f.unlink()

@plant('missing-part', 'v1')
def layout_json_gone(p, rng): (p/'layout.json').unlink()

@plant('unreadable-json', follows=['missing-part'])
def JSON_cut_off(p, rng):
    text = (p/'example.json').read_text()
    (p/'example.json').write_text(text[:rng.randrange(20, len(text) - 20)])

@plant('unreadable-json', 'v1')
def comma_missing(p, rng):
    text = (p/'structure.json').read_text()
    at = rng.choice([i for i in range(len(text)) if text.startswith(',\n', i)])
    (p/'structure.json').write_text(text[:at] + text[at+1:])

@plant('unreadable-json')
def not_UTF_8(p, rng): (p/'example.json').write_bytes((p/'example.json').read_bytes().replace(b'"text":"', b'"text":"\xff', 1))

@plant('unreadable-image')
def picture_cut_off(p, rng):
    data = (p/'screenshot.png').read_bytes()
    (p/'screenshot.png').write_bytes(data[:rng.randrange(60, len(data) - 20)])

@plant('unreadable-image')
def picture_with_damaged_bytes(p, rng):
    data = bytearray((p/'screenshot.png').read_bytes())
    for _ in range(3): data[rng.randrange(len(data)//4, 3*len(data)//4)] ^= rng.randrange(1, 256)
    (p/'screenshot.png').write_bytes(data)

@plant('unreadable-image')
def text_as_picture(p, rng): (p/'screenshot.png').write_text('<html>404</html>')

@plant('oversized-image')
def picture_of_huge_size(p, rng):
    import struct, zlib
    head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    (p/'screenshot.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b''))

@plant('size-mismatch')
def picture_of_another_shape(p, rng):
    with Image.open(p/'screenshot.png') as im: im.crop((0, 0, im.width, int(im.height * rng.uniform(.4, .95)))).save(p/'new.png')
    (p/'new.png').replace(p/'screenshot.png')

@plant('blank-image')
def white_picture(p, rng):
    with Image.open(p/'screenshot.png') as im: size = im.size
    Image.new('RGB', size, 'white').save(p/'screenshot.png')

@plant('path-escape')
def picture_path_with_dots(p, rng): edit(p, lambda d: d['screenshot'].update(path='../../../other/screenshot.png'))

@plant('path-escape')
def absolute_picture_path(p, rng): edit(p, lambda d: d['screenshot'].update(path='/etc/hostname'))

@plant('path-escape')
def link_out_of_the_folder(p, rng):
    (p.parents[2]/'outside').mkdir(exist_ok=True)
    to = p.parents[2]/'outside'/f'{p.name}.png'
    shutil.move(p/'screenshot.png', to)
    (p/'screenshot.png').symlink_to(to)


# ---------- grammar
@plant('bad-schema', name='classes as a number')
def classes(p, rng): edit(p, lambda d: rng.choice(d['structure']['nodes']).update(classes=7))

@plant('bad-schema')
def element_without_type(p, rng): edit(p, lambda d: rng.choice(d['layout']['elements']).pop('type'))

@plant('bad-schema')
def structure_as_a_list(p, rng): edit(p, lambda d: d.update(structure=[1, 2]))

@plant('bad-tree')
def parent_after_its_child(p, rng):
    def change(d):
        n = d['structure']['nodes']
        rng.choice(n[1:-1])['parent'] = len(n) - 1
    edit(p, change)

@plant('bad-box')
def negative_width(p, rng): edit(p, lambda d: rng.choice(d['structure']['nodes']).update(box=[5, 5, -20, 10]))

@plant('bad-box')
def box_of_three(p, rng): edit(p, lambda d: rng.choice(d['structure']['nodes']).update(box=[5, 5, 20]))

@plant('unknown-key')
def misspelt_key(p, rng): edit(p, lambda d: (n := rng.choice(d['structure']['nodes'])).update(clases=n.pop('classes')))

@plant('unknown-prop')
def misspelt_prop(p, rng): edit(p, lambda d: d['layout'].setdefault('props', {}).update(bgi=[0]))

def v1_keys(obj): return [(o, k) for o, k in walk(obj)]

def walk(obj):
    for k, v in obj.items():
        yield obj, k
        if isinstance(v, dict): yield from walk(v)

def rename(obj, old, new):
    "Rename a key in place, order kept."
    items = [(new if k == old else k, v) for k, v in obj.items()]
    obj.clear()
    obj.update(items)

def v1_layout(p): return js(p, 'layout.json')
def body(obj): return obj['structure'] if isinstance(obj.get('structure'), dict) else obj

def edit_key(p, rng, want, new):
    obj = v1_layout(p)
    o, k = rng.choice([(o, k) for o, k in walk(body(obj)) if want(o, k)])
    rename(o, k, new(k))
    put(p, obj, 'layout.json')

@plant('bad-syntax', 'v1')
def empty_part_after_at(p, rng): edit_key(p, rng, lambda o, k: '@' in k, lambda k: k + '@' if rng.random() < .5 else k.replace('@', '@@', 1))

@plant('bad-syntax', 'v1')
def no_type_before_at(p, rng): edit_key(p, rng, lambda o, k: '@' in k, lambda k: k[k.index('@'):])

@plant('bad-syntax', 'v1')
def two_dots_in_a_node_key(p, rng):
    obj = js(p, 'structure.json')
    o, k = rng.choice([(o, k) for o, k in walk(obj) if isinstance(o[k], dict) and '.' in k])
    rename(o, k, k.replace('.', '..', 1))
    put(p, obj, 'structure.json')

@plant('duplicate-key', 'v1')
def siblings_with_equal_keys(p, rng):
    text = (p/'structure.json').read_text()
    obj = json.loads(text)
    o, k = next((o, k) for o, k in walk(obj) if isinstance(o[k], dict) and not any(isinstance(v, dict) for v in o[k].values()))
    old = json.dumps(k, ensure_ascii=False) + ': '
    at = text.index(old)
    (p/'structure.json').write_text(text[:at] + old + '{},\n' + text[at:])

@plant('swapped-files', 'v1')
def swapped_pair(p, rng):
    a, b = p/'structure.json', p/'layout.json'
    a.rename(p/'x'), b.rename(a), (p/'x').rename(b)

@plant('swapped-files')
def swapped_parts_of_an_example(p, rng): edit(p, lambda d: d.update(structure=d['layout'], layout=d['structure']))


# ---------- layouts
@plant('dangling-reference', 'v1', follows=['dropped-element', 'not-representable', 'misplaced-element'], name='reference to no node, version 1')
def dangling_v1(p, rng): edit_key(p, rng, lambda o, k: '@' in k and not o[k], lambda k: k.split('@')[0] + '@em.nowhere')

@plant('dangling-reference', follows=['dropped-element', 'not-representable'], name='reference to no node, version 2')
def dangling_v2(p, rng): edit(p, lambda d: rng.choice([e for e in d['layout']['elements'] if e['sources']])['sources'].append(999))

@plant('dangling-reference')
def prop_names_no_node(p, rng): edit(p, lambda d: d['layout'].setdefault('props', {}).update(bv=[999]))

@plant('node-used-twice', follows=['dropped-element', 'not-representable'])
def node_of_two_elements(p, rng):
    def change(d):
        have = [e for e in d['layout']['elements'] if e['sources']]
        a, b = rng.sample(have, 2)
        a['sources'] = sorted({*a['sources'], b['sources'][0]})
    edit(p, change)

@plant('node-used-twice', 'v1', follows=['dropped-element', 'not-representable', 'misplaced-element'], name='node of two elements, version 1')
def twice_v1(p, rng):
    obj = v1_layout(p)
    o, k = rng.choice([(o, k) for o, k in walk(body(obj)) if '@' in k and not o[k] and '$' not in k])
    o['quote@' + k.split('@')[1]] = {}
    put(p, obj, 'layout.json')

@plant('not-representable')
def elements_out_of_order(p, rng):
    s = read_section(p)
    i = next(i for i, kids in enumerate(s.layout.children) if len([k for k in kids if s.layout[k].sources]) > 1)
    e, kids = s.layout.elements, s.layout.children[i]
    a, b = [k for k in kids if e[k].sources][:2]
    first = list(range(a, b))
    last = [k for k in range(b, len(e)) if k == b or under(e, k, b)]
    order = list(range(a)) + last + first + [k for k in range(last[-1] + 1, len(e))]
    number = {old: new for new, old in enumerate(order)}
    write_section(replace(s, layout=Layout([replace(e[k], parent=number.get(e[k].parent, -1)) for k in order], s.layout.props)), p)

def under(e, k, top):
    while e[k].parent >= 0:
        k = e[k].parent
        if k == top: return True
    return False

@plant('empty-layout')
def no_element(p, rng): edit(p, lambda d: d['layout'].update(elements=[], props={}))

@plant('empty-prop')
def prop_without_node(p, rng): edit(p, lambda d: d['layout'].setdefault('props', {}).update(bv=[]))

@plant('outside-box')
def box_below_the_section(p, rng): edit(p, lambda d: rng.choice(d['structure']['nodes']).update(box=[0, d['screenshot']['height'] + 50, 100, 100]))

@plant('outside-box')
def box_left_of_the_section(p, rng): edit(p, lambda d: rng.choice(d['structure']['nodes']).update(box=[-300, 5, 100, 100]))


# ---------- datasets: the function gets the root and returns the paths that must be told
@plant('split-leak')
def copy_under_another_name(root, rng):
    p = rng.choice(sorted((root/'train').iterdir()))
    to = root/rng.choice(['val', 'test'])/f'new-{rng.randrange(10**6)}'
    shutil.copytree(p, to)
    edit(to, lambda d: (d.update(id=to.name), d.pop('group', 0)))
    return [to]

@plant('split-leak')
def copy_in_the_other_format(root, rng):
    p = rng.choice(sorted((root/'train').iterdir()))
    to = root/'test'/f'other-{rng.randrange(10**6)}'
    write_section(replace(read_section(p), id=to.name, group=to.name), to, version=1)
    return [to]

def changed(p, to, rng):
    "A copy with a few words changed, and no group."
    s = read_section(p)
    nodes, texts = [replace(n) for n in s.structure], [i for i, n in enumerate(s.structure) if len(n.text.split()) > 2]
    for i in rng.sample(texts, min(2, len(texts))):
        words = nodes[i].text.split()
        words[rng.randrange(len(words))] = 'other'
        nodes[i] = replace(nodes[i], text=' '.join(words))
    write_section(replace(s, id=to.name, group=to.name, structure=Structure(nodes)), to)
    with Image.open(to/'screenshot.png') as im: im.convert('RGB').resize((im.width//2, im.height//2)).save(to/'screenshot.png')
    return [to]

def rich(root, split): return [p for p in sorted((root/split).iterdir()) if len(read_section(p).structure) >= 15]

@plant('near-leak', follows=['size-mismatch'])
def copy_with_words_changed(root, rng): return changed(rng.choice(rich(root, 'train')), root/'test'/f'near-{rng.randrange(10**6)}', rng)

@plant('near-duplicate', follows=['size-mismatch'])
def copy_with_words_changed_in_its_split(root, rng):
    return changed(rng.choice(rich(root, 'train')), root/'train'/f'zz-near-{rng.randrange(10**6)}', rng)

@plant('duplicate')
def copy_in_its_split(root, rng):
    p = rng.choice(sorted((root/'train').iterdir()))
    to = root/'train'/f'zz-{rng.randrange(10**6)}'
    shutil.copytree(p, to)
    edit(to, lambda d: d.update(id=to.name))
    return [to]

@plant('group-cut')
def section_moved_to_another_split(root, rng):
    groups = Counter(js(p)['group'] for p in (root/'train').iterdir())
    p = rng.choice([p for p in sorted((root/'train').iterdir()) if groups[js(p)['group']] > 2])
    to = root/'test'/p.name
    if any(js(q)['group'] == js(p)['group'] for q in (root/'test').iterdir()): return []
    shutil.move(p, to)
    return [to]

@plant('duplicate-id')
def id_of_another(root, rng):
    a, b = rng.sample(sorted((root/'train').iterdir()), 2)
    edit(b, lambda d: d.update(id=js(a)['id']))
    return [a, b]

@plant('rare-label', follows=['*inconsistent-label', '*rare-label'])
def new_type(root, rng):
    p = rng.choice(sorted((root/'train').iterdir()))
    edit(p, lambda d: rng.choice([e for e in d['layout']['elements'] if e['sources']]).update(type=f'thing{rng.randrange(10**6)}'))
    return [p]

@plant('inconsistent-label')
def whole_section_labelled_in_another_way(root, rng):
    p = rng.choice(sorted((root/'train').iterdir()))
    to = root/'train'/f'zz-way-{rng.randrange(10**6)}'
    shutil.copytree(p, to)
    edit(to, lambda d: d.update(id=to.name))
    edit(to, lambda d: rng.choice([e for e in d['layout']['elements'][1:] if e['sources']]).update(type='paragraph' if rng.random() < .5 else 'quote'))
    same = js(p)['layout']['elements'] == js(to)['layout']['elements']
    if same: shutil.rmtree(to)
    return [] if same else [p, to]

@plant('inconsistent-label', follows=['near-duplicate'])
def chain_kept_nested(root, rng):
    "A new section with a chain that stands merged in another."
    found = []
    for p in sorted((root/'train').iterdir()):
        s = read_section(p)
        for i, e in enumerate(s.layout):
            for a, b in zip(e.sources, e.sources[1:]):
                if s.structure.children[a] == [b] and s.structure[a].classes and s.structure[b].classes and s.structure.children[b]: found.append((p, i, a, b))
    p, i, a, b = rng.choice(found)
    s = read_section(p)
    e = s.layout.elements
    cut = e[i].sources.index(b)
    new = [*(replace(o) for o in e[:i+1]), Element('wrapper', e[i].sources[cut:], i), *(replace(o, parent=i + 1 if o.parent == i else o.parent + (o.parent > i)) for o in e[i+1:])]
    new[i] = replace(e[i], sources=e[i].sources[:cut])
    nodes = [replace(n, text=f'{n.text} {rng.randrange(10**6)} again'.strip() if n.text else '') for n in s.structure]
    to = root/'train'/f'zz-chain-{rng.randrange(10**6)}'
    write_section(replace(s, id=to.name, layout=Layout(new, s.layout.props), structure=Structure(nodes)), to)
    return [p, to]

@plant('unlisted')
def misspelt_split_folder(root, rng):
    name = rng.choice(['trian', 'tets', 'vall', 'Validate'])
    if (root/name).exists(): return []
    shutil.copytree(rng.choice(sorted((root/'val').iterdir())), root/name/'a')
    return [root/name]

@plant('uneven-hints', 'v1')
def hints_in_one_reference(root, rng):
    for p in rng.sample(sections(root), 50):
        hinted = [k for _, k in walk(js(p, 'structure.json')) if "['" in k and '$' not in k]
        for key in hinted:
            obj = v1_layout(p)
            plain = key.split("['")[0]
            for o, k in list(walk(body(obj))):
                if k.endswith('@' + plain):
                    rename(o, k, k + key[len(plain):])
                    put(p, obj, 'layout.json')
                    return [root]
    return []

# ---------- manifests
def manifest(root):
    "The sample as processed/examples/ID.json, processed/screenshots/ID.png and a manifest."
    for kind in ('examples', 'screenshots'): (root/'processed'/kind).mkdir(parents=True)
    splits = {}
    for p in sections(SAMPLE):
        shutil.copy(p/'screenshot.png', root/'processed'/'screenshots'/f'{p.name}.png')
        d = js(p)
        d['screenshot'].pop('path')
        put(root/'processed'/'examples', d, f'{p.name}.json')
        splits.setdefault(p.parent.name, []).append(p.name)
    save(root, {k: {'size': len(v), 'examples': v} for k, v in splits.items()})

def load(root): return yaml.safe_load((root/'dataset_config.yaml').read_text())['splits']
def save(root, splits): (root/'dataset_config.yaml').write_text(yaml.safe_dump({'splits': splits}))

@plant('missing-file', 'manifest')
def listed_but_not_there(root, rng):
    id = rng.choice(load(root)['train']['examples'])
    f = root/'processed'/'examples'/f'{id}.json'
    if f.exists(): f.unlink()
    return [root/'dataset_config.yaml'] if not f.exists() else []

@plant('unlisted', 'manifest')
def there_but_not_listed(root, rng):
    splits = load(root)
    id = splits['train']['examples'].pop(rng.randrange(len(splits['train']['examples'])))
    splits['train']['size'] -= 1
    save(root, splits)
    return [root/'processed'/'examples'/f'{id}.json']

@plant('manifest-size', 'manifest')
def wrong_count(root, rng):
    splits = load(root)
    splits[rng.choice(['train', 'val', 'test'])]['size'] += rng.randrange(1, 9)
    save(root, splits)
    return [root/'dataset_config.yaml']

@plant('path-escape', 'manifest')
def id_with_dots(root, rng):
    splits = load(root)
    splits['val']['examples'].append('../../../somewhere')
    splits['val']['size'] += 1
    save(root, splits)
    return [root/'dataset_config.yaml']

@plant('duplicate-id', 'manifest')
def id_listed_twice(root, rng):
    splits = load(root)
    id = rng.choice(splits['train']['examples'])
    splits['test']['examples'].append(id)
    splits['test']['size'] += 1
    save(root, splits)
    return [root/'dataset_config.yaml']


# ---------- the count
def lay(base, root):
    "A clean copy of the sample."
    if base == 'manifest': return manifest(root)
    if base == 'v2': return shutil.copytree(SAMPLE, root, dirs_exist_ok=True)
    for p in sections(SAMPLE): write_section(read_section(p), root/p.parent.name/p.name, version=1)

GLOBAL = {'rare-label', 'missing-part'}   # counts of the whole, which shift with any section that is lost or added
COPIED = {'outside-box'}                  # what the sample shows already; a copy of such a section shows it too
ONE = ('misspelt split folder', 'wrong count', 'id with dots', 'section moved to another split', 'new type', 'chain kept nested', 'hints in one reference',
       'whole section labelled in another way')   # planted once a round: two would be one finding


def told(report): return Counter((f.code, f.section or f.path, f.found if f.code == 'manifest-size' else '') for f in report.faults)


def inside(path, place): return path == place or path.startswith(place + '/') or place.startswith(path + '/')


def score(name, times, seed, clean, per_round=5):
    "Planted, found, false alarms of one kind."
    code, base, f, follows = PLANTS[name]
    rng, planted, found, false, wrong = random.Random(f'{name} {seed}'), 0, 0, 0, []
    while planted < times:
        with tempfile.TemporaryDirectory() as tmp:
            root = Path(tmp)/'data'
            lay(base, root)
            known = {path for c, path, _ in clean[base] if c == code}
            at = one_round(f, root, rng, known, 1 if name in ONE or base == 'manifest' else min(per_round, times - planted))
            new = told(validate(root, workers=1)) - clean[base]
            places = [[str(p.relative_to(root)) for p in group] for group in at]
            hits = [any(c == code and any(inside(path, q) for q in group) for c, path, _ in new) for group in places]
            planted, found = planted + len(hits), found + sum(hits)
            for c, path, _ in new:
                mine = any(inside(path, q) for group in places for q in group)
                fine = mine and (c == code or c in follows | COPIED)
                if not fine and f'*{c}' not in follows and (c not in GLOBAL or c == code):
                    false += 1
                    wrong.append(f'{c} {path}')
    return dict(fault=name, code=code, planted=planted, found=found, false_alarms=false), wrong


def one_round(f, root, rng, known, n):
    "Plant `n` times, but not where the clean copy shows it already; a list of the places that each may be told at."
    if f.__code__.co_varnames[0] == 'root':
        groups = [at for at in (f(root, rng) for _ in range(n)) if at]
        return [at for at in groups if not any(inside(path, str(q.relative_to(root))) for path in known for q in at)]
    out = []
    for p in rng.sample(sections(root), 50):
        if len(out) == n: break
        if any(inside(path, str(p.relative_to(root))) for path in known): continue
        try: f(p, rng)
        except (StopIteration, IndexError, ValueError): continue   # nothing to plant it in
        out.append([p])
    return out


def clean_counts(bases):
    "What each clean copy shows already."
    out = {}
    for base in bases:
        with tempfile.TemporaryDirectory() as tmp:
            lay(base, Path(tmp)/'data')
            out[base] = told(validate(Path(tmp)/'data', workers=1))
    return out
