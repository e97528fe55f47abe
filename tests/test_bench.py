"The runner of long measurements: what was stopped goes on, no cell runs twice, nobody's results are lost."
import importlib
import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent/'nbs'/'bench'

@pytest.fixture(scope='module')
def runner():
    "The runner, under a name of its own; its neighbours import it as `run`."
    sys.path.insert(0, str(BENCH))
    before = {k: sys.modules.pop(k, None) for k in ('run', 'tools', 'data', 'few')}
    module = importlib.import_module('run')
    yield module
    sys.path.remove(str(BENCH))
    for k, v in before.items():
        sys.modules.pop(k, None)
        if v is not None: sys.modules[k] = v

class Stopped(Exception): pass

@pytest.fixture
def toy(runner):
    "A plan of six cells that counts how often each is asked; it stops at the `stop_at`-th."
    asked = []
    def measure(bench, seed, n):
        if len(asked) == bench.given.get('stop_at', -1): raise Stopped
        asked.append((seed, n))
        return dict(score=seed + n * bench.settings['times'])
    p = runner.Plan('toy', 'a toy', ('DATA',), lambda b: [dict(seed=s, n=n) for s in b.seeds for n in (1, 2)], measure, runner.rows, dict(times=10))
    def bench(folder, seeds=(0, 1, 2), data='there', **given): return runner.Bench(p, [data], list(seeds), folder, given, lambda line: None)
    bench.asked = asked
    return bench

def content(path): return {k: v for k, v in json.loads(path.read_text()).items() if k != 'minutes'}

def test_all_cells_in_order(runner, toy, tmp_path):
    d = content(runner.run_plan(toy(tmp_path/'runs'), tmp_path/'toy.json', 'the command'))
    assert [(r['seed'], r['n'], r['score']) for r in d['rows']] == [(s, n, s + 10 * n) for s in (0, 1, 2) for n in (1, 2)]
    assert d['command'] == 'the command' and d['seeds'] == [0, 1, 2] and d['set'] == dict(times=10) and d['commit'] and d['environment']['torch']

def test_an_interrupted_plan_ends_as_if_it_had_not_been(runner, toy, tmp_path, monkeypatch):
    whole = content(runner.run_plan(toy(tmp_path/'a'), tmp_path/'a.json'))
    toy.asked.clear()
    bench = toy(tmp_path/'b')
    real = runner.Bench.measured
    def stops(self, cell):
        if len(toy.asked) == 4 and not self.path(cell).is_file(): raise Stopped
        return real(self, cell)
    monkeypatch.setattr(runner.Bench, 'measured', stops)
    with pytest.raises(Stopped): runner.run_plan(bench, tmp_path/'b.json')
    half = content(tmp_path/'b.json')
    assert half['unfinished'] == [4, 6] and half['rows'] == whole['rows'][:4]      # what was measured is kept
    monkeypatch.setattr(runner.Bench, 'measured', real)
    assert content(runner.run_plan(toy(tmp_path/'b'), tmp_path/'b.json')) == whole
    assert sorted(toy.asked) == [(s, n) for s in (0, 1, 2) for n in (1, 2)]           # each cell once, the two calls together

def test_a_cell_that_fails_is_asked_again(runner, toy, tmp_path):
    with pytest.raises(Stopped): runner.run_plan(toy(tmp_path/'runs', stop_at=0), tmp_path/'toy.json')
    assert not list((tmp_path/'runs').rglob('*.json'))

def test_no_cell_runs_twice(runner, toy, tmp_path):
    runner.run_plan(toy(tmp_path/'runs', seeds=[0]), tmp_path/'toy.json')
    runner.run_plan(toy(tmp_path/'runs'), tmp_path/'toy.json')
    assert len(toy.asked) == 6 == len(content(tmp_path/'toy.json')['rows'])
    runner.run_plan(toy(tmp_path/'runs', seeds=[2]), tmp_path/'two.json')
    assert len(toy.asked) == 6 and [r['seed'] for r in content(tmp_path/'two.json')['rows']] == [2, 2]

def test_other_settings_and_data_are_other_cells(runner, toy, tmp_path):
    for k, how in enumerate((dict(), dict(times=3), dict(data='elsewhere'))): runner.run_plan(toy(tmp_path/'runs', seeds=[0], **how), tmp_path/f'{k}.json')
    assert len(toy.asked) == 6
    assert [r['score'] for r in content(tmp_path/'1.json')['rows']] == [3, 6]

def test_results_of_another_command_are_not_replaced(runner, toy, tmp_path):
    path = tmp_path/'toy.json'
    path.write_text(json.dumps(dict(command='python nbs/results/measure.py', runs=[])))          # of before the runner
    with pytest.raises(SystemExit, match='holds results of another command: python nbs/results/measure.py'): runner.run_plan(toy(tmp_path/'runs'), path)
    assert toy.asked == [] and 'measure.py' in path.read_text()
    runner.run_plan(toy(tmp_path/'runs'), path, anew=True)
    with pytest.raises(SystemExit): runner.run_plan(toy(tmp_path/'runs', seeds=[0]), path)        # fewer seeds than it holds
    assert len(content(path)['rows']) == 6

def test_commits_of_all_cells_are_named(runner, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, 'here', lambda: 'abc1234')
    runner.run_plan(toy(tmp_path/'runs', seeds=[0]), tmp_path/'toy.json')
    monkeypatch.setattr(runner, 'here', lambda: 'def5678+')
    assert content(runner.run_plan(toy(tmp_path/'runs', seeds=[0, 1]), tmp_path/'toy.json'))['commit'] == 'abc1234, def5678+'

def test_trained_runs_are_kept_and_only_finished_ones_are_used(runner, toy, tmp_path):
    bench = toy(tmp_path/'runs', size='tiny', members=1, steps=2, trees=0)
    bench.plan.settings.clear()
    once = bench.trained('x', 'sample', seed=0)
    assert bench.trained('x', 'sample', seed=0).path == once.path != bench.trained('x', 'sample', seed=1).path
    (once.path/'finished').unlink()                                                               # as if it had been stopped
    assert bench.trained('x', 'sample', seed=0).path != once.path

def test_every_plan_has_cells_and_a_line(runner, tmp_path):
    plans = runner.load_plans()
    assert {'wp', 'sections30', 'sections30-variants', 'wp-screenshot', 'pix2code', 'across', 'curve', 'ablate', 'ingredients', 'trees', 'calibration', 'base', 'loto', 'builders',
            'scale', 'convert', 'check_speed', 'faults', 'validate', 'noise', 'shown'} <= set(plans)
    for name, p in plans.items():
        bench = runner.Bench(p, ['d'] * len(p.data), [0, 1], tmp_path)
        cells = p.cells(bench)
        assert cells and p.about and len({bench.key(c) for c in cells}) == len(cells), name
    from layoutdiff.settings import cast
    for p in plans.values():
        for k, v in p.settings.items():
            if k not in ('init', 'workers', 'minutes'): cast(k, v)                                           # settings that exist

def test_the_command_line(runner, toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, 'RESULTS', tmp_path)
    runner.PLANS['toy'] = toy(tmp_path).plan
    path = runner.main(['toy', 'some/where', '--seeds', '0', '1', '--runs', str(tmp_path/'runs'), '--set', 'times=2', '--out', 'mine'])
    d = json.loads(path.read_text())
    assert path.name == 'mine.json' and d['command'] == 'python nbs/bench/run.py toy DATA --seeds 0 1 --runs RUNS --set times=2 --out mine' and d['rows'][1]['score'] == 4
    with pytest.raises(SystemExit, match="There is no plan 'tou'"): runner.main(['tou'])
    del runner.PLANS['toy']
