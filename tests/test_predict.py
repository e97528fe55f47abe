"What is written reads back: random tables, real sections, and inputs that fail."
import json, os
from dataclasses import replace
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from layoutdiff.core import LayoutError, Node, Section, Structure
from layoutdiff.html import loads, parse_html
from layoutdiff.formats import read_layout
from layoutdiff.items import get_items, read_section
from layoutdiff.slots import SPECIAL, SlotTable, Vocab, decode, layout_faults

torch = pytest.importorskip('torch')
from layoutdiff.ensemble import Ensemble
from layoutdiff.model import LayoutDiT, model_config
from layoutdiff.settings import Settings
from layoutdiff.predict import LayoutPredictor, predict_to, write_layout
from layoutdiff.run import Checkpoint, Run, open_run

SHARED = Path(os.environ.get('LAYOUTDIFF_DATA', Path(__file__).resolve().parents[2]/'shared'/'data'))
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
quiet = lambda line: None


def random_run(folder, sections):
    "A run whose weights are noise: its labels are nonsense of every kind."
    vocab = Vocab.build(sections)
    torch.manual_seed(0)
    model = LayoutDiT(model_config(vocab, 'tiny', image_size=32))
    for layer in (model.label, model.wrap, model.depth): torch.nn.init.normal_(layer.weight, std=.3)
    (folder/'weights').mkdir(parents=True, exist_ok=True)
    Checkpoint(Ensemble([model]), vocab, Settings(sample_steps=1)).save(folder/'weights'/'best.safetensors')
    return Run(folder)


@pytest.fixture(scope='module')
def run(tmp_path_factory): return random_run(tmp_path_factory.mktemp('run'), get_items('sample').train)


def reads_back(layout, structure, folder):
    "Written and read by the public readers, the layout is the same, boxes and confidence too."
    write_layout(layout, structure, folder)
    v1, v2 = (read_layout(loads((folder/f).read_bytes()), structure) for f in ('layout.json', 'layout.v2.json'))
    as_tuple = lambda b: b and tuple(b)
    assert v1 == layout and v2 == layout
    assert [(as_tuple(e.box), e.confidence) for e in v2] == [(as_tuple(e.box), e.confidence) for e in layout]


# ---- random tables

TYPES = ['section', 'column', 'a.b', 'x@y', 'merge$1']
words = st.sampled_from([*SPECIAL, *TYPES])
wraps = st.sampled_from(['none', '+column', '=column', '=a.b+column', '+column=column+x@y', '=merge$1'])
unit = st.floats(0, 1, width=32)
rows = st.tuples(words, wraps, st.none() | st.tuples(unit, unit, unit, unit), st.integers(0, 9), unit)


def table(rows, free=False):
    label, wrap, box, depth, conf = map(list, zip(*rows))
    return SlotTable(label, wrap, box, depth if free else None, (1440, 600.5), conf)


@st.composite
def structures(draw, size=14):
    "Trees in which keys repeat, with names that need escaping."
    nodes, chain = [], []
    for i in range(draw(st.integers(1, size))):
        chain = chain[:draw(st.integers(0, len(chain)))]
        classes = tuple(draw(st.lists(st.sampled_from(['b', 'c.d', "[x]'$1@#%"]), max_size=2)))
        tag, id = draw(st.sampled_from(['div', 'a', 'o:p'])), draw(st.sampled_from(['', 'i']))
        nodes.append(Node(tag, chain[-1] if chain else -1, classes, id))
        chain.append(i)
    return Structure(nodes)


@quick
@given(st.data())
def test_any_table_of_nodes_reads_back(tmp_path, data):
    s = data.draw(structures())
    layout = decode(table(data.draw(st.lists(rows, min_size=len(s), max_size=len(s)))), s)
    assert not layout_faults(layout, s)
    reads_back(layout, s, tmp_path)


@quick
@given(st.lists(rows, min_size=1, max_size=20))
def test_any_table_of_free_slots_reads_back(tmp_path, rows):
    layout = decode(table(rows, free=True))
    reads_back(layout, None, tmp_path)
    assert '@' not in (tmp_path/'layout.json').read_text().replace('%40', '')


# ---- real sections

@pytest.fixture(scope='module')
def wp():
    if not (SHARED/'wp-sections').exists(): pytest.skip('wp-sections is not here')
    return [o for o in get_items(SHARED/'wp-sections').all if o.layout]


def test_true_layouts_of_wp_sections_read_back(wp, tmp_path):
    assert len(wp) == 2103
    for s in wp: reads_back(s.layout, s.structure, tmp_path)


def test_predictions_on_wp_sections_read_back(wp, tmp_path, request):
    "Nonsense predictions, for every eighth section; with --slow for each."
    wp = [replace(s, screenshot=None) for s in wp[::1 if request.config.getoption('--slow') else 8]]
    types = set()
    for s, layout in zip(wp, LayoutPredictor(random_run(tmp_path/'run', wp)).many(wp)):
        assert not layout_faults(layout, s.structure)
        reads_back(layout, s.structure, tmp_path)
        types |= {e.type for e in layout}
    assert len(types) > 3


def test_bundled_sample_all_ways_of_asking(run, tmp_path):
    sections, predictor = get_items('sample').test, LayoutPredictor(run)
    asked = [*sections, *(replace(s, screenshot=None) for s in sections), *(replace(s, structure=None) for s in sections)]
    for s, layout in zip(asked, predictor.many(asked)): reads_back(layout, s.structure, tmp_path)


# ---- inputs and folders

@pytest.fixture
def inputs(tmp_path):
    for name in ('a', 'b'):
        (tmp_path/name).mkdir()
        (tmp_path/name/'page.html').write_text('<section><h1>Hello</h1><p class="w-1.5">x</p><p class="w-1.5">y</p></section>')
    Image.new('RGB', (90, 60), 'white').save(tmp_path/'page.png')
    (tmp_path/'cut.png').write_bytes((tmp_path/'page.png').read_bytes()[:60])
    (tmp_path/'bad.json').write_text('{"structure":')
    return tmp_path


def test_one_bad_input_does_not_stop_the_others(run, inputs):
    names = ['bad.json', 'a/page.html', 'cut.png', 'b/page.html', 'page.png', 'gone', 'ftp://example.com/a.png']
    folders, bad = predict_to(run, [n if '://' in n else inputs/n for n in names], inputs/'out', tell=quiet)
    assert [f.name for f in folders] == ['page', 'page-2', 'page-3']
    assert [Path(p).name for p, _ in bad] == ['bad.json', 'cut.png', 'gone', 'a.png']
    assert all(word in why for word, (_, why) in zip(['line 1', 'unreadable-image', 'missing-file', 'are not opened'], bad))
    assert sorted(p.name for p in (inputs/'out').iterdir()) == ['page', 'page-2', 'page-3']
    files = {'layout.json', 'layout.v2.json', 'overlay.png'}
    assert [{p.name for p in f.iterdir()} - files for f in folders] == [{'structure.json'}, {'structure.json'}, set()]


def test_written_folder_is_an_example_again(run, inputs):
    (folder,), _ = predict_to(run, [inputs/'a'/'page.html'], inputs/'out', tell=quiet)
    back = read_section(folder)
    assert back.structure == parse_html((inputs/'a'/'page.html').read_bytes()) and not back.notes
    assert back.layout == LayoutPredictor(run)(structure=inputs/'a'/'page.html')


def test_truth_is_never_overwritten(run, tmp_path):
    section = get_items('sample').test[0]
    from layoutdiff.items import write_section
    truth = write_section(section, tmp_path/'data'/section.id, version=1)
    before = {p.name: p.read_bytes() for p in truth.iterdir()}
    (folder,), _ = predict_to(run, [truth], tmp_path/'data', tell=quiet)
    assert folder.name == f'{section.id}-2' and {p.name: p.read_bytes() for p in truth.iterdir()} == before


def test_v2_layout_fits_into_an_example(run, tmp_path):
    "The object written is what an example.json of version 2 has under 'layout'."
    section = get_items('sample').test[1]
    (folder,), _ = predict_to(run, [section.path], tmp_path, tell=quiet)
    example = json.loads((section.path/'example.json').read_text())
    layout = json.loads((folder/'layout.v2.json').read_text())
    assert {'type', 'version', 'elements', 'props'} == set(layout) and layout['type'] == 'SectionLayout' and layout['version'] == 2
    (tmp_path/'new').mkdir()
    (tmp_path/'new'/'example.json').write_text(json.dumps({**example, 'layout': layout, 'screenshot': None}))
    back = read_section(tmp_path/'new').layout
    assert back == LayoutPredictor(run).section(section) and all(e.box for e in back)
    assert all(e.confidence is not None for e in back if e.sources)


def test_nothing_given_and_no_base(run):
    with pytest.raises(LayoutError, match='give screenshot='): LayoutPredictor(run)()
    with pytest.raises(LayoutError, match='neither screenshot'): LayoutPredictor(run).section(Section('a'))


# ---- labelled sections of the same site, the support set

@pytest.fixture(scope='module')
def base(): return open_run('base')


@pytest.fixture(scope='module')
def site(): return [s for s in get_items('sample').test if s.group == 'lumen']


def confidence(layout): return [e.confidence for e in layout]


def test_a_folder_of_examples_is_a_support_set(base, site, tmp_path):
    "The folder and the sections in it give the same answers, others than none; the layouts of what is asked are not looked at."
    from layoutdiff.items import write_section
    *examples, asked = site
    for s in examples: write_section(s, tmp_path/'site'/s.id)
    lines, out = [], {}
    for name, support in dict(folder=tmp_path/'site', text=str(tmp_path/'site'), list=examples, none=None).items():
        out[name] = LayoutPredictor(base, support=support, tell=lines.append).section(asked)
    assert confidence(out['folder']) == confidence(out['text']) == confidence(out['list']) != confidence(out['none'])
    assert all(s.id in lines[0] for s in examples) and len(lines) == 3
    (folder,), _ = predict_to(base, [asked], tmp_path/'out', tell=lines.append, support=tmp_path/'site')
    assert read_layout(loads((folder/'layout.v2.json').read_bytes()), asked.structure) == out['folder']


def test_a_support_set_has_limits_and_says_so(base):
    train, lines = get_items('sample').train, []
    big = replace(train[0], id='big', structure=Structure([*train[0].structure.nodes, *[Node('p', 0)] * 400]))
    odd = replace(train[1], layout=type(train[1].layout)([replace(e, type='hologram') for e in train[1].layout]))
    support = LayoutPredictor(base, support=[big, *train[2:9]], tell=lines.append).support
    assert len(support) == 5 and 'big' not in {s.id for s in support.sections} and 'of 8' in lines[0] and 'up to 400 nodes each' in lines[0]
    again = LayoutPredictor(base, support=[*train[8:1:-1], big], tell=quiet).support
    assert [s.id for s in again.sections] == [s.id for s in support.sections]
    lines.clear()
    LayoutPredictor(base, support=[odd], tell=lines.append).section(train[3])
    assert any('hologram' in l for l in lines) and any('two or more' in l for l in lines)


def test_a_support_set_is_not_for_an_input_without_html(site, tmp_path):
    from layoutdiff.train import fit
    run = fit('sample', tmp_path/'runs', size='tiny', members=1, steps=60, sample_steps=1, image_size=64, tell=quiet)
    s, lines = site[0], []
    by_eye = replace(s, structure=None)
    helped, alone = LayoutPredictor(run, support=site[1:4], tell=quiet), LayoutPredictor(run)
    assert confidence(helped.section(by_eye)) == pytest.approx(confidence(alone.section(by_eye)), abs=1e-3)
    both = helped.many([by_eye, s])
    assert confidence(both[1]) == pytest.approx(confidence(helped.section(s)), abs=1e-3)
    predict_to(helped, [by_eye], tmp_path/'out', tell=lines.append)
    assert any('support set was not used' in line for line in lines)


def test_an_empty_support_set(base, tmp_path):
    train = get_items('sample').train
    with pytest.raises(LayoutError, match='none of 2 sections can be used as support'): LayoutPredictor(base, support=[replace(s, layout=None) for s in train[:2]])
    with pytest.raises(LayoutError, match='missing-file'): LayoutPredictor(base, support=tmp_path/'gone')


def test_the_picture_comes_after_every_layout(run, inputs, monkeypatch):
    "A drawing that fails takes its folder along, and no other."
    import layoutdiff.draw
    def overlay(section, layout, path, threshold):
        assert len([p for p in (inputs/'out').rglob('layout.json')]) >= (2 if path.parent.name == 'page' else 1)
        if path.parent.name == 'page': raise OSError('no room')
        path.write_bytes(b'')
    monkeypatch.setattr(layoutdiff.draw, 'overlay', overlay)
    folders, bad = predict_to(run, [inputs/'a'/'page.html', inputs/'b'/'page.html'], inputs/'out', tell=quiet)
    assert [f.name for f in folders] == ['page-2'] and 'no room' in bad[0][1]
    assert [p.name for p in (inputs/'out').iterdir()] == ['page-2']
