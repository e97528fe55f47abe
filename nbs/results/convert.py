"""Convert the foreign datasets of shared/data, and a hundred sections of wp-sections there and back; write nbs/results/convert.json.

    python nbs/results/convert.py ../shared/data --out ../measure/converted

The converted folders stay in --out, which must not hold them yet. About two minutes on one core.
"""
import argparse
import csv
import json
import resource
import shlex
import sys
import tempfile
from collections import Counter
from pathlib import Path

from layoutdiff.convert import FORMATS, convert
from layoutdiff.convert.core import Conversion
from layoutdiff.convert.pix2code import format_gui
from layoutdiff.convert.rico import format_rico
from layoutdiff.items import read_section, write_section
from layoutdiff.slots import element_boxes

HERE = Path(__file__).parent


def sections(path, format='folder'): return FORMATS[format].read(Path(path), Conversion())


def said(log):
    "What a conversion reports, for JSON."
    return dict(source=log.source, to=log.to, sections=len(log), splits=dict(log.counts), lost=dict(log.reasons), aside=len(log.aside),
                reasons_aside=dict(Counter(why.split(':')[0] for _, why in log.aside)), put_right=len(log.notes))


def foreign(data, out, name):
    "One dataset to folders, and what its sections are made of."
    out.mkdir(parents=True, exist_ok=True)
    log = convert(data/name, out/name.removesuffix('-web'))
    types, sizes, groups = Counter(), [], set()
    for _, s in sections(log.path):
        types.update(e.type for e in s.layout)
        sizes.append(len(s.layout))
        groups.add(s.group)
    return dict(said(log), elements=sum(sizes), largest=max(sizes), groups=len(groups), types=dict(types.most_common()))


def same_gui(data, out):
    "How many .gui files come back word for word from the folders."
    texts = {p.stem: p.read_text().split() for p in (data/'pix2code-web'/'samples').glob('*.gui')}
    return sum(format_gui(s.layout).split() == texts[s.id] for _, s in sections(out/'pix2code'))


def same_rico(data, out):
    "How many lines come back letter for letter from the folders."
    lines = {f'{p.stem}-{n:05}': line.strip() for p in (data/'rico25').glob('*.txt') for n, line in enumerate(p.open(), 1)}
    return sum(format_rico(s) == lines[s.id] for _, s in sections(out/'rico25'))


def there_and_back(data, formats, n=100):
    "The first n of wp-sections in each format, read back and compared part by part."
    out = {}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        for split in ('train', 'val', 'test'):
            for p in sorted((data/'wp-sections'/split).iterdir())[:n * 6 // 10 if split == 'train' else n * 2 // 10]:
                write_section(read_section(p), tmp/'wp'/split/p.name)
        truth = {s.id: (split, s) for split, s in sections(tmp/'wp')}
        for to in formats:
            log = convert(tmp/'wp', tmp/to, to=to, tell=lambda line: None)
            same, n_back = Counter(), 0
            for split, s in sections(tmp/to, to):     # one at a time: some readers keep a picture no longer
                n_back += 1
                if s.id in truth: same.update(k for k, v in alike(truth[s.id], (split, s)).items() if v)
            out[to] = dict(said(log), read_back=n_back, same=dict(same))
    return out


def alike(a, b):
    "Which parts of two sections agree."
    (split, s), (split_b, t) = a, b
    nodes = [(n.tag, n.classes, n.id, n.hints, n.text, n.parent) for n in s.structure or ()]
    boxes = element_boxes(s.layout, s.structure) if s.layout else []
    return {'split': split == split_b, 'group': s.group == t.group, 'size': s.size == t.size,
            'screenshot': bool(s.screenshot) and bool(t.screenshot) and s.screenshot.exists() and t.screenshot.exists()
                          and s.screenshot.read_bytes() == t.screenshot.read_bytes(),
            'nodes': nodes == [(n.tag, n.classes, n.id, n.hints, n.text, n.parent) for n in t.structure or ()],
            'layout': s.layout == t.layout, 'types and tree': [(e.type, e.parent) for e in s.layout or ()] == [(e.type, e.parent) for e in t.layout or ()],
            'element boxes': boxes == (element_boxes(t.layout, t.structure) if t.layout else [])}


def main():
    p = argparse.ArgumentParser()
    p.add_argument('data', type=Path)
    p.add_argument('--out', type=Path, required=True)
    a = p.parse_args()
    csv.field_size_limit(32_000_000)
    out = {'command': 'python ' + shlex.join(['nbs/results/convert.py', *sys.argv[1:]])}
    out['foreign'] = {name: foreign(a.data, a.out, name) for name in ('pix2code-web', 'rico25', 'screen-annotation')}
    out['peak_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024   # before libraries for tables are loaded
    out['word_for_word'] = {'pix2code-web': same_gui(a.data, a.out), 'rico25': same_rico(a.data, a.out)}
    out['there_and_back'] = there_and_back(a.data, [k for k, f in FORMATS.items() if f.write])
    out['commit'] = commit()
    (HERE/'convert.json').write_text(json.dumps(out, indent=1) + '\n')


def commit():
    from layoutdiff.run import commit as of   # loads torch, so only at the end
    return of()


if __name__ == '__main__': main()
