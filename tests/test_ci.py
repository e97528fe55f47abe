"What CI promises: extras and a browser are there, so nothing that needs them is skipped."
import os, subprocess, sys
import pytest
from conftest import ROOT


@pytest.mark.parametrize('ci', ['', '1'])
def test_a_capture_test_that_is_skipped_fails_in_ci_alone(ci, tmp_path):
    env = {**os.environ, 'LAYOUTDIFF_CHROMIUM': str(tmp_path/'none'), 'LAYOUTDIFF_CI': ci}
    words = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/test_capture.py', '-k', 'test_semantic_page']
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    end = done.stdout.splitlines()[-1]
    assert (done.returncode, '1 error' in end, '1 skipped' in end) == (int(ci or 0), bool(ci), not ci), done.stdout
    assert ('CI must run it' in done.stdout) == bool(ci)
