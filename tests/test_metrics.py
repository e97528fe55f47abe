"What a notebook proves badly: properties over many random layouts, and parity with plain loops, scipy and apted."
import math
from itertools import permutations, product
import numpy as np
import torch
from apted import APTED, Config
from hypothesis import given, strategies as st
from layoutdiff.core import Element, Layout, LayoutError
from layoutdiff import metrics as M
import pytest

@st.composite
def layouts(draw, max_size=9, types='ab', sources=True):
    "A random layout in preorder; every node is used at most once."
    n = draw(st.integers(0, max_size))
    nodes = iter(draw(st.permutations(range(2*n + 2))))
    stack, out = [], []
    for i in range(n):
        stack = stack[:draw(st.integers(0, len(stack)))]
        out.append(Element(draw(st.sampled_from(types)), tuple(sorted(next(nodes) for _ in range(draw(st.integers(0, 2)) if sources else 0))),
                           stack[-1] if stack else -1))
        stack = stack + [i]
    return Layout(out)

@st.composite
def boxes(draw, max_n=6):
    n = draw(st.integers(1, max_n))
    real = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    unit = st.floats(0, 1, width=32)
    return torch.tensor(draw(st.lists(st.tuples(unit, unit, unit, unit), min_size=n, max_size=n)), dtype=torch.float64)[None], torch.tensor(real)[None]

class _T:
    def __init__(self, name): self.name, self.children = name, []

def apted_distance(a, b):
    def tree(layout):
        top, nodes = _T(''), [_T(e.type) for e in layout]
        for e, n in zip(layout, nodes): (nodes[e.parent] if e.parent >= 0 else top).children.append(n)
        return top
    return APTED(tree(a), tree(b), Config()).compute_edit_distance()

@given(layouts(), layouts())
def test_tree_similarity_is_plain_apted(a, b):
    size = max(len(a), len(b))
    assert M.tree_similarity(a, b) == pytest.approx(max(0, 1 - apted_distance(a, b)/size) if size else 1)
    assert M.tree_similarity(a, b) == pytest.approx(M.tree_similarity(b, a))

@given(layouts(12, 'aab', False), st.integers(0, 11), st.sampled_from(['rename', 'delete']))
def test_one_edit_costs_one(a, i, what):
    "A rename or the deletion of one element, its children moving up, is one edit; most of it is stripped before apted."
    if not len(a): return
    i %= len(a)
    if what == 'rename': b = Layout([Element('z' if j == i else e.type, (), e.parent) for j, e in enumerate(a)])
    else:
        up = lambda p: up(a[i].parent) if p == i else p - (p > i)
        b = Layout([Element(e.type, (), up(e.parent)) for j, e in enumerate(a) if j != i])
    assert M.tree_similarity(a, b) == pytest.approx(1 - 1/len(a))

@given(layouts(), layouts())
def test_selkow_bounds_ted_from_above(a, b):
    keys = {}
    fa, fb = M._forest(a, keys), M._forest(b, keys)
    assert apted_distance(a, b) <= M._selkow(fa, fb) <= len(a) + len(b)
    assert M._selkow(fa, fa) == 0

def test_huge_and_deep_trees_answer():
    chain = lambda n, t: Layout([Element(t[i % len(t)], (), i - 1) for i in range(n)])
    flat = lambda n, t: Layout([Element('section')] + [Element(t[i % len(t)], (), 0) for i in range(n)])
    assert M.tree_similarity(chain(3000, 'ab'), chain(9, 'xy')) == 0
    assert M.tree_similarity(flat(600, 'ab'), flat(600, 'xy')) == pytest.approx(1/601)
    assert M.tree_similarity(flat(3000, 'abc'), flat(2990, 'abc')) > .99

@given(layouts())
def test_truth_against_itself_is_perfect(a):
    s = M.pool([M.counts(a, a, free=False)])
    asked = 'element_precision element_recall element_f1 content_f1 type_f1 link_f1 edge_f1 tree_similarity exact_match'.split()
    assert all(s[k] == 1 for k in asked) and s['box_f1'] is None

@given(layouts(), layouts())
def test_scores_lie_between_0_and_1_and_f1_is_symmetric(a, b):
    s, r = M.pool([M.counts(a, b, free=False)]), M.pool([M.counts(b, a, free=False)])
    assert all(0 <= v <= 1 for v in s.values() if v is not None)
    for k in ('element_f1', 'content_f1', 'type_f1', 'link_f1', 'edge_f1', 'tree_similarity', 'exact_match'): assert s[k] == pytest.approx(r[k])
    assert s['element_precision'] == r['element_recall']

@given(st.lists(st.tuples(layouts(5), layouts(5)), min_size=1, max_size=6), st.randoms())
def test_pooled_counts_add_up_and_order_is_free(pairs, rnd):
    c = [M.counts(p, t, free=False) for p, t in pairs]
    total = {k: sum(x[k] for x in c) for k in c[0]}
    assert M.pool(c) == pytest.approx(M.pool([total]))
    rnd.shuffle(c)
    assert M.pool(c) == pytest.approx(M.pool([total]))

def test_bootstrap_is_the_plain_loop():
    rng = np.random.default_rng(3)
    c = [dict(node_right=int(rng.integers(0, 10)), nodes=10) for _ in range(60)]
    groups = [f'g{i % 7}' for i in range(60)]
    lo, hi = M.bootstrap(c, groups, n=4000)['node_accuracy']
    names, by, scores = sorted(set(groups)), {}, []
    for g, x in zip(groups, c): by.setdefault(g, []).append(x)
    for _ in range(4000):
        drawn = [x for g in rng.choice(names, 7) for x in by[g]]
        scores.append(sum(x['node_right'] for x in drawn)/sum(x['nodes'] for x in drawn))
    assert np.allclose([lo, hi], np.percentile(scores, [2.5, 97.5]), atol=.006)

def test_bootstrap_of_undefined_scores():
    a, none = Layout([Element('a', (0,))]), Layout([])
    out = M.bootstrap([M.counts(none, a), M.counts(none, a)], ['x', 'y'])
    assert out['element_precision'] is None and out['element_f1'] == [0, 0] and out['box_iou'] is None

def test_mixed_and_missing_counts_are_refused():
    with pytest.raises(LayoutError, match='nothing to score'): M.pool([])
    with pytest.raises(LayoutError, match='other counts'): M.pool([dict(nodes=1), dict(tokens=1)])
    with pytest.raises(ValueError): M.element_scores([Layout([])], [])

def plain_alignment(boxes, mask, legacy):
    total, n = 0, 0
    axes = [[cx - w/2, cx, cx + w/2, cy - h/2, cy, cy + h/2] for cx, cy, w, h in (boxes*mask[:, None] if legacy else boxes).tolist()]
    for i, m in enumerate(mask):
        if not m: continue
        n += 1
        gaps = [abs(p - q) for j in range(len(axes)) if j != i and (legacy or mask[j]) for p, q in zip(axes[i], axes[j])]
        if gaps: total -= math.log(1 - min(min(gaps), 1 - 1e-6))
    return total/max(n, 1)

@given(boxes(), st.booleans())
def test_alignment_is_the_plain_loop(bm, legacy):
    b, m = bm
    assert M.alignment(b, m, legacy).item() == pytest.approx(plain_alignment(b[0], m[0], legacy), abs=1e-9)

@given(boxes(), st.integers(1, 5))
def test_padding_changes_nothing(bm, k):
    b, m = bm
    bp, mp = torch.cat([b, torch.rand(1, k, 4, dtype=b.dtype)], 1), torch.cat([m, torch.zeros(1, k, dtype=torch.bool)], 1)
    for f in (M.alignment, M.overlap): assert f(bp, mp).item() == pytest.approx(f(b, m).item(), abs=1e-9)

@given(boxes(), st.data())
def test_overlap_is_the_plain_loop(bm, data):
    (b, m), n = bm, bm[0].shape[1]
    parents = [data.draw(st.integers(-1, i - 1)) for i in range(n)]
    def above(i):
        while (i := parents[i]) >= 0: yield i
    def plain(use):
        total = 0
        for i, j in product(range(n), range(n)):
            if i == j or not m[0, i] or not m[0, j] or (use and (i in above(j) or j in above(i))): continue
            (x, y, w, h), (u, v, s, t) = b[0, i].tolist(), b[0, j].tolist()
            side = [max(0, min(p + a/2, q + c/2) - max(p - a/2, q - c/2)) for p, a, q, c in ((x, w, u, s), (y, h, v, t))]
            if w*h > 0: total += side[0]*side[1]/(w*h)
        return total/max(int(m.sum()), 1)
    assert M.overlap(b, m).item() == pytest.approx(plain(False), rel=1e-6, abs=1e-9)
    assert M.overlap(b, m, torch.tensor([parents])).item() == pytest.approx(plain(True), rel=1e-6, abs=1e-9)

@given(boxes(), boxes())
def test_iou_bounds_and_symmetry(a, b):
    a, b = a[0][0], b[0][0]
    iou = M.box_iou(a, b)
    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all() and torch.allclose(iou, M.box_iou(b, a).T)
    assert torch.allclose(M.box_iou(a, a).diagonal(), torch.ones(len(a), dtype=a.dtype))

@given(boxes(5), st.randoms(use_true_random=False), st.data())
def test_set_metrics_are_the_best_permutation(bm, rnd, data):
    a = bm[0][0]
    n = len(a)
    b = torch.rand(n, 4, dtype=torch.float64)
    labels = [data.draw(st.sampled_from('xy')) for _ in range(n)]
    other = rnd.sample(labels, n)
    iou = M.box_iou(a, b)
    plain = max(sum(iou[i, p].item() for i, p in enumerate(perm)) for perm in permutations(range(n)) if all(labels[i] == other[p] for i, p in enumerate(perm)))
    assert M.max_iou((a, labels), (b, other)) == pytest.approx(plain/n)
    near = lambda p, q: math.dist(p[:2], q[:2]) + 2*(abs(p[2] - q[2]) + abs(p[3] - q[3]))
    w = [[min(p[2]*p[3], q[2]*q[3])**.5*2**-near(p, q)*(labels[i] == other[j]) for j, q in enumerate(b.tolist())] for i, p in enumerate(a.tolist())]
    assert M.doc_sim((a, labels), (b, other)) == pytest.approx(max(sum(w[i][p] for i, p in enumerate(q)) for q in permutations(range(n)))/n)

def test_sets_pair_by_types():
    one, two = ([[.5, .5, 1, 1]], ['a']), ([[.5, .5, 1, 1], [.2, .2, .1, .1]], ['a', 'b'])
    assert M.max_iou([one, two], [two]) == 1 and M.max_iou([one], [two]) == 0 and M.max_iou([], [two]) == 0
    assert M.doc_sim([one, one], [one]) == 1 and M.doc_sim([], [one]) == 0

@given(layouts(7, 'ab', False), layouts(7, 'ab', False), st.data())
def test_box_counts_match_types_one_to_one(pred, true, data):
    for e in [*pred, *true]: e.box = (0, 0, data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2)))
    c = M._box_counts(pred, true)
    iou = lambda p, t: M.box_iou(M._cxcywh([p.box]), M._cxcywh([t.box])).item()
    tp = total = pairs = 0
    for k in 'ab':
        ps, ts = [e for e in pred if e.type == k], [e for e in true if e.type == k]
        pairs += max(len(ps), len(ts))
        if len(ps) > len(ts): ps, ts = ts, ps
        ways = [[iou(p, t) for p, t in zip(ps, perm)] for perm in set(permutations(range(len(ts)), len(ps))) for perm in [[ts[i] for i in perm]]][:6000]
        tp += max((sum(x >= .5 for x in w) for w in ways), default=0)
        total += max((sum(w) for w in ways), default=0)
    assert (c['box_tp'], c['iou_pairs'], c['box_pred'], c['box_true']) == (tp, pairs, len(pred), len(true))
    assert c['iou_sum'] == pytest.approx(total)
