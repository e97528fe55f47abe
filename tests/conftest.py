import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
os.environ.update({k: '1' for k in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')})   # workers share the cores

def pytest_addoption(parser): parser.addoption('--slow', action='store_true', help='also run the cells marked `#| slow`')
