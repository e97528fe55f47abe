import os
import sys
from pathlib import Path
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
os.environ.update({k: '1' for k in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')})   # workers share the cores

# CI installs every extra and a browser. A test that is skipped for want of one fails there, wherever the skip stands.
MUST = 'playwright', 'Chromium', 'pyarrow', 'lightgbm'

def must_run(report):
    "In CI, a skip for want of an extra becomes a failure; so does any skip of a capture test."
    why = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ''
    if os.environ.get('LAYOUTDIFF_CI') and why and ('test_capture' in report.nodeid or any(o in why for o in MUST)):
        report.outcome, report.longrepr = 'failed', f'{report.nodeid} was skipped, and CI must run it. {why}'
    return report

@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector): return must_run((yield))

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call): return must_run((yield))

def pytest_addoption(parser): parser.addoption('--slow', action='store_true', help='also run the cells marked `#| slow`')

# The same examples each time, so that a red run is the change's doing; `--hypothesis-profile search` looks for new ones.
settings.register_profile('house', deadline=None, max_examples=60, derandomize=True)
settings.register_profile('search', deadline=None, max_examples=60)
settings.load_profile('house')
