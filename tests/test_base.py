"The bundled base, and ensembles."
import os
from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip('torch')
from layoutdiff.core import LayoutError
from layoutdiff.items import Items, get_items
from layoutdiff.predict import LayoutPredictor, predict_to
from layoutdiff.run import BASE, open_run
from layoutdiff.slots import layout_faults
from layoutdiff.train import fit

WP = Path(os.environ.get('LAYOUTDIFF_DATA', Path(__file__).resolve().parents[2]/'shared'/'data'))/'wp-sections'
PAGE = '<section class="hero"><div class="inner"><h1>Hello</h1><p>One page, two lines of text.</p><a class="btn" href="#">Start</a></div></section>'
quiet = lambda line: None
quick = dict(steps=6, size='tiny', drop_pixels=1, p_free=0, tell=quiet)


@pytest.fixture(scope='module')
def items(): return get_items('sample')


def test_the_base_is_small_and_knows_what_it_learned():
    assert sum(p.stat().st_size for p in BASE.rglob('*') if p.is_file()) < 20e6
    run = open_run('base')
    assert {'section', 'heading', 'button', 'image'} <= set(run.checkpoint.vocab.types)
    assert not {str(Path.home()), '/work'} & set(str(run.config).split("'")) and run.config['data'] == 'wp-sections'


@pytest.mark.skipif(not WP.exists(), reason='wp-sections is not here')
def test_the_base_has_not_seen_the_test_themes():
    run, data = open_run('base'), get_items(WP)
    learned = set(run.checkpoint.meta['groups'])
    assert learned and not learned & {s.group for s in data.test} and set(run.config['splits']['train']) == {s.id for s in data.train}


def test_the_base_reads_a_page_without_training(tmp_path):
    (tmp_path/'page.html').write_text(PAGE)
    predictor = LayoutPredictor('base')
    layout = predictor(structure=PAGE)
    assert {'section', 'heading', 'paragraph', 'button'} <= {e.type for e in layout} and not layout_faults(layout, range(9))
    folders, bad = predict_to('base', [tmp_path/'page.html'], tmp_path/'out', tell=quiet)
    assert not bad and (folders[0]/'layout.json').is_file()


def test_the_base_says_that_it_reads_no_pictures(tmp_path):
    Image.new('RGB', (90, 60), 'white').save(tmp_path/'page.png')
    folders, bad = predict_to('base', [tmp_path/'page.png'], tmp_path/'out', tell=quiet)
    assert not folders and 'never seen pictures' in bad[0][1]


def test_a_run_is_fine_tuned_from_the_base(items, tmp_path):
    run = fit(Items(train=items.train[:4], val=items.val[:2], split_given=True), tmp_path, init='base', members=1, **quick)
    known = open_run('base').checkpoint.vocab.types
    assert open_run('base').checkpoint.model.trees is None   # what trees know of one builder misleads in another
    assert run.checkpoint.vocab.types[:len(known)] == known and run.checkpoint.model.cfg.d == open_run('base').checkpoint.model.cfg.d


def test_members_are_trained_alone_and_answer_as_one(items, tmp_path):
    data = Items(train=items.train[:5], val=items.val[:2], split_given=True)
    alone, both = (fit(data, tmp_path, members=n, **quick) for n in (1, 2))
    members = lambda run: getattr(run.checkpoint.model, 'members', [run.checkpoint.model])
    assert [len(members(run)) for run in (alone, both)] == [1, 2] and both.checkpoint.settings.members == 2
    (first, second), (only,) = ([m.state_dict() for m in members(run)] for run in (both, alone))
    assert all(torch.equal(v, only[k]) for k, v in first.items())
    assert any(not torch.equal(v, second[k]) for k, v in first.items())
    assert sorted(p.name for p in (both.path/'weights').iterdir()) == ['best.safetensors', 'last.safetensors']
    assert (both.path/'results.csv').is_file() and (both.path/'results-2.csv').is_file()
