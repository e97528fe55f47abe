"""How long `validate` takes and what it holds: 1,000 to 10,000 sections made by repeating and perturbing wp-sections; write nbs/results/check_speed.json.

    python nbs/results/check_speed.py ../shared/data/wp-sections --sizes 1000 3000 10000

Every copy has other words and its own group; the pictures are hard links where the disk allows. Some minutes.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ONE = '''
import json, os, resource, sys, threading, time
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


def build(source, root, n, rng):
    "`n` sections: each example with other words and a group of its own for each round."
    examples, made = [p for split in ('train', 'val', 'test') for p in sorted((source/split).iterdir())], 0
    shots = root.parent/'shots'
    if not shots.is_dir():
        for p in examples:
            (shots/p.parent.name/p.name).mkdir(parents=True)
            shutil.copyfile(p/'screenshot.png', shots/p.parent.name/p.name/'screenshot.png')
    for k in range(-(-n // len(examples))):
        for p in examples[:n - made]:
            d = json.loads((p/'example.json').read_text(encoding='utf-8'))
            d.update(id=f"{d['id']}-{k}", group=f"{d.get('group', d['id'])}-{k}")
            for node in d['structure']['nodes']:
                if node.get('text'): node['text'] = ' '.join(f'{w[:2]}{rng.randrange(10**6)}' for w in node['text'].split())
            to = root/p.parent.name/f'{p.name}-{k}'
            to.mkdir(parents=True)
            (to/'example.json').write_text(json.dumps(d), encoding='utf-8')
            link(shots/p.parent.name/p.name/'screenshot.png', to/'screenshot.png')
            made += 1


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--sizes', type=int, nargs='+', default=[1000, 3000, 10000])
    p.add_argument('--workers', type=int, default=2)
    p.add_argument('--out', type=Path, default=HERE/'check_speed.json')
    a = p.parse_args()
    rows = []
    for n in a.sizes:
        with tempfile.TemporaryDirectory() as tmp:
            build(a.data, Path(tmp)/'data', n, random.Random(0))
            said = subprocess.run([sys.executable, '-c', ONE, str(Path(tmp)/'data'), str(a.workers)], capture_output=True, text=True, check=True)
            rows.append(json.loads(said.stdout))
            print(rows[-1], 'load', os.getloadavg()[0], flush=True)
    from layoutdiff.run import commit
    out = dict(command=f"python nbs/results/check_speed.py DATA --sizes {' '.join(map(str, a.sizes))} --workers {a.workers}", seed=0, commit=commit(), workers=a.workers, rows=rows)
    a.out.write_text(json.dumps(out, indent=1) + '\n')
