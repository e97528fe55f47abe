"What each command loads: nothing that it does not need."
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'}
VERBS = ('validate', 'phase', 'train', 'evaluate', 'predict', 'workflow', 'capture', 'convert')
EXAMPLE = ROOT/'layoutdiff'/'sample'/'test'/'cobalt--faq--1440'


def loaded(words, names, cwd):
    "Which of `names` are loaded when a command ends, and at each line it prints; its exit code."
    code = f'''import sys, json, builtins
from layoutdiff.cli import main
lines, plain = [], builtins.print
def watched(*args, **kwargs):
    lines.append([' '.join(map(str, args)), [m for m in {list(names)!r} if m in sys.modules]])
builtins.print = watched
try: rc = main({[str(w) for w in words]!r})
except SystemExit as e: rc = e.code or 0
plain(json.dumps(dict(rc=rc, lines=lines, end=[m for m in {list(names)!r} if m in sys.modules])))'''
    done = subprocess.run([sys.executable, '-c', code], cwd=cwd, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('what', ['folder', 'page', 'support'])
def test_predict_loads_only_what_it_needs(tmp_path, what):
    "Neither for a folder, nor a page, nor with a support set."
    page = tmp_path/'page.html'
    page.write_text('<section><h1>Hello</h1><p>World</p></section>')
    words = ['predict', 'base', page if what == 'page' else EXAMPLE, '--out', tmp_path/'out', *(['--support', EXAMPLE.parents[1]/'val'] if what == 'support' else [])]
    out = loaded(words, ('torch', 'fastai', 'sklearn', 'scipy', 'pandas', 'matplotlib.pyplot', 'playwright', 'IPython', 'layoutdiff.capture'), tmp_path)
    assert out['rc'] == 0 and out['end'] == ['torch'], out


def test_the_layout_is_written_before_matplotlib_is_loaded(tmp_path):
    out = loaded(['predict', 'base', EXAMPLE, '--out', tmp_path/'out'], ('matplotlib',), tmp_path)
    first, then = out['lines'][0]
    assert 'elements' in first and not then and out['end'] == ['matplotlib']
    assert (tmp_path/'out'/EXAMPLE.name/'overlay.png').is_file()


@pytest.mark.parametrize('verb', VERBS)
def test_help_of_each_verb_loads_nothing_heavy(verb, tmp_path):
    out = loaded([verb, '--help'], ('torch', 'fastai', 'sklearn', 'scipy', 'matplotlib', 'numpy', 'PIL'), tmp_path)
    assert out['rc'] == 0 and not out['end']


def test_cold_start(tmp_path):
    "From the shell to the layout, beside `import torch`: the best of three each, so that other work on the machine counts little."
    def seconds(code, *words):
        start = time.perf_counter()
        p = subprocess.Popen([sys.executable, '-u', '-c', code, *words], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        first = time.perf_counter() - start
        p.communicate()
        assert p.returncode == 0
        return first
    torch = lambda: seconds('import torch; print(1)')
    predict = lambda: seconds('import sys; from layoutdiff.cli import main; sys.exit(main())', 'predict', 'base', str(EXAMPLE))
    torch()
    times = [(torch(), predict()) for _ in range(3)]
    assert min(b for _, b in times) < 1.8 * min(a for a, _ in times), times
