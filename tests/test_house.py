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
MODULES = sorted(LIB.rglob('*.py'))
ids = dict(ids=lambda p: str(p.relative_to(NBS).with_suffix('')) if isinstance(p, Path) else str(p))

def python(code):
    "What `code` prints in a new Python, as JSON."
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

def numbered():
    "`{module: number}` from the notebooks' names and `default_exp`, in order; numbers compare as strings: '06' < '06a' < '07'."
    found = {}
    for p in notebooks():
        if p.parent != NBS or not (n := re.match(r'(\d\d[a-z]?)_', p.name)): continue
        for c in read_nb(p).cells:
            if c.cell_type == 'code' and 'default_exp' in c.directives: found[c.directives['default_exp'].removesuffix('.__init__')] = n[1]
    return dict(sorted(found.items(), key=lambda o: o[1]))

def module(path):
    "layoutdiff/convert/coco.py -> convert.coco, layoutdiff/techniques/__init__.py -> techniques"
    return '.'.join(path.relative_to(LIB).with_suffix('').parts).removesuffix('__init__').removesuffix('.')

def file(name):
    "The file of a module, or None."
    at = LIB.joinpath(*name.split('.'))
    return next((p for p in (at/'__init__.py', at.with_name(f'{at.name}.py')) if p.exists()), None)

def imports(path):
    "Every module that a file imports, wherever in it."
    package = ['layoutdiff', *path.relative_to(LIB).parent.parts]
    for o in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(o, ast.Import): yield from (a.name for a in o.names)
        elif isinstance(o, ast.ImportFrom):
            base = '.'.join(filter(None, [*package[:len(package) - o.level + 1], o.module] if o.level else [o.module]))
            inner = [f'{base}.{a.name}' for a in o.names if base.split('.')[0] == 'layoutdiff' and file('.'.join([*base.split('.')[1:], a.name]))]
            yield from (inner if len(inner) == len(o.names) else [base, *inner])

def own_imports(name):
    "The modules of the package that a module imports."
    return {i.removeprefix('layoutdiff.') for i in imports(file(name)) if i.startswith('layoutdiff.') and file(i.removeprefix('layoutdiff.'))} - {name}

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
    assert not differences(copy('nbdev-export')/'layoutdiff', LIB, '**/*.py'), 'run nbdev-export'

def test_notebooks_are_clean(copy):
    new = copy('nbdev-clean')
    assert not [str(p.relative_to(ROOT)) for p in notebooks() if p.read_bytes() != (new/p.relative_to(ROOT)).read_bytes()], 'run nbdev-clean'

def test_numbers():
    "One module a notebook, one notebook a number."
    number = numbered()
    assert number.get('core') == '00' and len(set(number.values())) == len(number)
    assert not set(number) ^ {module(p) for p in MODULES if module(p) and p.name != '_modidx.py' and (p.name != '__init__.py' or module(p) in number)}

def test_modules_import_lower_numbers():
    "Wherever the import stands, also within a function."
    number = numbered()
    def of(m): return number.get(m) or max(map(of, own_imports(m)), default='')   # a package without a page: the last that it imports
    assert not [f'{m} ({n}) imports {o} ({of(o)})' for m, n in number.items() for o in sorted(own_imports(m)) if not of(o) < n]

def test_no_import_circle():
    graph = {m: own_imports(m) for m in map(module, MODULES) if m and m != '_modidx'}
    def reach(m, seen):
        for o in graph.get(m, ()):
            if o not in seen:
                seen.add(o)
                reach(o, seen)
        return seen
    assert not [m for m in graph if m in reach(m, set())]

def test_00_to_05_load_no_torch():
    "Not even by way of another module."
    light = python(f'''import sys, json, importlib
out = {{}}
for m in {[m for m, n in numbered().items() if n < '06']}:
    importlib.import_module('layoutdiff.' + m)
    out[m] = [o for o in ('torch', 'fastai') if o in sys.modules]
print(json.dumps(out))''')
    assert 'core' in light and not {m: o for m, o in light.items() if o}

def test_10_to_14_import_torch_but_no_fastai():
    tops = {m: {i.split('.')[0] for i in imports(file(m))} for m, n in numbered().items() if '10' <= n < '15'}
    assert 'torch' in tops['model'] and not [m for m, names in tops.items() if 'fastai' in names]

def test_import_is_light():
    assert python('import sys, json, layoutdiff; print(json.dumps([o for o in ("torch", "fastai") if o in sys.modules]))') == []

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
    assert not {p.name: m[1] for p in MODULES for m in banned.finditer(p.read_text(encoding='utf-8'))}
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

@pytest.mark.parametrize('path', [*notebooks(), *MODULES], ids=lambda p: p.name)
def test_no_paths_of_this_machine(path):
    pictures = re.compile(r'"image/(?:png|jpeg|gif)": "[^"]*"')
    mine = re.compile(r'(?<![\w.])(?:/work/\w+|/root/\w+|/home/\w+/\w+|[A-Z]:\\+Users|' + re.escape(f'{ROOT}/') + ')')
    assert not mine.findall(pictures.sub('', path.read_text(encoding='utf-8')))

# ---- how a page reads

DIALECT = re.compile(r'\b(of then|told off|put right|put aside|how_far|draw_back|plant\(|begun with|load_pretrained|apart\(|SCANT|HANDFUL|BEGUN|how-manieth|sureness)\b')
LINES, CELL, RUN = 450, 25, 4   # of a module; of an exported cell; exported cells before a lesson cell

def lines(source): return [l for l in source.splitlines() if l.strip()]

def exported(cell): return cell.cell_type == 'code' and bool(re.match(r'#\|\s*export', cell.source))

def only_imports(source): return all(re.match(r'\s*(from|import)\b|\s*#|\s*$|\s{8,}|\)', l) for l in source.splitlines())

def too_long_runs(cells):
    "Where more than `RUN` exported cells come before a cell that shows something; imports alone do not count."
    run = 0
    for i, c in enumerate(cells):
        if exported(c): run += not only_imports(c.source)
        elif c.cell_type == 'code' and lines(c.source) and not re.match(r'#\|\s*(hide\b|default_exp)', c.source): run = 0
        if exported(c) and run > RUN: yield i

def test_the_rules_find_what_breaks_them():
    "The rules below, on cells that break them."
    from types import SimpleNamespace as cell
    code = lambda s: cell(cell_type='code', source=s)
    export, shown, hidden, names = code('#| export\ndef f(): pass'), code('1 + 1'), code('#| hide\n1'), code('#| export\nfrom a import (b,\n          c)')
    assert list(too_long_runs([export] * 4 + [names])) == [] and list(too_long_runs([export] * 5)) == [4]
    assert list(too_long_runs([export, export, shown, export, export, export])) == [] and list(too_long_runs([*[export] * 3, hidden, export, export])) == [5]
    assert DIALECT.search('as it was begun with it') and not DIALECT.search('it began with it, apart from that')

@pytest.mark.parametrize('path', [p for p in MODULES if p.name != '_modidx.py'], ids=lambda p: module(p) or 'layoutdiff')
def test_modules_are_short(path): assert len(path.read_text(encoding='utf-8').splitlines()) <= LINES

@pytest.mark.parametrize('path', [p for p in notebooks() if any(exported(c) for c in read_nb(p).cells)], **ids)
def test_a_page_teaches_as_it_goes(path):
    "Short cells, and after at most four of them something to see."
    cells = read_nb(path).cells
    long = [f'cell {i}: {len(lines(c.source)) - 1} lines' for i, c in enumerate(cells) if exported(c) and len(lines(c.source)) - 1 > CELL]
    assert long == [] and list(too_long_runs(cells)) == []

@pytest.mark.parametrize('path', notebooks(), **ids)
def test_a_page_begins_with_its_subject(path):
    "`# Title`, then `> one sentence`."
    first = read_nb(path).cells[0]
    assert first.cell_type == 'markdown' and re.match(r'# \S.*\n+> \S', first.source)

@pytest.mark.parametrize('path', notebooks(), **ids)
def test_a_page_is_in_plain_words(path):
    assert not [f'cell {i}: {m[0]}' for i, c in enumerate(read_nb(path).cells) for m in DIALECT.finditer(c.source)]

@pytest.mark.parametrize('path', notebooks(), **ids)
def test_links_between_pages_lead_somewhere(path):
    links = [m[1] for c in read_nb(path).cells if c.cell_type == 'markdown' for m in re.finditer(r'\]\((?!https?:)([^)#\s]+\.(?:ipynb|md|json))', c.source)]
    assert not [l for l in links if not (path.parent/l).exists()]
