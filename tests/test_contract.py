"What users of 0.1 rely on (tests/golden, written by the code of 0.1): it may gain, never lose."
import importlib.util
import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN, ROOT = Path(__file__).parent/'golden', Path(__file__).resolve().parent.parent
KEPT = {p.stem: json.loads(p.read_text(encoding='utf-8')) for p in GOLDEN.glob('*.json')}
RENAMED = {'rounds': 'epochs', 'halves': 'interpolate'}            # settings: 0.1 -> now
GONE = {'varied', 'p_support', 'memory', 'support'}                # they did not pay: nbs/results/LOG.md
spec = importlib.util.spec_from_file_location('make', GOLDEN/'make.py')
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    "The subprocesses run this checkout, not an installed one."
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


def lost(old, found):
    "Keys of 0.1 that are there no more, under that name or the one they have now."
    now = lambda k: '/'.join([*k.split('/')[:-1], RENAMED.get(k.split('/')[-1], k.split('/')[-1])])
    return [k for k in old if k.split('/')[-1] not in GONE and not {k, now(k)} & set(found)]


# ---- the command line

def test_verbs_arguments_and_options_stay():
    found = make.options()
    for verb, old in KEPT['options'].items():
        assert found[verb]['arguments'] == old['arguments'], verb
        assert {k: found[verb]['options'].get(k) for k in old['options']} == old['options'], verb


@pytest.mark.skipif(sys.version_info >= (3, 13), reason='argparse of 3.13 sets help in another way')
def test_help_texts(monkeypatch):
    "Word for word. After a change on purpose: COLUMNS=80 python tests/golden/make.py tests/golden help"
    monkeypatch.setenv('COLUMNS', '80')
    assert make.helps() == KEPT['help']


@pytest.fixture(scope='module')
def keys():
    os.environ['PYTHONPATH'] = str(ROOT)
    return make.keys()


@pytest.mark.parametrize('what', ['validate', 'fault', 'phase', 'metrics'])
def test_json_keys(keys, what): assert not lost(KEPT['keys'][what], keys[what])


def test_fault_codes():
    found = make.codes()
    assert {k: found.get(k) for k in KEPT['codes']} == KEPT['codes']


# ---- runs

@pytest.fixture(scope='module')
def run():
    os.environ['PYTHONPATH'] = str(ROOT)
    return make.run()


@pytest.mark.parametrize('what', ['names', 'meta', 'vocab', 'config'])
def test_run_folder_and_weights(run, what): assert not lost(KEPT['run'][what], run[what])


def old_run(name, folder):
    "A run of 0.1, unpacked."
    shutil.copytree(GOLDEN/'0.1'/name, folder/name)
    packed = folder/name/'weights'/'best.safetensors.xz'
    packed.with_suffix('').write_bytes(lzma.decompress(packed.read_bytes()))
    return folder/name


@pytest.mark.parametrize('name, steps', [('one', 1), ('two', 1), ('eye', 4)])
def test_runs_of_0_1_answer_as_then(tmp_path, name, steps):
    "With trees, with members, from a picture alone; their settings and model fields are of 0.1, some of them gone by now."
    from layoutdiff.core import Section
    from layoutdiff.items import get_items
    from layoutdiff.predict import LayoutPredictor
    asked = get_items('sample').test[:3]
    if name == 'eye': asked = [Section(s.id, screenshot=s.screenshot) for s in asked]
    layouts = LayoutPredictor(old_run(name, tmp_path), steps).many(asked)
    assert [[[e.type, list(e.sources), e.parent] for e in l] for l in layouts] == json.loads((GOLDEN/'0.1'/'answers.json').read_text())[name][str(steps)]


def test_a_run_of_0_1_goes_on(tmp_path):
    "It is scored, and training begins with its weights."
    path = old_run('one', tmp_path)
    make.shell('evaluate', path, 'sample', '--baselines', 'none', '--steps', 1, '--json', tmp_path/'scores.json')
    assert json.loads((tmp_path/'scores.json').read_text())['model']['n_sections'] == 10
    out = make.shell('train', 'sample', '--init', path, '--out', tmp_path/'runs', '--set', 'steps=2', '--set', 'members=1', '--set', 'trees=0', '--name', 'next')
    assert 'next-001' in out


@pytest.mark.parametrize('steps', ['1', '8'])
def test_the_base_answers_as_before(steps):
    "All fifty sections of the sample; one may differ, on a processor that rounds otherwise; two at 8 steps, where 0.1 averaged the answers of all steps."
    from layoutdiff.items import get_items
    from layoutdiff.predict import LayoutPredictor
    sections = get_items('sample').all
    found = {s.id: [[e.type, list(e.sources), e.parent] for e in l] for s, l in zip(sections, LayoutPredictor('base', int(steps)).many(sections))}
    kept = KEPT['base'][steps]
    assert set(found) == set(kept) and len(kept) == 50
    assert len([i for i in kept if found[i] != kept[i]]) <= {'1': 1, '8': 3}[steps]


# ---- imports

NAMES = '''
layoutdiff.items: read_section, get_items, split_items
layoutdiff.slots: Vocab, encode, decode
layoutdiff.check: validate
layoutdiff.metrics: alignment, overlap, max_iou, doc_sim, element_scores, tree_similarity
layoutdiff.losses: VarianceAwareLossScheduler
layoutdiff.phases: PHASES, phase_for
layoutdiff.train: fit
layoutdiff.predict: LayoutPredictor
'''.strip().splitlines()

@pytest.mark.parametrize('line', NAMES)
def test_names_that_others_import(line):
    module, names = line.split(': ')
    code = f'from {module} import {names}'
    done = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_how_the_names_are_used():
    from layoutdiff.check import validate
    from layoutdiff.items import get_items, read_section, split_items
    from layoutdiff.phases import phase_for
    from layoutdiff.slots import Vocab, decode, encode
    items = get_items('sample')
    section = read_section(items.test[0].path)
    vocab = Vocab.build(items.train)
    assert decode(encode(section, vocab), section.structure) == section.layout
    assert sum(map(len, (lambda o: (o.train, o.val, o.test))(split_items(items.all, (.8, .1, .1), seed=0)))) == 50
    assert phase_for(35).name == 'phase1'
    fault = validate('sample').faults[0]
    assert all(hasattr(fault, k) for k in ('code', 'path', 'found', 'allowed', 'fix'))
