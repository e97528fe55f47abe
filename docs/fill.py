"""python docs/fill.py [NAME...]: run notebooks and store their outputs.

NAME is part of a notebook's path under nbs/ (`10_schedule`, `tutorials`); without one, all of them. Cells marked `#| slow` or `#| eval: false`
keep the outputs they have. What differs from run to run (progress bars, warnings, paths of this machine) is not stored: a second run changes no byte."""
import os
import re
import signal
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
LIGHT = dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', MPLBACKEND='module://matplotlib_inline.backend_inline', NO_COLOR='1')

def notebooks():
    "Every notebook, the numbered ones first."
    found = [p for p in NBS.rglob('*.ipynb') if not any(o[0] in '._' for o in p.relative_to(NBS).parts)]
    return sorted(found, key=lambda p: (len(p.relative_to(NBS).parts), p.relative_to(NBS)))

def fresh(f, *args, limit):
    "Run `f(*args)` in a new process that starts with torch and fastai loaded: `(true answer?, what it printed)`."
    ctx = get_context('forkserver')
    ctx.set_forkserver_preload(['torch', 'fastai.basics', 'matplotlib.pyplot', 'nbdev.test'])
    with tempfile.NamedTemporaryFile() as log:
        p = ctx.Process(target=_child, args=(log.name, f, args))
        p.start()
        p.join(limit)
        late = p.exitcode is None
        if late: os.killpg(p.pid, signal.SIGKILL)
        p.join()
        said = Path(log.name).read_text(errors='replace')
    if late: said += f'\nstopped after {limit:.0f} seconds'
    elif p.exitcode not in (0, 1): said += f'\nthe process ended with exit code {p.exitcode}'
    return p.exitcode == 0, said

def _child(log, f, args):
    os.setsid()
    fd = os.open(log, os.O_WRONLY | os.O_APPEND)
    for o in (1, 2): os.dup2(fd, o)
    sys.exit(0 if f(*args) else 1)

def fill(path):
    "Run one notebook and write its outputs back, cleaned; false, with the traceback on stderr, where a cell fails."
    from execnb.shell import CaptureShell
    from fastcore.nbio import nb2dict, nb2str, write_nb
    from nbdev.clean import clean_nb
    from nbdev.process import NBProcessor
    from nbdev.test import _skip_cell
    path, before = Path(path), Path(path).read_text(encoding='utf-8')
    sys.path.insert(0, str(ROOT))
    nb = NBProcessor(path, rm_directives=False, process=True).nb
    skip = _skip_cell(nb, ['slow'])
    ran = [c for c in nb.cells if not skip(c)]
    shell = CaptureShell(path, mpl_format='png')
    os.chdir(path.parent)
    try: shell.run_all(nb, exc_stop=True, preproc=skip)
    except Exception:
        sys.stderr.write(shell.prettytb(fname=path.relative_to(ROOT)))
        return False
    for c in ran: c.outputs = [o for o in map(quiet, c.outputs) if o]
    nb = nb2dict(nb)
    clean_nb(nb)
    if nb2str(nb) != before: write_nb(nb, path)
    return True

def quiet(out):
    "An output without what differs from run to run; None where nothing is left."
    if out.output_type == 'stream':
        out.text = _quiet_text(out.text)
        return out if out.name == 'stdout' and out.text else None
    data = out.get('data', {})
    for k in data:
        if k.startswith('text/'): data[k] = _quiet_text(data[k])
    return None if re.search('<progress|progress-bar', ''.join(data.get('text/html', ''))) else out

def _quiet_text(text):
    text = ''.join(o for o in ''.join(text).splitlines(True) if not re.search(r'\r(?!\n)|\d%\|[█#▏▎▍▌▋▊▉ ]', o))
    text = re.sub(re.escape(tempfile.gettempdir()) + r'/tmp\w+', '/tmp/folder', text)
    text = re.sub(re.escape(str(ROOT)) + r'(/|\b)', '', text)
    return text.replace(str(Path.home()), '~').splitlines(True)

def main(names):
    todo = [p for p in notebooks() if not names or any(n in str(p.relative_to(NBS)) for n in names)]
    if not todo: sys.exit(f"No notebook has {' or '.join(names)} in its name. Known: {', '.join(p.stem for p in notebooks())}")
    os.environ.update(LIGHT)
    for p in todo:
        old = p.read_bytes()
        ok, said = fresh(fill, p, limit=3600)
        if not ok: sys.exit(f'{p.relative_to(ROOT)} failed; it is left as it was, and so are those after it.\n{said}')
        print(f"{p.relative_to(ROOT)}: {'as before' if p.read_bytes() == old else 'filled'}", flush=True)

if __name__ == '__main__': main(sys.argv[1:])
