"A stranger changes a part: the examples of nbs/howto/extend.ipynb, applied to a copy of the package and run."
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastcore.nbio import read_nb

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/'nbs'/'howto'/'extend.ipynb'


def examples():
    "`{heading: [(kind, text of a fence), ...]}` of the page."
    text = '\n'.join(c.source for c in read_nb(PAGE).cells if c.cell_type == 'markdown')
    return {h: re.findall(r'^```(\w+)\n(.*?)^```', body, re.M | re.S) for h, body in re.findall(r'^## (.+?)\n(.*?)(?=^## |\Z)', text, re.M | re.S)}


def edit(root, text):
    "Apply a diff whose first line is the file; the lines around it must be there once. Returns how many lines were added and removed."
    name, *lines = text.splitlines()
    old, new = ('\n'.join(l[1:] for l in lines if l[0] in kinds) for kinds in (' -', ' +'))
    source = (root/name).read_text(encoding='utf-8')
    assert source.count(old) == 1, f'{name}: found {source.count(old)} times:\n{old}'
    (root/name).write_text(source.replace(old, new), encoding='utf-8')
    return sum(l[0] == '+' for l in lines), sum(l[0] == '-' for l in lines)


@pytest.mark.parametrize('what', examples())
def test_one_file_and_one_row(what, tmp_path):
    shutil.copytree(ROOT/'layoutdiff', tmp_path/'layoutdiff', ignore=shutil.ignore_patterns('__pycache__'))
    trial, = (text for kind, text in examples()[what] if text.startswith('# try it'))
    def run(folder):
        (tmp_path/folder).mkdir()
        env = {**os.environ, 'PYTHONPATH': str(tmp_path), 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
        return subprocess.run([sys.executable, '-c', trial], cwd=tmp_path/folder, env=env, capture_output=True, text=True)
    before = run('before')
    files, rows = [], []
    for kind, text in examples()[what]:
        first, rest = text.split('\n', 1)
        if kind == 'diff': rows.append(edit(tmp_path, text))
        elif text != trial:
            files.append(tmp_path/first.removeprefix('# ').strip())
            assert not files[-1].exists()
            files[-1].write_text(rest, encoding='utf-8')
    assert len(files) <= 1 and len(rows) <= 1 and files + rows and all(added == 1 and removed <= 1 for added, removed in rows)
    after = run('after')
    assert before.returncode and 'assert' in trial and not after.returncode, after.stderr


def test_every_kind_of_change_has_an_example():
    assert set(examples()) == {'A technique', 'A loss', 'A task', 'A metric', 'A format'}
