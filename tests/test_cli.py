"The command line, run as a user would: help, exit codes, errors, and the main job on the bundled sample."
import json, os, signal, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
import pytest
from PIL import Image
from layoutdiff import __version__
from layoutdiff.html import loads
from layoutdiff.formats import read_layout
from layoutdiff.listing import SAMPLE
from layoutdiff.items import get_items, read_section
from layoutdiff.manifest import write_items

ROOT = Path(__file__).resolve().parent.parent
VERBS = ('validate', 'phase', 'train', 'evaluate', 'predict', 'workflow', 'capture', 'convert')
TINY = [w for kv in ('steps=20', 'size=tiny', 'members=1', 'image_size=64', 'sample_steps=2') for w in ('--set', kv)]
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore', 'COLUMNS': '100'}
ASK = [sys.executable, '-c', 'import sys; from layoutdiff.cli import main; sys.exit(main())']


def ask(*words, cwd=None, timeout=500):
    "Exit code, stdout, stderr."
    done = subprocess.run([*ASK, *map(str, words)], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def test_help_of_each_verb_is_light_and_whole():
    "All in one process: what any of them loaded would show."
    code = f'''import sys, io, json, contextlib
from layoutdiff.cli import main
out = {{}}
for words in {[['--help'], ['--version'], *([v, '--help'] for v in VERBS)]}:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try: rc = main(words)
        except SystemExit as e: rc = e.code
    out[words[0]] = [rc, said.getvalue(), [m for m in ('torch', 'fastai', 'sklearn', 'matplotlib', 'numpy', 'PIL') if m in sys.modules]]
print(json.dumps(out))'''
    done = subprocess.run([sys.executable, '-c', code], env=ENV, capture_output=True, text=True)
    out = json.loads(done.stdout)
    assert all(rc == 0 and not heavy for rc, _, heavy in out.values()), out
    assert all(f'  {v} ' in out['--help'][1] for v in VERBS) and out['--version'][1] == f'layoutdiff {__version__}\n'
    for option in ('--out', '--phase', '--time', '--seed', '--name', '--set', 'a folder of sections'): assert option in out['train'][1]
    for option in ('--split', '--given', '--steps', '--baselines', '--json'): assert option in out['evaluate'][1]
    assert 'INPUT' in out['predict'][1] and 'default: predictions' in ' '.join(out['predict'][1].split())


@pytest.mark.parametrize('words, said', [
    (['trian', 'sample'], "did you mean 'train'"),
    (['train', 'sample', '--tiem', '10m'], "did you mean '--time'"),
    (['train', 'sample', '--set', 'dropuot=.1'], "did you mean 'dropout'"),
    (['train', 'sample', '--set', 'bs=many'], 'not of type int'),
    (['train', 'sample', '--time', '10'], 'with units'),
    (['train', 'sample', '--seed', 'x'], 'invalid int value'),
    (['train', 'sample', '--repeats', '3'], 'add --kfold 5'),
    (['train', 'sample', '--kfold', '3', '--refit'], 'leave --refit out'),
    (['train'], 'required: DATA'),
    (['train', 'sample', 'more'], 'unrecognized arguments: more'),
    (['evaluate', 'r', 'sample', '--split', 'tets'], "did you mean 'test'"),
    (['evaluate', 'r', 'sample', '--given', 'html'], 'Known: structure, screenshot'),
    (['predict', 'r'], 'required: INPUT')])
def test_wrong_use_is_one_line_and_exit_2(words, said):
    code, out, err = ask(*words)
    assert code == 2 and said in err and err.count('\n') == 1 and not out, (code, out, err)


def test_refit_without_validation_is_refused_before_training(tmp_path):
    one = [replace(s, group='one') for s in get_items('sample').train[:2]]
    code, out, err = ask('train', write_items(one, tmp_path/'data'), '--refit', '--out', tmp_path/'runs', *TINY)
    assert code == 2 and 'leave refit out' in err and not (tmp_path/'runs').exists()


def test_no_verb_shows_the_overview():
    code, out, err = ask()
    assert code == 2 and 'workflow' in out


def test_debug_shows_where():
    code, out, err = ask('train', 'sample', '--time', '10', '--debug')
    assert code == 1 and 'Traceback' in err and 'with units' in err


def test_phase_as_json():
    code, out, err = ask('phase', 'sample', '--json', '--set', 'lr=1e-4')
    found = json.loads(out)
    assert code == 0 and (found['phase'], found['sections']) == ('phase1', {'train': 30, 'val': 10, 'test': 10})
    assert found['settings']['lr'] == 1e-4 and found['settings']['steps'] > 0
    assert '30 training sections' in found['why'] and '**' not in found['why']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cli')
    return folder, ask('train', 'sample', *TINY, '--name', 'try', cwd=folder)


def test_train_says_its_folder_first_and_last(trained):
    folder, (code, out, err) = trained
    assert code == 0, err
    assert out.count('run folder: ') == 2 and out.splitlines()[-1].endswith('try-001')
    assert {'config.yaml', 'env.json', 'results.csv', 'weights'} <= {p.name for p in (folder/'runs'/'try-001').iterdir()}


def test_evaluate_writes_and_prints_scores(trained):
    folder, _ = trained
    code, out, err = ask('evaluate', 'runs/try-001', 'sample', '--baselines', 'majority,rules', '--json', 'scores.json', cwd=folder)
    assert code == 0, err
    scores = json.loads((folder/'scores.json').read_text())
    assert set(scores['baselines']) == {'majority', 'rules'} and scores['n_sections'] == 10 and scores['model']['element_f1'] is not None
    assert out.count('|') > 10 and 'majority' in out


def test_predict_folder_picture_page(trained):
    "One bad input among three good ones: exit 1, and the others are there."
    folder, _ = trained
    example = sorted((SAMPLE/'test').iterdir())[0]
    Image.open(example/'screenshot.png').save(folder/'shot.png')
    (folder/'page.html').write_text('<section class="hero"><h1>Hello</h1><p>World</p></section>')
    code, out, err = ask('predict', 'runs/try-001', example, 'shot.png', 'page.html', 'gone.png', '--out', 'out', cwd=folder)
    assert code == 1 and 'not predicted: gone.png: missing-file' in err and 'Traceback' not in err
    assert sorted(p.name for p in (folder/'out').iterdir()) == sorted([example.name, 'shot', 'page'])
    known = {example.name: read_section(example).structure, 'shot': None, 'page': read_section(folder/'page.html').structure}
    for name, structure in known.items():
        v1, v2 = (read_layout(loads((folder/'out'/name/f).read_bytes()), structure) for f in ('layout.json', 'layout.v2.json'))
        assert v1 == v2 and Image.open(folder/'out'/name/'overlay.png').size[0] > 100
    assert read_section(folder/'out'/'page').notes == []


def test_support_by_number_and_by_folder(trained):
    "Any run may be shown sections; the same ones are scored for 0 and 1 shown."
    folder, _ = trained
    for k in (0, 1):
        code, out, err = ask('evaluate', 'runs/try-001', 'sample', '--baselines', 'none', '--support', k, cwd=folder)
        assert code == 0 and f'2 sections of 2 groups (test), given structure and screenshot, with a support set of labelled sections ({k})' in out, err
    code, out, err = ask('predict', 'runs/try-001', SAMPLE/'test'/'cobalt--hero--1440', '--support', SAMPLE/'val', '--out', 'helped', cwd=folder)
    assert code == 0 and 'of 10; at most 5 are' in out and (folder/'helped'/'cobalt--hero--1440'/'layout.json').is_file(), err


def test_all_bad_or_no_run_is_exit_2(trained):
    folder, _ = trained
    code, _, err = ask('predict', 'runs/try-01', 'shot.png', cwd=folder)
    assert code == 2 and "did you mean 'try-001'" in err and err.count('\n') == 1
    code, _, err = ask('predict', 'runs/try-001', 'ftp://example.com/', cwd=folder)
    assert code == 2 and 'are not opened' in err


@pytest.mark.skipif(os.name == 'nt', reason='signals')
def test_interrupt_keeps_the_run(tmp_path):
    p = subprocess.Popen([*ASK, 'train', 'sample', *TINY, '--set', 'steps=5000'],
                         cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))   # a shell in the background has it ignored
    try:
        while not p.stdout.readline().startswith('run folder'): pass
        time.sleep(1)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=200)
    finally: p.kill()
    assert p.returncode == 130 and 'sample-001 is kept' in err and 'Traceback' not in err
    assert (tmp_path/'runs'/'sample-001'/'config.yaml').is_file()


def test_workflow_says_where_everything_is(tmp_path):
    code, out, err = ask('workflow', 'sample', *TINY, cwd=tmp_path)
    assert code == 0, err
    run = tmp_path/'runs'/'sample-001'
    page = (run/'report.html').read_text()
    assert 'report:   ' in out and str(Path('runs/sample-001/report.html')) in out and 'element F1' in page
    assert page.count('<img') >= 6 and page.count('src="data:image/png;base64,') == page.count('<img')
    assert (run/'metrics.json').is_file() and len(list((run/'predictions').iterdir())) == 4


def test_validate_reads_shards_and_fixes_a_copy(tmp_path):
    "One broken file is one error, exit 1; the repaired copy has none; shards are unpacked and checked alike."
    broken = tmp_path/'data'
    assert ask('convert', 'sample', broken, cwd=tmp_path)[0] == 0
    folder = sorted((broken/'train').iterdir())[0]
    (folder/'example.json').write_text('{"id": ')
    code, out, err = ask('validate', broken, '--json', 'faults.json', '--html', 'faults.html', '--fix', 'fixed', cwd=tmp_path)
    faults = json.loads((tmp_path/'faults.json').read_text())['faults']
    assert code == 1 and [f['code'] for f in faults if f['level'] == 'error'] == ['unreadable-json'] and (tmp_path/'faults.html').is_file()
    assert (tmp_path/'fixed'/'quarantine').is_dir() and ask('validate', tmp_path/'fixed', cwd=tmp_path)[0] == 0
    assert ask('convert', tmp_path/'fixed', 'shards', '--to', 'shards', cwd=tmp_path)[0] == 0
    code, out, err = ask('validate', 'shards', cwd=tmp_path)
    assert code == 0 and '**49 sections' in out
