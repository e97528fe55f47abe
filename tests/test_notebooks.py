"One test for each notebook: `pytest -k 10_schedule` runs one page; `--slow` adds its slow cells."
import re

import pytest
from fill import NBS, ROOT, fresh, notebooks

def run_notebook(path, force, limit):
    from nbdev.test import test_nb
    return test_nb(path, skip_flags=['slow'], force_flags=force, basepath=ROOT, cell_timeout=limit)[0]

@pytest.mark.parametrize('path', notebooks(), ids=lambda p: str(p.relative_to(NBS).with_suffix('')))
def test_notebook(path, request):
    slow = request.config.getoption('--slow')
    limit = 6*3600 if slow else 900
    ok, said = fresh(run_notebook, path, ['slow'] if slow else [], limit, limit=limit + 60)
    cell = re.search(r'While Executing Cell #(\d+)', said)
    where = f'{path.relative_to(ROOT)}' + (f', cell {cell[1]}' if cell else '')
    if not ok: pytest.fail(f'{where}\n{said[-6000:]}', pytrace=False)

def test_there_are_notebooks(): assert len(notebooks()) > 0
