"Converters, the check of datasets, and how long it takes. No training."
import csv
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import plant
from run import plan

from layoutdiff.check import validate
from layoutdiff.convert import FORMATS, convert
from layoutdiff.convert.core import Conversion
from layoutdiff.convert.pix2code import format_gui
from layoutdiff.convert.rico import format_rico
from layoutdiff.items import read_section, write_section
from layoutdiff.slots import element_boxes

FOREIGN = {'pix2code-web': dict(source='pix2code', splits='original'), 'rico25': dict(source='rico'), 'screen-annotation': dict(source='screen-annotation')}
quiet = lambda line: None


@plan('faults', 'planted faults that `validate` finds', (), cells=lambda b: [dict(fault=name) for name in plant.PLANTS])
def faults(bench, fault, clean={}):
    if not clean: clean.update(plant.clean_counts({p[1] for p in plant.PLANTS.values()}))
    return plant.score(fault, 20, bench.seeds[0], clean)[0]


@plan('validate', 'what `validate` finds in five folders of real data', ('SHARED',), cells=lambda b: [dict(name=n) for n in ('sections30', 'wp-sections', *FOREIGN)],
      gather=lambda cells, found: dict(rows={c['name']: f for c, f in zip(cells, found)}))
def findings(bench, name):
    with tempfile.TemporaryDirectory() as d:
        path = Path(bench.data[0])/name
        if name in FOREIGN: path = convert(path, Path(d)/name, tell=quiet, **FOREIGN[name]).path
        report = validate(path)
    first = {f.code: f'{f.path}: {f.found}'[:200] for f in reversed(report.faults)}
    return dict(sections=report.sections, exit_code=report.exit_code, counts=Counter(f.code for f in report.faults), levels=Counter(f.level for f in report.faults), first=first)


# ---------- converters
def read(path, format='folder'): return FORMATS[format].read(Path(path), Conversion())
def reported(log):
    "What a conversion reports, for JSON; the keys are those of 0.1."
    return dict(source=log.source, to=log.to, sections=len(log), splits=dict(log.counts), lost=dict(log.reasons), aside=len(log.aside),
                reasons_aside=dict(Counter(why.split(':')[0] for _, why in log.aside)), put_right=len(log.notes))


def foreign(bench, name):
    "One dataset to folders: what its sections are made of, and how many files come back letter for letter."
    csv.field_size_limit(32_000_000)
    data, out = Path(bench.data[0]), bench.runs/'converted'/name.removesuffix('-web')
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    log = convert(data/name, out, tell=quiet)
    types, sizes, groups, same = Counter(), [], set(), 0
    known = {p.stem: p.read_text().split() for p in (data/name/'samples').glob('*.gui')} | {f'{p.stem}-{n:05}': line.strip() for p in (data/name).glob('*.txt') for n, line in enumerate(p.open(), 1)}
    again = {'pix2code-web': lambda s: format_gui(s.layout).split(), 'rico25': format_rico}.get(name, lambda s: None)
    for _, s in read(log.path):
        types.update(e.type for e in s.layout)
        sizes.append(len(s.layout))
        groups.add(s.group)
        same += s.id in known and again(s) == known[s.id]
    return dict(reported(log), elements=sum(sizes), largest=max(sizes), groups=len(groups), types=dict(types.most_common()), word_for_word=same, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def there_and_back(bench, to, n=100):
    "The first n of wp-sections in a format, read back and compared part by part."
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        for split in ('train', 'val', 'test'):
            for p in sorted((Path(bench.data[0])/'wp-sections'/split).iterdir())[:n * 6 // 10 if split == 'train' else n * 2 // 10]:
                write_section(read_section(p), tmp/'wp'/split/p.name)
        truth = {s.id: (split, s) for split, s in read(tmp/'wp')}
        log, same, back = convert(tmp/'wp', tmp/to, to=to, tell=quiet), Counter(), 0
        for split, s in read(tmp/to, to):     # one at a time: some readers keep a picture no longer
            back += 1
            if s.id in truth: same.update(k for k, v in alike(truth[s.id], (split, s)).items() if v)
    return dict(reported(log), read_back=back, same=dict(same))


def alike(a, b):
    "Which parts of two sections agree."
    (split, s), (split_b, t) = a, b
    nodes = lambda s: [(n.tag, n.classes, n.id, n.hints, n.text, n.parent) for n in s.structure or ()]
    boxes = lambda s: element_boxes(s.layout, s.structure) if s.layout else []
    tree = lambda s: [(e.type, e.parent) for e in s.layout or ()]
    shots = [s.screenshot, t.screenshot]
    return {'split': split == split_b, 'group': s.group == t.group, 'size': s.size == t.size, 'nodes': nodes(s) == nodes(t), 'layout': s.layout == t.layout,
            'screenshot': all(p and p.exists() for p in shots) and shots[0].read_bytes() == shots[1].read_bytes(), 'types and tree': tree(s) == tree(t), 'element boxes': boxes(s) == boxes(t)}


@plan('convert', 'foreign datasets to folders, and wp-sections to every format and back', ('SHARED',),
      cells=lambda b: [dict(foreign=n) for n in FOREIGN] + [dict(to=k) for k, f in FORMATS.items() if f.write],
      gather=lambda cells, found: {k: {c[key]: f for c, f in zip(cells, found) if key in c} for k, key in (('foreign', 'foreign'), ('there_and_back', 'to'))})
def converted(bench, **cell): return foreign(bench, cell['foreign']) if 'foreign' in cell else there_and_back(bench, cell['to'])


# ---------- how long the check takes
ONE = '''
import json, resource, sys, time
from layoutdiff.check import validate
t = time.time()
r = validate(sys.argv[1], workers=int(sys.argv[2]))
cpu = [resource.getrusage(k) for k in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps(dict(seconds=round(time.time() - t, 1), cpu_seconds=round(sum(u.ru_utime + u.ru_stime for u in cpu), 1),
                      peak_mb=round(cpu[0].ru_maxrss / 1024), worker_peak_mb=round(cpu[1].ru_maxrss / 1024), sections=r.sections, counts=dict(r.counts))))
'''

def link(a, b):
    try: os.link(a, b)
    except OSError: shutil.copyfile(a, b)


def many(source, root, n, rng):
    "`n` sections: each example with other words and a group of its own for each copy; pictures are hard links."
    examples, made = [p for split in ('train', 'val', 'test') for p in sorted((source/split).iterdir())], 0
    for k in range(-(-n // len(examples))):
        for p in examples[:n - made]:
            d = json.loads((p/'example.json').read_text(encoding='utf-8'))
            d.update(id=f"{d['id']}-{k}", group=f"{d.get('group', d['id'])}-{k}")
            for node in d['structure']['nodes']:
                if node.get('text'): node['text'] = ' '.join(f'{w[:2]}{rng.randrange(10**6)}' for w in node['text'].split())
            to = root/p.parent.name/f'{p.name}-{k}'
            to.mkdir(parents=True)
            (to/'example.json').write_text(json.dumps(d), encoding='utf-8')
            link(p/'screenshot.png', to/'screenshot.png')
            made += 1


@plan('check_speed', 'how long `validate` takes and what it holds', cells=lambda b: [dict(n=n, workers=2) for n in (1000, 3000, 10000)])
def check_speed(bench, n, workers):
    with tempfile.TemporaryDirectory() as tmp:
        many(Path(bench.data[0]), Path(tmp)/'data', n, random.Random(bench.seeds[0]))
        done = subprocess.run([sys.executable, '-c', ONE, str(Path(tmp)/'data'), str(workers)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
