"Variants: picture, boxes, structure and layout stay true to each other, whatever is done to them in whatever order."
import os
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from layoutdiff.core import Element, Layout, LayoutError, Node, Section, Structure
from layoutdiff.features import node_arrays
from layoutdiff.items import distinct, get_items
from layoutdiff.draft import Draft
from layoutdiff.edits import Variant, as_variant, in_view, picture
from layoutdiff.slots import SPECIAL, SlotTable, Vocab, decode, encode, layout_faults
from layoutdiff.subtrees import twins
from layoutdiff.variants import TRANSFORMS, Augmented, AugmentedExamples, augment, variant_key, distinct_share

DATA = Path(os.environ.get('LAYOUTDIFF_DATA', Path(__file__).parents[2]/'shared'/'data'))
needs = lambda name: pytest.mark.skipif(not (DATA/name).is_dir(), reason=f'no {name} here')
SAMPLE = get_items('sample').train
rng = np.random.default_rng


def apply(name, section, seed, strength=None, donors=SAMPLE):
    t = TRANSFORMS[name]
    more = dict(donors=donors) if name == 'transplant' else {}
    return t.f(section, rng(seed), t.strength if strength is None else strength, **more)


def check(v, section):
    "What must hold of any variant."
    assert isinstance(v, Variant) and v.group == section.group
    if v.structure is not None: Structure(v.structure.nodes)
    if v.layout is not None:
        Layout([replace(e) for e in v.layout], v.layout.props)
        if v.structure is not None: assert layout_faults(v.layout, v.structure) == []
    if v.structure is not None and v.layout is not None and not encode(section).reasons:
        table = encode(v)
        assert table.reasons == [] and decode(table, v.structure) == v.layout
    if v.edits: assert v.screenshot is None
    if v.size:
        boxes = [o.box for tree in (v.structure, v.layout) if tree is not None for o in tree if o.box]
        assert all(w >= 0 and h >= 0 and np.isfinite((x, y, w, h)).all() for x, y, w, h in boxes)


# real sections

@pytest.mark.parametrize('name', list(TRANSFORMS))
def test_each_transform_on_the_sample(name):
    changed = 0
    for k, s in enumerate(SAMPLE):
        before = repr((s.structure, s.layout, [n.box for n in s.structure]))
        v = apply(name, s, k)
        check(v, s)
        assert repr((s.structure, s.layout, [n.box for n in s.structure])) == before    # pure
        changed += variant_key(v) != variant_key(s)
    assert changed >= (3 if name in ('unwrap', 'reorder') else 12), changed


@pytest.mark.parametrize('seed', range(3))
def test_all_at_once_on_the_sample(seed):
    for k, s in enumerate(SAMPLE): check(augment(s, rng((seed, k)), {n: .7 for n in TRANSFORMS}, SAMPLE), s)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.lists(st.sampled_from(list(TRANSFORMS)), max_size=6), st.integers(0, 2**31))
def test_any_order(i, names, seed):
    v = SAMPLE[i]
    for k, n in enumerate(names): v = apply(n, v, (seed, k))
    check(as_variant(v), SAMPLE[i])
    seen = in_view(v)
    assert len(seen.layout) <= len(v.layout)


@needs('wp-sections')
def test_wp_sections():
    train = get_items(DATA/'wp-sections').train
    for k, s in enumerate(train[::5]): check(augment(s, rng(k), {n: .4 for n in TRANSFORMS}, train), s)


@needs('sections30')
def test_sections30_gives_up_pictures_it_cannot_follow():
    train = distinct(get_items(DATA/'sections30')).train
    for k, s in enumerate(train):
        v = augment(s, rng(k), {n: .4 for n in TRANSFORMS}, train)
        check(v, s)
        if Counter(e.type for e in v.layout) != Counter(e.type for e in s.layout): assert v.picture_file is None
    assert distinct_share(Augmented(train, 50), 4) > .95


# made-up sections

@st.composite
def sections(draw, most=12):
    "Random trees with any labels, with or without boxes, layout, structure."
    n, nodes, stack, boxed = draw(st.integers(1, most)), [], [], draw(st.booleans())
    box = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(0, 40)] * 2)
    for i in range(n):
        del stack[draw(st.integers(0, len(stack))):]
        nodes.append(Node(draw(st.sampled_from(['div', 'p', 'a', 'ul', 'li', 'h2', 'img'])), stack[-1] if stack else -1,
                          tuple(draw(st.lists(st.sampled_from(['btn', 'card', 'x1']), max_size=2))), text=draw(st.sampled_from(['', 'Hello you', '12 €'])),
                          box=draw(st.none() | box) if boxed else None))
        stack.append(i)
    structure = Structure(nodes)
    labels = draw(st.lists(st.sampled_from([*SPECIAL, 'section', 'wrapper', 'column', 'heading', 'heading']), min_size=n, max_size=n))
    wraps = draw(st.lists(st.sampled_from(['none', 'none', '+column', '=column']), min_size=n, max_size=n))
    layout = decode(SlotTable(labels, wraps, [None] * n), structure)
    keep = draw(st.sampled_from(['both', 'both', 'structure', 'layout']))
    if keep == 'layout': layout = Layout([replace(e, sources=()) for e in layout])
    return Section('a', size=(100, 80) if boxed or draw(st.booleans()) else None, structure=None if keep == 'layout' else structure,
                   layout=None if keep == 'structure' else layout)


@settings(max_examples=400, deadline=None)
@given(sections(), st.lists(st.sampled_from(list(TRANSFORMS)), min_size=1, max_size=4), st.integers(0, 2**31), sections())
def test_odd_sections(s, names, seed, donor):
    v = s
    for k, n in enumerate(names): v = apply(n, v, (seed, k), donors=[replace(donor, id='b')])
    check(as_variant(v), s)
    in_view(v)


@pytest.mark.parametrize('s', [Section('nothing'), Section('one', structure=Structure([Node('div')])), Section('empty', structure=Structure([Node('p')]), layout=Layout([])),
                               Section('bare', layout=Layout([Element('heading')]), size=(10, 10))], ids=lambda s: s.id)
def test_hardly_anything_there(s):
    for seed in range(20): check(augment(s, rng(seed), {n: 1 for n in TRANSFORMS}, [s, *SAMPLE[:2]]), s)


# boxes and pixels

def painted(tmp_path, n=3, side=256):
    "A section whose nodes are coloured boxes on black."
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)][:2*n]
    im, nodes, elements = np.zeros((side, side, 3), np.uint8), [Node('div', box=(0, 0, 2*side, 2*side))], [Element('section', (0,))]
    for k, c in enumerate(colours):
        x, y, w, h = 20 + k % 3 * 76, 24 + k // 3 * 110, 58, 70
        im[y:y+h, x:x+w] = c
        nodes.append(Node('p', 0, text=f'Text {k}', box=(2*x, 2*y, 2*w, 2*h)))
        elements.append(Element('paragraph', (k + 1,), 0))
    Image.fromarray(im).save(tmp_path/'shot.png')
    return Section('painted', screenshot=tmp_path/'shot.png', size=(2*side, 2*side), structure=Structure(nodes), layout=Layout(elements)), colours


def frame(im, colour, tolerance=130):
    "x, y, x2, y2 of the pixels of a colour, or None."
    found = np.argwhere(np.abs(im.astype(int) - colour).sum(-1) < tolerance)
    return None if not len(found) else (*found.min(0)[::-1], *(found.max(0)[::-1] + 1))


def frames_agree(v, colours, which, side=256, within=2):
    "Do the boxes of the nodes (by the number in their text) frame their colour?"
    im, compared = picture(v, side), 0
    for n in v.structure:
        if not n.text.startswith('Text') or n.box is None: continue
        x, y, w, h = (b * side / v.size[0] for b in n.box)
        if w < 6 or h < 6: continue     # a sliver at the border
        assert np.abs(np.array(frame(im, colours[which(n)])) - (x, y, x + w, y + h)).max() <= within, n
        compared += 1
    shown = {which(n) for n in v.structure if n.text.startswith('Text') and n.box is not None}
    for k, c in enumerate(colours):
        f = frame(im, c, 60)
        if k not in shown and f: assert min(f[2] - f[0], f[3] - f[1]) <= 2    # what lost its box is not to be seen
    return compared


number = lambda n: int(n.text.split()[1])


def test_edits_frame_their_pixels(tmp_path):
    "Dropped: painted over; exchanged: pixels moved along."
    s, colours = painted(tmp_path)
    kinds, compared = Counter(), 0
    for seed in range(60):
        v = augment(s, rng(seed), {'drop': .7, 'reorder': .7, 'duplicate': .3, 'wrap': .5})
        compared += frames_agree(v, colours, number)
        kinds.update(e[0] for e in v.edits)
    assert kinds['erase'] > 10 and kinds['swap'] > 10 and compared > 200


def test_pasted_pixels_are_framed(tmp_path):
    (tmp_path/'a').mkdir(), (tmp_path/'b').mkdir()
    s, colours = painted(tmp_path/'a', 2)
    d, _ = painted(tmp_path/'b', 2)
    im = np.asarray(Image.open(d.screenshot)).copy()
    im[im.any(-1)] = (255, 255, 255)
    Image.fromarray(im).save(d.screenshot)
    d = replace(d, id='donor', structure=Structure([replace(n, text=n.text.replace('Text', 'Other')) for n in d.structure]))
    found = 0
    for seed in range(10):
        v = apply('transplant', s, seed, donors=[d])
        frames_agree(v, colours, number)
        new = [n for n in v.structure if n.text.startswith('Other')]
        for n in new:
            assert np.abs(np.array(frame(picture(v, 256), (255, 255, 255))) - np.array([n.box[0], n.box[1], n.box[0] + n.box[2], n.box[1] + n.box[3]]) / 2).max() <= 2
            found += 1
    assert found == 10


def test_what_the_picture_does_not_show_is_not_asked_for(tmp_path):
    s, _ = painted(tmp_path)
    v = apply('duplicate', s, 0, 1.)
    assert len(v.layout) > len(s.layout) and sum(n.box is None for n in v.structure) == len(v.structure) - len(s.structure)
    assert [(e.type, e.box) for e in in_view(v).layout] == [(e.type, n.box) for e, n in zip(s.layout, s.structure)]


def test_without_boxes_the_picture_is_given_up():
    s = next(s for s in SAMPLE if len(twins(Draft(as_variant(s)))) > 2)
    s = replace(s, structure=Structure([replace(n, box=None) for n in s.structure]))
    for name in ('drop', 'duplicate', 'reorder', 'transplant'):
        v = next(v for v in (apply(name, s, k) for k in range(20)) if v.structure != s.structure)
        assert v.picture_file is None and v.screenshot is None, name
    assert apply('wrap', s, 1).screenshot == s.screenshot


# fifty of each

def test_deterministic_and_picklable():
    a, b = Augmented(SAMPLE, 7, seed=3), pickle.loads(pickle.dumps(Augmented(SAMPLE, 7, seed=3)))
    for n in (1, 8, 33, 100):
        assert variant_key(a[n]) == variant_key(b[n]) and a[n].edits == b[n].edits
        if a[n].picture_file: assert (picture(a[n]) == picture(b[n])).all()
    assert any(variant_key(a[n]) != variant_key(Augmented(SAMPLE, 7, seed=4)[n]) for n in (1, 8, 33))
    assert [a[7 * i] for i in range(len(SAMPLE))] == SAMPLE


def test_fifty_distinct_variants():
    assert distinct_share(Augmented(SAMPLE, 50), 12) >= .95


def test_in_worker_processes():
    torch = pytest.importorskip('torch')
    many = Augmented(SAMPLE[:4], 3)
    rows = AugmentedExamples(many, Vocab.build(SAMPLE), 32)
    loader = torch.utils.data.DataLoader(rows, batch_size=None, num_workers=1, collate_fn=lambda r: r)
    for a, b in zip(loader, [rows[i] for i in range(len(rows))]):
        assert all((np.asarray(a[k]) == b[k]).all() for k in b)


def test_features_follow():
    many = Augmented(SAMPLE, 10)
    for n in range(1, 60, 7): assert node_arrays(many[n])['num'].shape[0] == len(many[n].structure)


def test_refusals():
    items = get_items('sample')
    assert Augmented(items).sections == items.train
    with pytest.raises(LayoutError, match='split first'): Augmented(replace(items, val=[], test=[]))
    with pytest.raises(LayoutError, match='variants already'): Augmented([as_variant(SAMPLE[0])])
    with pytest.raises(LayoutError, match="did you mean 'rename'"): Augmented(SAMPLE, names=['renam'])
    with pytest.raises(LayoutError, match="no transform 'geometry'"): Augmented(SAMPLE, names=['geometry'])   # changes of the picture alone are gone
