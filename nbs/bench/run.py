"""The one runner of all long measurements.

    python nbs/bench/run.py                                    what can be measured
    python nbs/bench/run.py wp ../shared/data/wp-sections --seeds 0 1 2
    python nbs/bench/run.py across WP SECTIONS30 --seeds 0 1 2 --runs RUNS --set members=1

A plan is a grid of cells. After each cell nbs/results/PLAN.json is written anew, with command, seeds, commit and environment inside. What a cell gave is kept
under RUNS, and so are the trained runs: the same command goes on where it was stopped, and runs no cell twice. Results of another command are not
replaced without --anew; --out NAME writes elsewhere.
"""
import argparse
import hashlib
import importlib
import json
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent/'results'
MODULES = 'wordpress', 'few', 'builders', 'pictures', 'data', 'scale', 'strategies'   # beside this file; each holds plans
PLANS = {}


@dataclass(frozen=True)
class Plan:
    "A row: which cells there are, what one of them measures, and how all become a results file."
    name: str
    about: str            # one line
    data: tuple           # what the arguments after the name are
    cells: Callable       # Bench -> list of dicts: the cells in order
    measure: Callable     # (Bench, **cell) -> dict or list of dicts that JSON can hold
    gather: Callable      # (list of cells, list of what they gave) -> dict: what stands in the file beside the head
    settings: dict = field(default_factory=dict)   # of the trainings, and `minutes` of processor for each; --set wins


def rows(cells, found): return dict(rows=[{**cell, **row} for cell, f in zip(cells, found) for row in (f if isinstance(f, list) else [f])])
def runs(cells, found): return dict(runs=[{**cell, **f} for cell, f in zip(cells, found)])
def by_seed(bench): return [dict(seed=s) for s in bench.seeds]


def plan(name, about, data=('DATA',), cells=by_seed, gather=rows, **settings):
    "Register a measurement as a plan."
    def keep(measure):
        PLANS[name] = Plan(name, about, data, cells, measure, gather, settings)
        return measure
    return keep


@contextmanager
def processor_time():
    "A training's limit in seconds of this process, which neighbours on the machine cannot shorten."
    wall, time.monotonic = time.monotonic, time.process_time
    try: yield
    finally: time.monotonic = wall


@dataclass
class Bench:
    "What a plan may ask for: data, seeds, settings, trained runs."
    plan: Plan
    data: list
    seeds: list
    runs: Path
    given: dict = field(default_factory=dict)   # --set
    tell: Callable = print
    _items: dict = field(default_factory=dict)

    @property
    def settings(self): return {**self.plan.settings, **self.given}
    def items(self, i=0):
        "The data of argument `i`."
        if i not in self._items:
            from tools import get_data
            self._items[i] = get_data(self.data[i])
        return self._items[i]

    def key(self, cell):
        "A name for a cell: the same plan, settings, data and cell have the same."
        what = json.dumps([self.plan.name, self.settings, [Path(d).name for d in self.data], cell], sort_keys=True, default=str)
        return hashlib.sha256(what.encode()).hexdigest()[:12]

    def trained(self, name, data, **settings):
        "A finished run of that name and these settings, or a new one."
        from tools import Run, fit
        settings = {**self.settings, **settings}
        name = f'{self.plan.name}-{name}-{hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:6]}'
        done = sorted(self.runs.glob(f'{name}-[0-9]*/finished'))
        if done: return Run(done[-1].parent)
        minutes = settings.pop('minutes', None)
        with processor_time() if minutes else nullcontext():
            run = fit(data, out=self.runs, name=name, tell=lambda line: None, **({'time': 60 * minutes} if minutes else {}), **settings)
        (run.path/'finished').touch()   # trees and temperature, too: a run that was stopped has none
        return run

    def path(self, cell): return self.runs/'cells'/f'{self.plan.name}-{self.key(cell)}.json'
    def measured(self, cell):
        "What the cell gave, now or before: dict(found, commit, minutes)."
        path = self.path(cell)
        if not path.is_file():
            start = time.monotonic()
            found = self.plan.measure(self, **cell)
            write(path, dict(cell=cell, commit=here(), minutes=round((time.monotonic() - start) / 60, 2), found=found))
        return json.loads(path.read_text(encoding='utf-8'))


def write(path, value):
    "JSON, whole or not at all."
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text(json.dumps(value, indent=1, default=float) + '\n', encoding='utf-8')
    part.replace(path)


def here():
    "The commit, with a + where files other than results differ."
    git = lambda *a: subprocess.run(['git', *a], cwd=HERE, capture_output=True, text=True).stdout.strip()
    changed = git('status', '--porcelain', '-uno', '--', ':/', ':!/nbs/results')
    return git('rev-parse', '--short', 'HEAD') + ('+' if changed else '')


def head(bench, command):
    from tools import environment
    return dict(plan=bench.plan.name, command=command, seeds=bench.seeds, set=bench.settings, environment={k: v for k, v in environment().items() if k != 'commit'})


def file_of(bench, command, cells, keys, done):
    "The results file of the cells that are done."
    commits = dict.fromkeys(d['commit'] for d in done)
    part = {} if len(done) == len(cells) else dict(unfinished=[len(done), len(cells)])
    return {**head(bench, command), 'commit': ', '.join(commits), 'minutes': round(sum(d['minutes'] for d in done), 1), **part,
            'cells': keys[:len(done)], **bench.plan.gather(cells[:len(done)], [d['found'] for d in done])}


def run_plan(bench, path, command='', anew=False):
    "Measure what is not measured yet; the results file after each cell."
    cells = bench.plan.cells(bench)
    keys = [bench.key(c) for c in cells]
    old = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {'cells': []}
    if not anew and not set(old.get('cells', [None])) <= set(keys):
        sys.exit(f'{path} holds results of another command: {old.get("command")}\nNothing was measured. Use --out NAME to write elsewhere, or --anew to replace it.')
    done = []
    for k, cell in enumerate(cells):
        bench.tell(f'{bench.plan.name} {k + 1}/{len(cells)} {cell}' + (': measured before' if bench.path(cell).is_file() else ''))
        done.append(bench.measured(cell))
        write(path, file_of(bench, command, cells, keys, done))
    return path


def load_plans(modules=MODULES):
    sys.path.insert(0, str(HERE))
    sys.modules.setdefault('run', sys.modules[__name__])   # plans register with this very module
    for m in modules: importlib.import_module(m)
    return PLANS


def value(text):
    "A setting from the command line."
    try: return json.loads(text)
    except json.JSONDecodeError: return text


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('plan', nargs='?')
    p.add_argument('data', nargs='*')
    p.add_argument('--seeds', type=int, nargs='+', default=[0])
    p.add_argument('--runs', type=Path, default=Path('runs/bench'), help='folder of trained runs and of what each cell gave')
    p.add_argument('--set', nargs='*', default=[], metavar='K=V', help='settings of the trainings')
    p.add_argument('--out', help='name of the results file; else the name of the plan')
    p.add_argument('--anew', action='store_true', help='replace a results file of another command')
    p.add_argument('--threads', type=int, default=1)
    a = p.parse_args(argv)
    plans = load_plans()
    if a.plan not in plans:
        width = max(map(len, plans))
        sys.exit('\n'.join(([f"There is no plan '{a.plan}'."] if a.plan else []) + [f"{k:{width}}  {' '.join(v.data)}: {v.about}" for k, v in plans.items()]))
    if len(a.data) != len(plans[a.plan].data): p.error(f"{a.plan} takes {len(plans[a.plan].data)} folders: {' '.join(plans[a.plan].data)}")
    import torch
    torch.set_num_threads(a.threads)
    bench = Bench(plans[a.plan], a.data, a.seeds, a.runs, {k: value(v) for k, v in (s.split('=', 1) for s in a.set)}, lambda line: print(line, flush=True))
    names = {**dict(zip(a.data, bench.plan.data)), str(a.runs): 'RUNS'}
    command = 'python nbs/bench/run.py ' + shlex.join([names.get(x, x) for x in (sys.argv[1:] if argv is None else argv) if x != '--anew'])
    return run_plan(bench, RESULTS/f'{a.out or a.plan}.json', command, a.anew)


if __name__ == '__main__': main()
