"""What shards cost at 1K, 10K and 100K sections: time per section, peak memory, and the share of a training step spent waiting for data.

    OMP_NUM_THREADS=1 nice python nbs/results/scale.py ../shared/data/wp-sections --work /tmp/scale

Sections of DATA are repeated with other texts, class names and colours. Every measurement runs in a process of its own, so that its peak memory is its own.
Writes nbs/results/scale.json. About an hour and 3 GB of disk for 100,000 sections; what is already written to --work is used again.
"""
import argparse
import json
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import psutil

HERE = Path(__file__).parent
SIZES, BASE = [1_000, 10_000, 100_000], 300


class Peak(threading.Thread):
    "Samples the memory of this process and its children: what each holds alone, and its part of what they share (PSS)."
    def __init__(self): super().__init__(daemon=True); self.mb, self.on, self.me = 0., True, psutil.Process(); self.start()
    def run(self):
        while self.on:
            total = 0
            for p in [self.me, *self.me.children(recursive=True)]:
                try: total += p.memory_full_info().pss
                except psutil.Error: pass
            self.mb = max(self.mb, total / 2**20)
            time.sleep(.2)
    def stop(self): self.on = False; self.join(); return round(self.mb, 1)


class Clock:
    "Seconds and processor seconds of this thread since it was made; others who use the machine lengthen the first, not the second."
    def __init__(self): self.at = time.perf_counter(), time.thread_time()
    def each(self, n, less=0.): return dict(seconds=(time.perf_counter() - self.at[0] - less) / n, cpu=(time.thread_time() - self.at[1] - less) / n)


class Painted:
    "A picture in memory that stands where a path stands."
    suffix, name = '.png', 'screenshot.png'
    def __init__(self, data): self.data = data
    def read(self): return self.data
    read_bytes = read


def recoloured(path, rng, width=360):
    from PIL import Image
    with Image.open(path) as im: im = im.convert('RGB')
    im = im.resize((width, max(1, im.height * width // im.width)))
    im = Image.merge('RGB', rng.sample(im.split(), 3)).quantize(64)
    out = BytesIO()
    im.save(out, 'PNG')
    return Painted(out.getvalue())


def many(data, n, seed, spent):
    "`n` sections, one after the other; `spent` collects the seconds that making them takes."
    from layoutdiff.items import get_items
    rng = random.Random(seed)
    base = [s for s in get_items(data).train if s.layout and s.structure and s.screenshot]
    base = rng.sample(base, min(BASE, len(base)))
    pictures = [[recoloured(s.screenshot, rng) for _ in range(3)] for s in base]
    return _many(base, pictures, n, rng, spent)


def _many(base, pictures, n, rng, spent):
    from layoutdiff.core import Structure
    for i in range(n):
        start = time.thread_time()
        k = i % len(base)
        s, mark = base[k], rng.randrange(10 ** 6)
        word = lambda t: ''.join(rng.choice('aeinorst') if c.isalpha() else c for c in t) if rng.random() < .5 else t
        nodes = [replace(o, text=word(o.text), classes=tuple(f'{c}-{mark % 97}' for c in o.classes)) for o in s.structure]
        out = replace(s, id=f'{s.id}~{i}', group=f'{s.group}~{mark % 1000}', structure=Structure(nodes), screenshot=rng.choice(pictures[k]))
        spent[0] += time.thread_time() - start
        yield out


def write(a, folder):
    from layoutdiff.shards import write_shards
    if folder.exists(): shutil.rmtree(folder)
    spent, peak = [0.], Peak()
    sections, clock = many(a.data, a.n, a.seed, spent), Clock()
    write_shards(sections, folder)
    return dict(**clock.each(a.n, spent[0]), peak_mb=peak.stop(), bytes=sum(p.stat().st_size for p in folder.iterdir()) / a.n)


def index(a, folder):
    "The index again, from the tar files alone."
    from layoutdiff.shards import index_shards
    peak, clock = Peak(), Clock()
    index_shards(folder)
    return dict(**clock.each(a.n), peak_mb=peak.stop())


def load(a, folder):
    "What happens before the first batch: read the index, count for the vocabulary, split by group, plan a pass."
    from layoutdiff.data import Batches, Examples
    from layoutdiff.shards import facts, load_index
    from layoutdiff.data import get_data, split_data
    times, peak = {}, Peak()
    def timed(name, f):
        start = time.thread_time()
        out = f()
        times[name] = time.thread_time() - start
        return out
    timed('index', lambda: load_index(folder))
    items = timed('data', lambda: get_data(folder))
    vocab = timed('facts', lambda: facts(items.train)).vocab
    timed('split', lambda: split_data(items))
    timed('ids', lambda: items.train.ids)
    timed('plan', lambda: Batches(Examples(items.train, vocab), steps=10))
    return dict(total={k: round(v, 4) for k, v in times.items()}, cpu=sum(times.values()) / a.n, peak_mb=peak.stop())


def read(a, folder):
    from layoutdiff.shards import read_shards
    peak, clock = Peak(), Clock()
    n = sum(s.layout is not None for s in read_shards(folder))
    return dict(**clock.each(n), peak_mb=peak.stop(), sections=n)


def batch(a, folder, cache=None):
    "Read, decode, tokenise and pad, in the order of training."
    from layoutdiff.data import Batches, Examples
    from layoutdiff.shards import facts
    from layoutdiff.data import get_data
    items, peak = get_data(folder), Peak()
    batches = Batches(Examples(items.train, facts(items.train).vocab, keep=0, cache=cache), steps=a.steps)
    n, clock = sum(map(len, batches.lists)), Clock()
    for i in range(a.steps): batches[i]
    return dict(**clock.each(n), peak_mb=peak.stop(), sections=n)


def cached(a, folder):
    "The same from a cache folder that is full."
    cache = a.work/'cache'
    batch(a, folder, cache)
    out = batch(a, folder, cache)
    shutil.rmtree(cache)
    return out


def step(a, folder):
    "Train the mini model, batches of 24: how much of a step is spent waiting for data?"
    import torch
    from layoutdiff.callbacks import disturb
    from layoutdiff.tasks import noise_state
    from layoutdiff.data import Batches, Examples
    from layoutdiff.losses import diffusion_loss
    from layoutdiff.model import LayoutDiT, model_config
    from layoutdiff.settings import Settings
    from layoutdiff.shards import facts
    from layoutdiff.data import get_data
    from layoutdiff.learner import BatchLoader
    torch.set_num_threads(1)
    items, peak, s = get_data(folder), Peak(), Settings()
    about = facts(items.train)
    model = LayoutDiT(model_config(about.vocab, 'mini', boxes=about.boxes, pixels=about.pictures))
    opt = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    loader = BatchLoader(Batches(Examples(items.train, about.vocab, keep=0), 24, a.steps, seed=a.seed), a.workers)
    waits, works, start = [], [], time.perf_counter()
    for b, _ in loader:
        now = time.perf_counter()
        waits.append(now - start)
        b = disturb(b, s)
        state = noise_state(b, model.cfg)
        diffusion_loss(model(b, state), state, b).backward()
        opt.step()
        opt.zero_grad()
        start = time.perf_counter()
        works.append(start - now)
    waits, works = waits[10:], works[10:]   # after the start of the processes
    return dict(workers=a.workers, share_waiting=sum(waits) / (sum(waits) + sum(works)), seconds=(sum(waits) + sum(works)) / len(works), wait=sum(waits) / len(waits), peak_mb=peak.stop())


def trained(a, folder):
    "A whole `fit` of 50 steps."
    from layoutdiff.train import fit
    told, peak, start = [], Peak(), time.perf_counter()
    run = fit(folder, a.work/'runs', tell=told.append, steps=50, rounds=2, size='mini', bs=24, seed=a.seed, workers=a.workers)
    row = run.results[-1]
    return dict(workers=a.workers, seconds=time.perf_counter() - start, training_seconds=row['seconds'], steps=int(row['step']), train_loss=row['train_loss'], peak_mb=peak.stop(), told=[t for t in told if 'folder' not in t])


def nothing(a, folder):
    "The libraries alone."
    peak = Peak()
    import layoutdiff.train # noqa
    time.sleep(.5)
    return dict(peak_mb=peak.stop())


def ask(a, phase, n, **more):
    "One measurement in a new process."
    words = [sys.executable, __file__, str(a.data), '--work', a.work, '--seed', a.seed, '--n', n, '--phase', phase, *(x for k, v in more.items() for x in (f'--{k}', v))]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    if done.returncode: sys.exit(done.stderr)
    out = dict(phase=phase, n=n, **{k: float(f'{v:.5g}') if isinstance(v, float) else v for k, v in json.loads(done.stdout.splitlines()[-1]).items()})
    print(out, flush=True)
    return out


def measure(a):
    rows = [ask(a, 'nothing', 0)]
    for n in a.sizes:
        if not (a.work/f's{n}'/'index.json').exists() or not a.again: rows.append(ask(a, 'write', n))
        rows += [ask(a, p, n) for p in ('index', 'load', 'read')]
        rows += batches(a, n)
        rows += [ask(a, 'step', n, workers=w, steps=60) for w in (0, 1)]
    return rows + [ask(a, 'trained', n, workers=w) for n in a.sizes if n >= 10_000 for w in (0, 1)]


def batches(a, n):
    "Three times each, the quickest counts: neighbours on the machine only ever slow it down."
    return [min((ask(a, p, n, steps=150) for _ in range(3)), key=lambda r: r['cpu']) for p in ('batch', 'cached')]


def save(a, rows, commands=()):
    from layoutdiff.run import commit, environment
    command = 'python nbs/results/scale.py ' + shlex.join([{str(a.data): 'DATA', str(a.work): 'WORK'}.get(x, x) for x in sys.argv[1:]])
    machine = dict(cores=len(os.sched_getaffinity(0)), machine=platform.machine(), load=round(os.getloadavg()[2], 1), memory_gb=round(psutil.virtual_memory().total / 2**30))
    out = dict(commands=[*commands, dict(command=command, commit=commit(), load=machine.pop('load'))], seed=a.seed, machine=machine, environment=environment(), rows=rows)
    (HERE/'scale.json').write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--work', type=Path, required=True, help='folder for the shards')
    p.add_argument('--sizes', type=int, nargs='+', default=SIZES)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--again', action='store_true', help='use the shards that are there')
    p.add_argument('--batches', action='store_true', help='measure making batches anew, keep the rest of scale.json')
    p.add_argument('--n', type=int, help=argparse.SUPPRESS)
    p.add_argument('--phase', default='', help=argparse.SUPPRESS)
    p.add_argument('--workers', type=int, default=0, help=argparse.SUPPRESS)
    p.add_argument('--steps', type=int, default=0, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    if a.phase: print(json.dumps(globals()[a.phase](a, a.work/f's{a.n}')))
    elif a.batches:
        old = json.loads((HERE/'scale.json').read_text())
        save(a, [r for r in old['rows'] if r['phase'] not in ('batch', 'cached')] + [r for n in a.sizes for r in batches(a, n)], old['commands'])
    else: save(a, measure(a))


if __name__ == '__main__': main()
