"""What users of 0.1 rely on, written down.  In a checkout of 7a74f31: PYTHONPATH=. COLUMNS=80 python make.py OUT

tests/test_contract.py compares: what is here may gain, never lose. A help text that changes on purpose is written anew by `python make.py OUT help`."""
import json, os, subprocess, sys, tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', COLUMNS='80')

def shell(*words):
    "Run the command line; its stdout."
    done = subprocess.run([sys.executable, '-c', 'import sys; from layoutdiff.cli import main; sys.exit(main())', *map(str, words)], capture_output=True, text=True)
    assert done.returncode < 2, done.stderr
    return done.stdout

def helps():
    from layoutdiff import cli
    return {v: cli.parser(v).format_help() for v in cli.VERBS}

def options():
    "Of each verb: its arguments in order, and its options with their defaults."
    from layoutdiff import cli
    out = {}
    for v in cli.VERBS:
        acts = [a for a in cli.parser(v)._actions if a.dest != 'help']
        out[v] = dict(arguments=[a.dest for a in acts if not a.option_strings], options={a.option_strings[-1]: a.default for a in acts if a.option_strings})
    return out

def paths(d, at=''): # every key of nested dicts
    for k, v in d.items():
        yield f'{at}{k}'
        if isinstance(v, dict) and 'ci95' not in k: yield from paths(v, f'{at}{k}/')

def keys():
    "Keys of what the verbs write for programs."
    with tempfile.TemporaryDirectory() as d:
        shell('validate', 'sample', '--json', f := f'{d}/faults.json')
        shell('evaluate', 'base', 'sample', '--baselines', 'majority,rules', '--steps', 1, '--json', g := f'{d}/scores.json')
        faults = json.loads(Path(f).read_text())
        return dict(validate=sorted(faults), fault=sorted(faults['faults'][0]), phase=sorted(paths(json.loads(shell('phase', 'sample', '--json')))),
                    metrics=sorted(paths(json.loads(Path(g).read_text()))))

def base():
    "Answers of the bundled weights on the sample: type, nodes and parent of each element."
    import torch
    torch.set_num_threads(1)
    from layoutdiff.items import get_items
    from layoutdiff.predict import LayoutPredictor
    sections = get_items('sample').all
    return {str(n): {s.id: [[e.type, list(e.sources), e.parent] for e in l] for s, l in zip(sections, LayoutPredictor('base', n).many(sections))} for n in (1, 8)}

def codes():
    try: from layoutdiff.faults import CODES
    except ImportError: from layoutdiff.check import CODES   # 0.1
    return {k: c.level for k, c in CODES.items()}

def run():
    "Names in a run folder, and of what a weights file tells of itself."
    from safetensors import safe_open
    with tempfile.TemporaryDirectory() as d:
        shell('train', 'sample', '--out', d, '--name', 'a', *(w for kv in ('steps=6', 'size=tiny', 'members=1', 'sample_steps=1') for w in ('--set', kv)))
        folder = Path(d)/'a-001'
        with safe_open(folder/'weights'/'best.safetensors', 'pt') as f: meta = {k: json.loads(v) for k, v in f.metadata().items()}
        return dict(names=sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()), meta=sorted(meta), vocab=sorted(meta['vocab']), config=sorted(meta['config']))

PARTS = dict(help=helps, options=options, keys=keys, base=base, codes=codes, run=run)
if __name__ == '__main__':
    for name in sys.argv[2:] or PARTS:
        (Path(sys.argv[1])/f'{name}.json').write_text(json.dumps(PARTS[name](), indent=None if name == 'base' else 1) + '\n')
        print(name)
