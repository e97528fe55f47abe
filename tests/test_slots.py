"The slot table: any filling decodes, what decodes encodes back, and real layouts survive the round trip."
import os
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from layoutdiff.core import Layout, Node, Section, Structure
from layoutdiff.items import distinct, get_items
from layoutdiff.slots import SPECIAL, SlotTable, Vocab, decode, decode_free, encode, encode_free, layout_faults

DATA = Path(os.environ.get('LAYOUTDIFF_DATA', Path(__file__).parents[2]/'shared'/'data'))
needs = lambda name: pytest.mark.skipif(not (DATA/name).is_dir(), reason=f'no {name} here')
TYPES = ['section', 'column', 'heading', 'image']


@st.composite
def structures(draw, most=14):
    "Random forests in preorder."
    n, parents, stack = draw(st.integers(1, most)), [], []
    for i in range(n):
        keep = draw(st.integers(0, len(stack)))
        del stack[keep:]
        parents.append(stack[-1] if stack else -1)
        stack.append(i)
    return Structure([Node('div', p) for p in parents])


@st.composite
def filled(draw):
    "A structure and any filling of its table."
    s = draw(structures())
    labels = st.lists(st.sampled_from([*SPECIAL, *TYPES]), min_size=len(s), max_size=len(s))
    wraps = st.lists(st.sampled_from(['none', '+column', '=column', '+column+section', '=column+section', '=column=section']), min_size=len(s), max_size=len(s))
    return s, SlotTable(draw(labels), draw(wraps), [None] * len(s))


@settings(max_examples=300, deadline=None)
@given(filled())
def test_any_filling_is_a_valid_layout(case):
    s, table = case
    layout = decode(table, s)
    assert layout_faults(layout, s) == []
    Layout(layout.elements, layout.props)   # checks preorder once more


@settings(max_examples=300, deadline=None)
@given(filled())
def test_round_trip_or_reason(case):
    s, table = case
    layout = decode(table, s)
    again = encode(Section('a', structure=s, layout=layout))
    assert again.reasons or decode(again, s) == layout


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(['empty', *TYPES]), st.integers(-2, 20)), min_size=1, max_size=30))
def test_free_slots(rows):
    layout = decode_free(SlotTable([l for l, _ in rows], ['none'] * len(rows), [None] * len(rows), [d for _, d in rows]))
    table = encode_free(Section('a', layout=layout), n=40)
    assert decode_free(table) == layout and not table.reasons


@needs('wp-sections')
def test_wp_sections_exact():
    items = get_items(DATA/'wp-sections')
    vocab = Vocab.build(items.train)
    exact = sum(decode(encode(s), s.structure) == s.layout for s in items.all)
    assert (len(items), exact) == (2103, 2103)
    seen = [s for s in items.val + items.test if {e.type for e in s.layout} <= set(vocab.types)]
    assert len(seen) > 560 and not any(encode(s, vocab).reasons for s in seen)


@needs('sections30')
def test_sections30_after_repair():
    sections = distinct(get_items(DATA/'sections30')).all
    exact = [s.id for s in sections if not encode(s).reasons]
    assert len(sections) == 30 and len(exact) >= 29
