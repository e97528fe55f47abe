"The rules of the house: what the notebooks, the modules and the README must hold between them."
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from fastcore.nbio import read_nb
from fill import NBS, ROOT, notebooks

LIB = ROOT/'layoutdiff'
ids = dict(ids=lambda p: str(p.relative_to(NBS).with_suffix('')) if isinstance(p, Path) else str(p))

def python(code):
    "What `code` prints in a new Python, as JSON."
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

def numbered():
    "`{module: number}` from the notebooks' names and `default_exp`."
    found = {}
    for p in notebooks():
        for c in read_nb(p).cells:
            if c.cell_type == 'code' and 'default_exp' in c.directives and p.name[:2].isdigit(): found[c.directives['default_exp']] = int(p.name[:2])
    return dict(sorted(found.items(), key=lambda o: o[1]))

def imports(path):
    "Every module that a file imports, wherever in it."
    for o in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(o, ast.Import): yield from (a.name for a in o.names)
        elif isinstance(o, ast.ImportFrom):
            base = '.'.join(filter(None, ['layoutdiff' if o.level else '', o.module]))
            yield from ([base] if o.module else [f'{base}.{a.name}' for a in o.names])

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The notebooks alone, in a project of their own where they may be exported and cleaned."
    new = tmp_path_factory.mktemp('house')
    for name in ('pyproject.toml', 'settings.ini'): shutil.copy(ROOT/name, new)
    for p in [*notebooks(), LIB/'__init__.py']:
        (new/p.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, new/p.relative_to(ROOT))
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}            # nbdev exports nothing where IN_TEST is set
    def run(command):
        done = subprocess.run([Path(sys.executable).parent/command], cwd=new, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return new
    return run

def differences(new, old, glob):
    "Files that are not the same in both folders."
    names = {p.relative_to(d) for d in (new, old) for p in d.glob(glob)}
    return sorted(str(n) for n in names if not ((new/n).exists() and (old/n).exists() and (new/n).read_bytes() == (old/n).read_bytes()))

def test_exported_code_equals_notebooks(copy):
    assert not differences(copy('nbdev-export')/'layoutdiff', LIB, '*.py'), 'run nbdev-export'

def test_notebooks_are_clean(copy):
    new = copy('nbdev-clean')
    assert not [str(p.relative_to(ROOT)) for p in notebooks() if p.read_bytes() != (new/p.relative_to(ROOT)).read_bytes()], 'run nbdev-clean'

def test_modules_import_lower_numbers():
    number = numbered()
    assert number.get('core') == 0
    wrong = [f'{m} ({n}) imports {o} ({number.get(o)})' for m, n in number.items() for i in imports(LIB/f'{m}.py')
             if i.startswith('layoutdiff.') and (LIB/f"{(o := i.split('.')[1])}.py").exists() and not number.get(o, 99) < n]
    assert not wrong

def test_00_to_05_load_no_torch():
    "Not even by way of another module."
    light = python(f'''import sys, json, importlib
out = {{}}
for m in {[m for m, n in numbered().items() if n <= 5]}:
    importlib.import_module('layoutdiff.' + m)
    out[m] = [o for o in ('torch', 'fastai') if o in sys.modules]
print(json.dumps(out))''')
    assert 'core' in light and not {m: o for m, o in light.items() if o}

def test_10_to_14_import_torch_but_no_fastai():
    tops = {m: {i.split('.')[0] for i in imports(LIB/f'{m}.py')} for m, n in numbered().items() if 10 <= n <= 14}
    assert 'torch' in tops['model'] and not [m for m, names in tops.items() if 'fastai' in names]

def test_import_is_light():
    assert python('import sys, json, layoutdiff; print(json.dumps([o for o in ("torch", "fastai") if o in sys.modules]))') == []

@pytest.mark.skipif(not (LIB/'cli.py').exists(), reason='layoutdiff/cli.py does not exist yet')
def test_help_is_light():
    code = '''import sys, json, io, contextlib
sys.argv, said = ['layoutdiff', '--help'], io.StringIO()
from layoutdiff.cli import main
with contextlib.redirect_stdout(said):
    try: rc = main()
    except SystemExit as e: rc = e.code
print(json.dumps([rc or 0, said.getvalue(), [o for o in ("torch", "fastai") if o in sys.modules]]))'''
    rc, said, loaded = python(code)
    assert rc == 0 and 'train' in said and not loaded

def test_no_torchvision():
    banned = re.compile(r'^\s*(?:import|from)\s+(torchvision|fastai\.vision)', re.M)
    assert not {p.name: m[1] for p in LIB.glob('*.py') for m in banned.finditer(p.read_text(encoding='utf-8'))}
    assert not {p.name: m[1] for p in notebooks() for c in read_nb(p).cells if c.cell_type == 'code' for m in banned.finditer(c.source)}

def test_version_stands_the_same_twice():
    import layoutdiff
    settings = ConfigParser(delimiters=['='])
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    assert settings['DEFAULT']['version'] == layoutdiff.__version__

def test_wheel_carries_the_whole_package(tmp_path):
    "The modules, the bundled sample, the licence."
    for name in ('settings.ini', 'pyproject.toml', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md'): shutil.copy(ROOT/name, tmp_path)
    shutil.copytree(LIB, tmp_path/'layoutdiff', ignore=shutil.ignore_patterns('__pycache__', '.*'))
    done = subprocess.run([sys.executable, '-c', 'from setuptools.build_meta import build_wheel; build_wheel("dist")'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shipped = set(zipfile.ZipFile(next((tmp_path/'dist').glob('*.whl'))).namelist())
    ours = {str(p.relative_to(tmp_path)) for p in (tmp_path/'layoutdiff').rglob('*') if p.is_file()}
    assert ours <= shipped and any(o.endswith('LICENSE') for o in shipped)

def test_readme_is_the_index():
    from build import readme
    assert [name for name, raw in readme().items() if not (ROOT/name).exists() or (ROOT/name).read_bytes() != raw] == [], 'run python docs/build.py --readme'

def outputs(path): return [(i, o) for i, c in enumerate(read_nb(path).cells, 1) for o in c.get('outputs', [])]

@pytest.mark.parametrize('path', notebooks(), **ids)
def test_outputs_are_fit_to_keep(path):
    "No error, no picture over 60 KB (80,000 characters in base64)."
    errors = [f'cell {i}' for i, o in outputs(path) if o.output_type == 'error']
    large = [f'cell {i}: {k}, {len("".join(v))*3//4//1024} KB' for i, o in outputs(path) for k, v in o.get('data', {}).items()
             if k.startswith('image/') and len(''.join(v))*3//4 > 60*1024]
    assert not errors + large

@pytest.mark.parametrize('path', [*notebooks(), *sorted(LIB.glob('*.py'))], ids=lambda p: p.name)
def test_no_paths_of_this_machine(path):
    pictures = re.compile(r'"image/(?:png|jpeg|gif)": "[^"]*"')
    mine = re.compile(r'(?<![\w.])(?:/work/\w+|/root/\w+|/home/\w+/\w+|[A-Z]:\\+Users|' + re.escape(f'{ROOT}/') + ')')
    assert not mine.findall(pictures.sub('', path.read_text(encoding='utf-8')))
