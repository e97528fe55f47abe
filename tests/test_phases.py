"A shortened training of each phase on the bundled sample, and each of its techniques switched on."
import csv
import json
import math
import sys
from pathlib import Path

import pytest

from layoutdiff.cli import main
from layoutdiff.phases import PHASES, Situation, evidence, explain, get_phase, in_words, is_on, next_phase, settle, switch_off, switches, technique_facts
from layoutdiff.settings import Settings
from layoutdiff.techniques import load_techniques
from layoutdiff.train import fit

BENCH = Path(__file__).resolve().parent.parent/'nbs'/'bench'
SHORT = dict(size='tiny', members=1, trees=0., drop_pixels=1, p_free=0, workers=0, tell=lambda line: None)
names = dict(ids=lambda p: getattr(p, 'name', p))


@pytest.mark.parametrize('phase', PHASES, **names)
def test_a_short_training_learns(phase, tmp_path):
    run = fit('sample', tmp_path, phase=phase.name, steps=60, epochs=4, bs=12, lr=2e-3, **SHORT)
    rows = run.results
    assert run.config['phase'] == phase.name and len(rows) >= 3
    assert rows[-1]['valid_loss'] < .9 * rows[0]['valid_loss'] and rows[-1]['loss_label'] < .9 * rows[0]['loss_label']


@pytest.mark.parametrize('phase', PHASES, **names)
def test_some_techniques_of_each_phase_are_here(phase): assert switches(phase)


@pytest.mark.parametrize('phase,name', [(p, name) for p in PHASES for name in p.techniques], **names)
def test_each_technique_can_be_switched_on(phase, name, tmp_path):
    if name not in switches(phase): pytest.skip(f'no setting of {name}')
    on = switches(phase)[name]
    run = fit('sample', tmp_path, phase=phase.name, steps=4, epochs=2, bs=12, **{**SHORT, **on})
    assert is_on(name, phase, run.checkpoint.settings) and math.isfinite(run.results[-1]['train_loss'])
    assert not is_on(name, phase, run.checkpoint.settings.but(**switch_off(on)))


def test_techniques_of_phases_2_to_4_are_on_only_where_they_are_named():
    for p in PHASES[1:]:
        s = settle(Situation(p.up_to if p.up_to < math.inf else 10 ** 6, p.name)).settings
        registered = load_techniques().keys() & switches(p).keys() - {'ema'}               # the average of weights is everyone's
        assert {name for name in registered if is_on(name, p, s)} == set(p.on) & registered


def test_a_technique_that_is_named_is_on_and_the_user_wins(monkeypatch):
    import layoutdiff.phases as phases
    from dataclasses import replace
    row = replace(PHASES[0], on=('variance',))
    rules = [r for r in phases.RULES if r.name != 'phase1 techniques']
    rule = phases.Rule('phase1 techniques', lambda c: c.phase == 'phase1', lambda c: switches(row)['variance'], 'measured best')
    monkeypatch.setattr(phases, 'RULES', [*rules, rule])
    found = settle(Situation(500, 'phase1'))
    assert found.settings.variance_aware and found.rules['variance_aware'].name == 'phase1 techniques'
    assert not settle(Situation(500, 'phase1'), variance_aware=False).settings.variance_aware


def test_explain_says_what_the_next_phase_needs_and_brings():
    text = explain(settle(Situation(1520, 'phase1'), variance_aware=True))
    assert 'begins at 2,001 training sections: 481 more' in text and '| variance | on | --set variance_aware=true |' in text and '| elements | off |' in text
    assert '| multitask | off | --set multitask=true |' in text and 'There is no larger phase' not in text
    assert 'There is no larger phase' in explain(settle(Situation(200_000, 'phase4')))
    assert next_phase(settle(Situation(20, 'phase2')))['needs'] == 9_981


def test_evidence_is_told_with_its_spread_and_size():
    found = dict(phase1=dict(elements=dict(score='element F1', gain=-.0123, sd=.004, seeds=3, n=500, step_time=1.04)))
    assert in_words('elements', PHASES[0], found) == 'element F1 -0.012 ± 0.004 with 500 sections (3 seeds), step time x1.04'
    assert in_words('elements', PHASES[1], found) == 'not measured'
    for phase, rows in evidence().items(): assert rows.keys() <= get_phase(phase, 1).techniques.keys()


def test_the_command_prints_decision_table_json_and_next_phase(capsys):
    assert main(['phase', 'sample', '--set', 'elements=true']) == 0
    out = capsys.readouterr().out
    assert out.startswith('30 training sections: **phase1**') and '| elements | on |' in out and '1,971 more' in out
    assert json.loads(out.splitlines()[-1]) == settle(Situation(30, 'phase1'), elements=True).settings.asdict()
    main(['phase', 'sample', '--json'])
    found = json.loads(capsys.readouterr().out)
    assert found['next']['phase'] == 'phase2' and found['next']['needs'] == 1971
    assert found['techniques'] == json.loads(json.dumps(technique_facts(PHASES[0], Settings.from_dict(found['settings']))))


# ---- loss terms by name

def test_loss_terms_are_columns_and_their_mean_is_weighted_by_sections(tmp_path):
    run = fit('sample', tmp_path, steps=6, epochs=2, bs=12, multitask=True, elements=True, goals='overlap+diversity+props', **SHORT)
    with open(run.path/'results.csv', newline='') as f: head = next(csv.reader(f))
    assert {f'loss_{k}' for k in ('label', 'wrap', 'depth', 'box', 'count', 'chain', 'pair', 'overlap', 'diversity', 'props')} <= set(head)
    assert 'loss_align' not in head and 'loss_count' not in run.results[-1]                # no goal; no term of this model
    assert all(0 < r[f'loss_{k}'] < 20 for r in run.results for k in ('label', 'wrap', 'chain', 'diversity', 'props'))


def test_a_mean_over_sections_does_not_depend_on_the_batches():
    import torch
    from layoutdiff.callbacks import TermMeans
    values, found = torch.rand(12, generator=torch.Generator().manual_seed(0)), []
    for bs in (1, 3, 5, 12):
        cb = TermMeans()
        cb.learn = type('L', (), dict(metrics=[], training=True, loss_func=type('F', (), dict(names=('a',)))(), validation=type('V', (), dict(scores={}))))()
        cb.before_fit(), cb.before_train()
        for part in values.split(bs):
            cb.learn.xb, cb.learn.loss_func.last = [dict(mask=part)], dict(a=part.mean())
            cb.after_loss()
        cb.after_validate()
        found.append(cb.learn.validation.scores['loss_a'])
    assert found == pytest.approx([values.mean().item()] * 4, abs=1e-6)


def test_elements_keep_their_counts_to_resume():
    import torch
    from layoutdiff.techniques.elements import Elements
    a, b = Elements(), Elements()
    a.loss.seen = torch.arange(8.).view(2, 2, 2)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.loss.seen, b.loss.seen)


# ---- the bench plans

@pytest.fixture(scope='module')
def bench_module():
    sys.path.insert(0, str(BENCH))
    before = {k: sys.modules.pop(k, None) for k in ('run', 'tools', 'strategies')}
    import run
    import strategies
    yield run, strategies
    sys.path.remove(str(BENCH))
    for k, v in before.items():
        sys.modules.pop(k, None)
        if v is not None: sys.modules[k] = v


def test_the_grid_has_every_phase_at_every_size(bench_module, tmp_path):
    run, strategies = bench_module
    b = run.Bench(run.PLANS['strategies'], ['d'], [0, 1, 2], tmp_path)
    cells = b.plan.cells(b)
    assert len(cells) == 3 * 4 * 3 + 2 * 4
    assert {(c['n'], c['phase']) for c in cells} == {(n, p.name) for n in (50, 500, 1500, 5000, 20000) for p in PHASES}


def test_each_technique_has_a_cell_and_a_twin_without_it(bench_module, tmp_path):
    run, strategies = bench_module
    b = run.Bench(run.PLANS['techniques'], ['d'], [0, 1, 2], tmp_path)
    cells = b.plan.cells(b)
    plain = {(c['phase'], c['n'], c['kind'], c['seed']) for c in cells if c['name'] == strategies.PLAIN}
    assert all((c['phase'], c['n'], c['kind'], c['seed']) in plain for c in cells)
    assert {(c['phase'], c['name']) for c in cells if c['name'] != strategies.PLAIN} == {(p.name, name) for p in PHASES for name in switches(p)}
    for c in cells:
        if c['name'] == strategies.PLAIN: continue
        change, before = strategies.toggled(c['phase'], c['n'], c['kind'], c['name'])
        assert change and before == (c['name'] in ('strong dropout', 'ema', 'clip')), c


def test_gains_are_with_less_without_seed_by_seed(bench_module):
    _, strategies = bench_module
    row = lambda name, seed, f1, was_on=None, t=1.: dict(phase='phase1', n=500, kind='real', name=name, seed=seed, element_f1=f1, was_on=was_on, step_time=t)
    rows = [row(strategies.PLAIN, 0, .8), row(strategies.PLAIN, 1, .6), row('new', 0, .9, False, 2.), row('new', 1, .8, False, 2.), row('old', 0, .7, True, .5), row('old', 1, .6, True, .5)]
    found = strategies.condensed(dict(rows=rows))['phase1']
    assert found['new'] == dict(score='element F1', gain=.15, sd=.0707, seeds=2, n=500, step_time=2.)
    assert found['old'] == dict(score='element F1', gain=.05, sd=.0707, seeds=2, n=500, step_time=2.)


def test_a_clock_of_the_processor_ends_a_training(bench_module, tmp_path):
    import time
    run, _ = bench_module
    wall = time.monotonic
    b = run.Bench(run.Plan('toy', '', (), None, None, run.rows, dict(minutes=.03, steps=100_000, epochs=2, **{k: v for k, v in SHORT.items() if k != 'tell'})), [], [0], tmp_path)
    done = b.trained('x', 'sample', seed=0)
    assert time.monotonic is wall and done.config['time'] == pytest.approx(1.8) and done.results[-1]['step'] < 100_000


def test_a_time_that_is_over_before_training_begins_leaves_one_step(tmp_path):
    run = fit('sample', tmp_path, time=1e-6, steps=50, epochs=2, bs=12, **SHORT)
    assert [r['step'] for r in run.results] == [1]


def test_shipped_evidence_is_that_of_the_results(bench_module):
    _, strategies = bench_module
    results = BENCH.parent/'results'/'techniques.json'
    if not results.is_file(): return                                                       # not measured yet: there is nothing to ship
    assert evidence() == strategies.condensed(json.loads(results.read_text(encoding='utf-8')))
