"""What shards cost at 1K, 10K and 100K sections: time per section, peak memory, and the share of a training step spent waiting for data.

Sections of DATA are repeated with other texts, class names and colours. Every cell runs in a process of its own, so that its peak memory is its own.
About an hour and 3 GB of disk for 100,000 sections; shards that are already written are used again.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

SIZES, BASE = (1_000, 10_000, 100_000), 300


class Peak(threading.Thread):
    "Samples the memory of this process and its children: what each holds alone, and its part of what they share (PSS)."
    def __init__(self):
        import psutil   # only here: no other plan needs it
        super().__init__(daemon=True)
        self.mb, self.on, self.me, self.gone = 0., True, psutil.Process(), psutil.Error
        self.start()
    def run(self):
        while self.on:
            total = 0
            for p in [self.me, *self.me.children(recursive=True)]:
                try: total += p.memory_full_info().pss
                except self.gone: pass
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
    from layoutdiff.data import get_data, split_data
    times, peak = {}, Peak()
    def timed(name, f):
        start = time.thread_time()
        out = f()
        times[name] = time.thread_time() - start
        return out
    timed('index', lambda: load_index(folder))
    items = timed('data', lambda: get_data(folder))
    vocab = timed('facts', lambda: items.train.facts()).vocab
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
    from layoutdiff.data import get_data
    items, peak = get_data(folder), Peak()
    batches = Batches(Examples(items.train, items.train.facts().vocab, keep=0, cache=cache), steps=a.steps)
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
    from layoutdiff.tasks import corrupt
    from layoutdiff.data import Batches, Examples
    from layoutdiff.losses import diffusion_loss
    from layoutdiff.model import LayoutDiT, model_config
    from layoutdiff.settings import Settings
    from layoutdiff.data import get_data
    from layoutdiff.learner import BatchLoader
    torch.set_num_threads(1)
    items, peak, s = get_data(folder), Peak(), Settings()
    about = items.train.facts()
    model = LayoutDiT(model_config(about.vocab, 'mini', boxes=about.boxes, pixels=about.pictures))
    opt = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    loader = BatchLoader(Batches(Examples(items.train, about.vocab, keep=0), 24, a.steps, seed=a.seed), a.workers)
    waits, works, start = [], [], time.perf_counter()
    for b, _ in loader:
        now = time.perf_counter()
        waits.append(now - start)
        b, state = model.noised(corrupt(b, s))
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
    run = fit(folder, a.work/'runs', tell=told.append, steps=50, epochs=2, size='mini', bs=24, seed=a.seed, workers=a.workers)
    row = run.results[-1]
    return dict(workers=a.workers, seconds=time.perf_counter() - start, training_seconds=row['seconds'], steps=int(row['step']), train_loss=row['train_loss'], peak_mb=peak.stop(), told=[t for t in told if 'folder' not in t])


def nothing(a, folder):
    "The libraries alone."
    peak = Peak()
    import layoutdiff.train # noqa
    time.sleep(.5)
    return dict(peak_mb=peak.stop())


PHASES = 'write', 'index', 'load', 'read', 'batch', 'cached', 'step', 'trained'
def cells(bench): return [dict(phase='nothing', n=0, workers=0)] + [dict(phase=p, n=n, workers=w) for n in SIZES for p in PHASES for w in ((0, 1) if p in ('step', 'trained') else (0,)) if p != 'trained' or n >= 10_000]


def measure(bench, phase, n, workers):
    "One measurement in a new process; batches three times, since neighbours on the machine only ever slow it down."
    words = [sys.executable, __file__, bench.data[0], '--work', bench.runs/'scale', '--seed', bench.seeds[0], '--n', n, '--phase', phase, '--workers', workers, '--steps', 60 if phase == 'step' else 150]
    def ask():
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
        if done.returncode: sys.exit(done.stderr)
        return {k: float(f'{v:.5g}') if isinstance(v, float) else v for k, v in json.loads(done.stdout.splitlines()[-1]).items()}
    return min((ask() for _ in range(3 if phase in ('batch', 'cached') else 1)), key=lambda r: r.get('cpu', 0))


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    for name, kind in dict(work=Path, seed=int, n=int, phase=str, workers=int, steps=int).items(): p.add_argument(f'--{name}', type=kind)
    p.add_argument('data')
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    print(json.dumps(globals()[a.phase](a, a.work/f's{a.n}')))
else:
    from run import plan
    plan('scale', 'what shards cost at 1K, 10K and 100K sections', cells=cells)(measure)
