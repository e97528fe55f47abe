"Evaluation end to end on a small run: leaks, splits, lost training data, and what cannot be scored."
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from layoutdiff import baselines
from layoutdiff.baselines import BASELINES, booster, boosting, choose_baselines, fit_baseline, fit_nodes, rule_labels
from layoutdiff.core import Element, Layout, LayoutError, Node, Structure
from layoutdiff.evaluate import SCORES, evaluate, find_leaks
from layoutdiff.items import Items, get_items
from layoutdiff.slots import SPECIAL, SlotTable, decode, encode, layout_faults
from layoutdiff.tables import confusion, grid, made_by, results_table, scores_table
from layoutdiff.train import fit

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get('LAYOUTDIFF_DATA') or ROOT.parent/'shared'/'data')
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason='the real data are not on this machine')
CHEAP = ('majority', 'rules', 'neighbour')
QUIET = dict(tell=lambda line: None)

@pytest.fixture(scope='module')
def items(): return get_items('sample')

@pytest.fixture(scope='module')
def run(tmp_path_factory): return fit('sample', out=tmp_path_factory.mktemp('runs'), size='tiny', members=1, steps=4, epochs=1, **QUIET)

def timeless(m):
    if isinstance(m, dict): return {k: timeless(v) for k, v in m.items() if k != 'seconds_per_section'}
    return [timeless(v) for v in m] if isinstance(m, list) else m

def test_the_same_call_gives_the_same_numbers(run, items, tmp_path):
    a, b = (evaluate(run, items, baselines=(*CHEAP, 'forest'), steps=2, path_json=tmp_path/f'{k}.json', **QUIET) for k in 'ab')
    assert timeless(a) == timeless(b) and a == json.loads((tmp_path/'a.json').read_text())
    assert set(a['baselines']) == {*CHEAP, 'forest'} and a['n_sections'] == 10 and a['leaked_sections'] == []

@pytest.mark.parametrize('given', ['structure', 'screenshot', 'structure,screenshot'])
def test_every_score_has_an_interval_around_it(run, items, given):
    m = evaluate(run, items, given=given, baselines=CHEAP, steps=1, **QUIET)
    for s in filter(None, (m['model'], m['model_1_step'], *m['baselines'].values())):
        assert set(s) - {'temperature'} == {*SCORES, 'n_sections', 'n_nodes', 'seconds_per_section', 'ci95'}
        assert ('temperature' in s) == (s in (m['model'], m['model_1_step'])) and (s['calibration_error'] is not None) == ('temperature' in s and 'structure' in given)
        for k in SCORES:
            if s[k] is not None: assert 0 <= s[k] <= 1 and (s['ci95'][k] is None or 0 <= s['ci95'][k][0] <= s['ci95'][k][1] <= 1)
    assert timeless(m['model']) == timeless(m['model_1_step'])
    assert 'the model' in scores_table(m)

def test_copies_of_training_sections_are_found_and_taken_out(run, items):
    copies = [replace(s, id=f'copy-{k}', group=f'new-{k}') for k, s in enumerate(items.train[:4])]
    m = evaluate(run, Items(test=[*items.test, *copies], split_given=True), baselines=('rules',), steps=1, **QUIET)
    assert m['leaked_sections'] == [s.id for s in copies] and m['without_leaks']['n_sections'] == 10
    assert any(n.startswith('4 of 14 sections also occur in training') for n in m['notes'])
    honest = evaluate(run, items, baselines=('rules',), steps=1, **QUIET)
    assert timeless(m['without_leaks']['rules']) == timeless(honest['baselines']['rules'])

def test_a_site_that_was_trained_on_is_named(run, items):
    same_site = [replace(s, group=items.train[0].group) for s in items.test]
    m = evaluate(run, Items(test=same_site, split_given=True), baselines=(), steps=1, **QUIET)
    assert m['leaked_groups'] == [items.train[0].group] and m['leaked_sections'] == []
    assert '1 test groups also occur in training: leak' in m['notes']

def test_unsplit_data_keep_the_split_of_the_run(items, tmp_path):
    from layoutdiff.items import write_section
    for s in items.train[:12]: write_section(s, tmp_path/'data'/s.id)
    run = fit(tmp_path/'data', out=tmp_path, size='tiny', members=1, steps=2, epochs=1, **QUIET)
    if not run.config['splits']['test']: pytest.skip('too few groups for a test split')
    m = evaluate(run, tmp_path/'data', baselines=('rules',), steps=1, **QUIET)
    assert m['n_sections'] == len(run.config['splits']['test']) and m['leaked_sections'] == []
    assert "the data came unsplit: the split is the run's own" in m['notes']

def test_lost_training_data(items, tmp_path):
    run = fit(replace(items, path=None), out=tmp_path, size='tiny', members=1, steps=2, epochs=1, **QUIET)
    m = evaluate(run, items, baselines=('majority', 'rules'), steps=1, **QUIET)
    assert m['baselines']['majority'] and m['baselines']['rules']
    assert any('30 training sections of the scored data' in n for n in m['notes'])
    bare = evaluate(run, Items(train=items.test), baselines=('majority', 'rules'), steps=1, **QUIET)
    assert bare['split'] == 'all' and bare['baselines']['majority'] is None and bare['baselines']['rules']

def test_what_cannot_be_scored_is_counted_or_refused(run, items):
    mixed = [*items.test[:3], replace(items.test[3], layout=None), replace(items.test[4], screenshot=None)]
    m = evaluate(run, Items(test=mixed, split_given=True), given='screenshot', baselines=(), steps=1, **QUIET)
    assert m['n_sections'] == 3 and {'1 sections without layout left out', '1 sections without screenshot left out'} <= set(m['notes'])
    with pytest.raises(LayoutError, match='none of 2 sections can be scored'):
        evaluate(run, Items(test=[replace(s, layout=None) for s in items.test[:2]], split_given=True), **QUIET)
    with pytest.raises(LayoutError, match='nothing to look at'):
        evaluate(run, Items(test=[replace(s, structure=None) for s in items.test], split_given=True), given='structure', **QUIET)

def test_an_unseen_type_counts_as_wrong(run, items):
    s = items.test[0]
    odd = replace(s, layout=Layout([Element('hologram', e.sources, e.parent) for e in s.layout], s.layout.props))
    m = evaluate(run, Items(test=[odd], split_given=True), baselines=('forest',), steps=1, **QUIET)
    starts = sum(l not in SPECIAL for l in encode(odd).label)
    for k in (m['model'], m['baselines']['forest']): assert k['node_accuracy'] <= 1 - starts/len(s.structure) and k['element_f1'] == 0

def test_rules_answer_any_structure():
    rng, tags = random.Random(0), 'div p ul li a img figure nav form button h2 span table hr svg x-y input'.split()
    for _ in range(200):
        nodes, stack = [], []
        for i in range(rng.randint(1, 25)):
            stack = stack[:rng.randint(0, len(stack))]
            hints = rng.choice(({}, {'d': 'grid'}, {'d': 'flex'}))
            nodes.append(Node(rng.choice(tags), stack[-1] if stack else -1, text=rng.choice(('', 'hi')), hints=hints))
            stack.append(i)
        s = Structure(nodes)
        labels = rule_labels(s)
        assert len(labels) == len(s) and not layout_faults(decode(SlotTable(labels, ['none']*len(s), [None]*len(s)), s), s)

def test_confusion_counts_every_node(items):
    truths = [encode(s).label for s in items.test]
    names, m = confusion([encode(s) for s in items.test], truths)
    assert m.sum() == sum(map(len, truths)) == m.trace()

def test_baselines_from_pictures_give_free_tables(items):
    for name, row in BASELINES.items():
        if isinstance(row.picture, str): continue
        for t, s in zip(fit_baseline(name, items.train, free=True)(items.test), items.test):
            assert t.free and t.size == s.size and decode(t, s.structure)[0].parent == -1

# ---- which rivals

def test_boosting_says_which_library(run, items):
    m = evaluate(run, items, baselines=('boosting', 'extra_trees'), steps=1, **QUIET)
    row = m['baselines']['boosting']
    assert row['used'] == booster() and row['element_f1'] is not None and 'used' not in m['baselines']['extra_trees']
    assert f'({booster()})' in scores_table(m)

def test_scikit_learn_boosts_where_lightgbm_is_not(monkeypatch, items):
    monkeypatch.setattr(baselines, 'find_spec', lambda name: None)
    assert booster().startswith('scikit-learn ') and type(boosting()).__name__ == 'HistGradientBoostingClassifier'
    model = boosting(0).set_params(max_iter=2)
    few = [s for s in items.train if len(s.structure) < 40][:4]
    assert [len(t) for t in fit_nodes(model, few)(few[:2])] == [len(s.structure) for s in few[:2]]

def test_slow_rivals_are_asked_only_where_they_are_quick(run, items, monkeypatch):
    assert choose_baselines('auto', 2000)[1] == ['extra_trees', 'boosting'] and choose_baselines('all', 2000)[1] == choose_baselines('auto', 20)[1] == []
    monkeypatch.setattr(baselines, 'SLOW_ABOVE', 10)
    m = evaluate(run, items, steps=1, **QUIET)
    assert list(m['baselines']) == ['majority', 'rules', 'neighbour', 'forest']
    assert any(n.startswith('extra_trees and boosting take minutes on 30 sections') for n in m['notes'])
    quick = evaluate(run, items, baselines='quick', steps=1, **QUIET)
    assert timeless(quick['baselines']) == timeless(m['baselines']) and not any('take minutes' in n for n in quick['notes'])

def test_strong_rivals_beat_rules_on_the_sample(items):
    from layoutdiff.metrics import counts, pool
    f1 = lambda name: pool([counts(decode(t, s.structure), s.layout) for t, s in zip(fit_baseline(name, items.train)(items.test), items.test)])['element_f1']
    assert f1('extra_trees') > f1('rules') + .1

def test_a_grid_of_rows():
    rows = [dict(name='a', n=5, f1=.5), dict(name='a', n=5, f1=.7), dict(name='b', n=10, f1=None)]
    assert grid(rows, 'name', 'n', 'f1', {'a': 'A', 'b': 'B'}).splitlines()[2:] == ['| A | .600 ± .100 |  |', '| B |  |  |']
    assert made_by(dict(command='x', commit='abc', note='said so')) == 'command: `x`; commit: `abc`; said so'

def test_every_results_file_can_be_read():
    for path in sorted((ROOT/'nbs'/'results').glob('*.json')):
        d = json.loads(path.read_text())
        if d.get('runs') and 'baselines' in d['runs'][0] and 'trained_on' not in d['runs'][0]: assert results_table(path).count('\n| ') >= 3, path.name

def test_results_over_seeds(run, items, tmp_path):
    runs = [evaluate(run, items, baselines=('rules',), steps=1, seed=k, **QUIET) for k in (0, 1)]
    (tmp_path/'r.json').write_text(json.dumps(dict(command='x', seeds=[0, 1], commit='abc', runs=runs)))
    assert 'mean of 2 runs' in results_table(tmp_path/'r.json')

@needs_data
def test_the_copies_in_sections30_are_found():
    data = get_items(DATA/'sections30')
    assert len(find_leaks([*data.val, *data.test], data.train)[0]) == len(data.val) + len(data.test) > 0

@needs_data
def test_rules_on_real_sections():
    from layoutdiff.metrics import counts, pool
    data = get_items(DATA/'wp-sections'/'test')
    tables = fit_baseline('rules', [])(data.all)
    assert pool([counts(decode(t, s.structure), s.layout) for t, s in zip(tables, data.all)])['element_f1'] > .77

# ---- with a support set of the same site

@pytest.fixture(scope='module')
def pupil(tmp_path_factory): return fit('sample', out=tmp_path_factory.mktemp('runs'), size='tiny', members=1, steps=6, epochs=1, **QUIET)

@pytest.fixture(scope='module')
def sites(items): return Items(test=items.train, split_given=True)       # six sites of five sections; a leak, which does not matter here

def test_the_same_sections_are_scored_whatever_the_support(run, pupil, items):
    got = [evaluate(r, items, baselines=('rules',), steps=1, support=k, **QUIET) for r, k in ((run, 5), (pupil, 0), (pupil, 1), (pupil, 5))]
    assert len({m['fingerprint'] for m in got}) == 1 and {m['n_sections'] for m in got} == {2}
    assert len({json.dumps(timeless(m['baselines'])) for m in got}) == 1
    shown = [m['support']['shown'] for m in got]
    assert [[len(v) for v in s.values()] for s in shown] == [[4, 4], [0, 0], [1, 1], [4, 4]]
    assert all(a[g] == b[g][:len(a[g])] for a, b in zip(shown[1:], shown[2:]) for g in a)    # few are the first of many
    assert any('too small to give 5' in n for n in got[-1]['notes']) and not any('too small' in n for n in got[2]['notes'])

def test_support_is_never_scored_and_of_the_same_site(pupil, items, sites, monkeypatch):
    from layoutdiff import evaluate as page
    asked, real = [], page.predict_tables
    def spy(model, examples, *args, support=None, **kwargs):
        asked.append(([s.id for s in examples.sections], {s.group for s in examples.sections}, [(s.id, s.group) for s in support.sections]))
        return real(model, examples, *args, support=support, **kwargs)
    monkeypatch.setattr(page, 'predict_tables', spy)
    page.evaluate(pupil, sites, baselines=(), steps=1, support=3, **QUIET)
    scored = {i for ids, *_ in asked for i in ids}
    assert len(asked) == 3 * 6 and len(scored) == 6
    for ids, groups, shown in asked:
        assert len(shown) == 3 and len(groups) == 1 and {g for _, g in shown} == groups and not {i for i, _ in shown} & scored

def test_a_draw_by_seed(pupil, sites):
    a, b, c = (evaluate(pupil, sites, baselines=(), steps=1, support=2, seed=k, **QUIET) for k in (0, 0, 1))
    assert a['support'] == b['support'] != c['support'] and timeless(a) == timeless(b)

def test_a_folder_supports_all_and_is_not_scored(pupil, items, tmp_path):
    from layoutdiff.items import write_section
    for s in items.test[:3]: write_section(s, tmp_path/s.id)
    m = evaluate(pupil, items, baselines=(), steps=1, support=tmp_path, **QUIET)
    assert m['n_sections'] == 7 and len(m['support']['shown']['all']) == 3 and any(items.test[0].id in n for n in m['notes'])
    assert f'with a support set of labelled sections ({tmp_path})' in scores_table(m)
    with pytest.raises(LayoutError, match='none is left to score'):
        evaluate(pupil, Items(test=items.test[:3], split_given=True), baselines=(), support=tmp_path, **QUIET)

def test_sections_without_a_site_count_as_one(pupil, items):
    alone = Items(test=[replace(s, group=s.id) for s in items.test], split_given=True)
    m = evaluate(pupil, alone, baselines=(), steps=1, support=5, **QUIET)
    assert m['n_sections'] == 5 and [len(v) for v in m['support']['shown'].values()] == [5]

def test_twins_of_the_support_are_counted(pupil, items):
    twins = [replace(items.test[0], id=f'twin-{k}') for k in range(7)]
    m = evaluate(pupil, Items(test=twins, split_given=True), baselines=(), steps=1, support=1, **QUIET)
    assert '2 scored sections have the same nodes as one of their support set' in m['notes']

def test_support_is_refused_with_reasons(pupil, items):
    for r, how, said in ((pupil, dict(support=6), 'allowed are 0 to 5'),
                         (pupil, dict(support=1, given='screenshot'), 'use --given structure'), (pupil, dict(support='gone'), 'missing-file')):
        with pytest.raises(LayoutError, match=said): evaluate(r, items, baselines=(), **how, **QUIET)
