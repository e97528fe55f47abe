import os
import sys
from pathlib import Path
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
os.environ.update({k: '1' for k in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')})   # workers share the cores

def pytest_addoption(parser): parser.addoption('--slow', action='store_true', help='also run the cells marked `#| slow`')

# The same examples each time, so that a red run is the change's doing; `--hypothesis-profile search` looks for new ones.
settings.register_profile('house', deadline=None, max_examples=60, derandomize=True)
settings.register_profile('search', deadline=None, max_examples=60)
settings.load_profile('house')
