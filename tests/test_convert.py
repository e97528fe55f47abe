"Conversion: there and back in every format, foreign and broken files, and the real data where it is present."
import json, os, random, re, shutil, sys
from pathlib import Path
from types import ModuleType
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from layoutdiff.convert.formats import FORMATS, detect
from layoutdiff.convert import convert
from layoutdiff.convert.coco import write_coco
from layoutdiff.convert.core import Conversion, held, write_folder
from layoutdiff.items import file_name, id_of
from layoutdiff.convert.pix2code import format_gui, parse_gui
from layoutdiff.convert.rico import PHONE, format_rico, parse_rico, parse_screen
from layoutdiff.convert.wordpress import parse_blocks
from layoutdiff.core import Element, Layout, LayoutError, Section
from layoutdiff.listing import SAMPLE
from layoutdiff.items import get_items
from layoutdiff.slots import element_boxes

DATA = Path(os.environ.get('LAYOUTDIFF_DATA', Path(__file__).parents[2]/'shared'/'data'))
quick = settings(max_examples=100, deadline=None)


def quiet(line): pass


def content(split, s):
    "What of a section must come back."
    return dict(split=split, group=s.group, size=s.size, screenshot=s.screenshot and s.screenshot.read_bytes(), structure=s.structure,
                layout=s.layout and s.layout.key(), tree=s.layout and [(e.type, e.parent) for e in s.layout],
                nodes=s.structure and [n.box for n in s.structure], boxes=s.layout and element_boxes(s.layout, s.structure))


def read(path, format=''):
    log = Conversion()
    return {s.id: content(split, s) for split, s in FORMATS[format or detect(path)].read(Path(path), log)}, log


@pytest.fixture(scope='module')
def truth(): return read(SAMPLE)[0]


def need(to):
    if to in ('hf', 'parquet'): pytest.importorskip('pyarrow')
    if to == 'shards': pytest.importorskip('layoutdiff.shards')


# There and back

@pytest.mark.parametrize('to', ['folder', 'manifest', 'coco', 'hf', 'parquet', 'shards'])
def test_lossless(to, tmp_path, truth):
    need(to)
    log = convert('sample', tmp_path/'new', to=to, tell=quiet)
    back, again = read(tmp_path/'new')
    assert detect(tmp_path/'new') == to and back == truth
    assert len(log) == 50 and not log.lost and not log.aside and not again.aside
    assert [p.name for p in tmp_path.iterdir()] == ['new']


def test_nested_keeps_all_but_boxes(tmp_path, truth):
    log = convert('sample', tmp_path/'new', to='nested', tell=quiet)
    back, _ = read(tmp_path/'new', 'nested')
    for id, t in truth.items():
        assert all(back[id][k] == t[k] for k in ('split', 'layout', 'tree', 'screenshot'))
        assert not any(back[id]['nodes'])
    assert log.reasons['boxes of nodes'] == 50 and not log.reasons['trees of elements']


def test_pix2code_there_and_back(tmp_path, truth):
    log = convert('sample', tmp_path/'new', to='pix2code', tell=quiet)
    back, _ = read(tmp_path/'new')
    assert all(back[id][k] == t[k] for id, t in truth.items() for k in ('split', 'tree', 'screenshot')) and len(back) == 50
    assert log.reasons['HTML structures'] == 50


def test_rico_there_and_back(tmp_path, truth):
    convert('sample', tmp_path/'new', to='rico', tell=quiet)
    assert sorted(p.name for p in (tmp_path/'new').iterdir()) == ['test.txt', 'train.txt', 'valid.txt']
    convert(tmp_path/'new', tmp_path/'folders', tell=quiet)
    convert(tmp_path/'folders', tmp_path/'rico', to='rico', tell=quiet)
    for p in (tmp_path/'new').iterdir(): assert p.read_bytes() == (tmp_path/'rico'/p.name).read_bytes()
    lines = [l for p in ('train', 'valid', 'test') for l in (tmp_path/'new'/f'{p}.txt').read_text().splitlines()]
    for line, t in zip(lines, truth.values()): assert [part.split()[0] for part in line.split(' | ')] == [k for k, _ in t['tree']]


@pytest.mark.parametrize('to', [k for k, f in FORMATS.items() if f.write])
def test_same_bytes_twice(to, tmp_path):
    need(to)
    for name in 'ab': convert('sample', tmp_path/name, to=to, tell=quiet)
    files = [p.relative_to(tmp_path/'a') for p in sorted((tmp_path/'a').rglob('*')) if p.is_file()]
    assert files and all((tmp_path/'a'/p).read_bytes() == (tmp_path/'b'/p).read_bytes() for p in files)


hostile = ['../../escape', 'a/b', 'train', '', '.hidden', '__x', 'con.', 'x' * 200, 'é' * 150, 'a:b', 'a b ', '%2e', 'A', 'a']


@pytest.mark.parametrize('to', ['folder', 'manifest', 'coco', 'pix2code', 'parquet', 'shards', 'nested'])
def test_hostile_ids(to, tmp_path):
    need(to)
    Image.new('RGB', (8, 8)).save(tmp_path/'p.png')
    made = Layout([Element('section', (), -1, (0, 0, 8, 8))])
    write_folder([('train', Section(i, screenshot=tmp_path/'p.png', size=(8, 8), layout=made)) for i in hostile], tmp_path/'in', log := Conversion())
    assert len(log) == len(hostile) and len(list((tmp_path/'in'/'train').iterdir())) == len(hostile)
    log = convert(tmp_path/'in', tmp_path/'out', to=to, tell=quiet)
    assert len(log) == len(hostile) and len(read(tmp_path/'out', to)[0]) == len(hostile)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in', 'out', 'p.png']


@quick
@given(st.text(max_size=200))
def test_file_name_is_harmless(id):
    name = file_name(id)
    assert name and len(name.encode()) <= 120 and not set(name) & set('/\\:*?"<>|\0\n') and not name.startswith('.') and name == name.strip()
    if len(name.encode()) < 100 and id: assert id_of(name) == id    # a longer one may be cut


def test_ids_that_occur_twice(tmp_path):
    (tmp_path/'rico').mkdir()
    for name in ('train', 'test'): (tmp_path/'rico'/f'{name}.gui').write_text('row { text }')
    for split in ('train', 'val'):
        write_folder([(split, Section('same', layout=parse_gui('row { text }')))], tmp_path/'in', Conversion())
    log = convert(tmp_path/'in', tmp_path/'out', tell=quiet)
    assert sorted(read(tmp_path/'out')[0]) == ['same', 'same~2'] and 'duplicate-id' in log.notes[0][1]


# A format of a stranger

LINES = """
from layoutdiff.convert.core import Format, find_files
from layoutdiff.core import Element, Layout, Section

def read(src, log):
    for split, path in find_files(src, '.types'): yield split, Section(path.stem, layout=Layout(map(Element, path.read_text().split())))

def write(pairs, dst, log):
    for split, s in pairs:
        with log.guard(split, s): (dst/f'{s.id}.types').write_text(' '.join(e.type for e in s.layout))

ROWS = {'lines': Format('types in a line', read, write, frozenset({'id'}), lambda p: p.suffix == '.types')}
"""


def test_a_format_is_one_new_file_and_one_word_in_the_table(tmp_path, monkeypatch, truth):
    import layoutdiff.convert as package
    (tmp_path/'more').mkdir()
    (tmp_path/'more'/'lines.py').write_text(LINES)
    monkeypatch.setattr(package, '__path__', [*package.__path__, str(tmp_path/'more')])
    source = Path(sys.modules['layoutdiff.convert.formats'].__file__).read_text()
    table, n = re.subn(r"(?m)^(MODULES = .*?)(\s+#.*)$", r"\1, 'lines'\2", source)
    new = ModuleType('layoutdiff.convert.formats_and_one')
    new.__package__ = 'layoutdiff.convert'
    exec(compile(table, 'formats.py', 'exec'), new.__dict__)
    log = new.convert('sample', tmp_path/'out', to='lines', tell=quiet)
    assert n == 1 and list(new.FORMATS) == [*FORMATS, 'lines'] and '| `lines` |' in new.formats_table()
    assert len(log) == 50 and log.reasons['HTML structures'] == 50 and new.detect(tmp_path/'out') == 'lines'
    back = {s.id: [e.type for e in s.layout] for _, s in new.FORMATS['lines'].read(tmp_path/'out', Conversion())}
    assert back == {id: [k for k, _ in t['tree']] for id, t in truth.items()}


# What is refused

def test_places_and_names(tmp_path):
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'mine.txt').write_text('mine')
    (tmp_path/'file').write_text('x')
    (tmp_path/'empty').mkdir()
    for dst in ('full', 'file'):
        with pytest.raises(LayoutError, match='nothing is overwritten'): convert('sample', tmp_path/dst, tell=quiet)
    with pytest.raises(LayoutError, match='there is no format'): convert('sample', tmp_path/'x', source='cocoa')
    with pytest.raises(LayoutError, match='can be read, not written'): convert('sample', tmp_path/'x', to='screen-annotation')
    with pytest.raises(LayoutError, match='missing-file'): convert(tmp_path/'nothing', tmp_path/'x')
    with pytest.raises(LayoutError, match='for pix2code'): convert('sample', tmp_path/'x', splits='original')
    with pytest.raises(LayoutError, match='a folder outside'): convert(SAMPLE, SAMPLE/'x')
    with pytest.raises(LayoutError, match='--from'): convert(tmp_path/'file', tmp_path/'x')
    assert (tmp_path/'full'/'mine.txt').read_text() == 'mine' and not (tmp_path/'x').exists()
    assert len(convert('sample', tmp_path/'empty', tell=quiet)) == 50


def test_a_stopped_conversion_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args): raise KeyboardInterrupt
    monkeypatch.setattr('layoutdiff.convert.core.write_section', stop)
    with pytest.raises(KeyboardInterrupt): convert('sample', tmp_path/'out', tell=quiet)
    assert not list(tmp_path.iterdir())


def test_missing_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    for to in ('hf', 'parquet'):
        with pytest.raises(LayoutError, match=r"pip install 'layoutdiff\[hf\]'"): convert('sample', tmp_path/'out', to=to, tell=quiet)
    assert not list(tmp_path.iterdir())


def test_what_one_section_cannot_does_not_stop_the_others(tmp_path):
    good, bad = Layout([Element('text', (), -1, (0, 0, 9, 9))]), Layout([Element('two words', (), -1, (0, 0, 9, 9))])
    write_folder([('', Section('a', size=(9, 9), layout=good)), ('', Section('b', size=(9, 9), layout=bad)), ('', Section('c', size=(9, 9), layout=good))],
                 tmp_path/'in', Conversion())
    for to in ('rico', 'pix2code'):
        log = convert(tmp_path/'in', tmp_path/to, to=to, tell=quiet)
        assert len(log) == 2 and [where for where, _ in log.aside] == ['b'] and 'not-representable' in log.aside[0][1]


# COCO

def coco(tmp_path, **parts):
    "The one section of a COCO file."
    obj = {'images': [{'id': 1, 'file_name': 'a.png', 'width': 100, 'height': 50}], 'categories': [{'id': 5, 'name': 'cat'}], 'annotations': [], **parts}
    (tmp_path/'x.json').write_text(json.dumps(obj))
    log = Conversion()
    return [s for _, s in FORMATS['coco'].read(tmp_path/'x.json', log)], log


def test_coco_opens_in_pycocotools(tmp_path, truth):
    COCO = pytest.importorskip('pycocotools.coco').COCO
    convert('sample', tmp_path/'new', to='coco', tell=quiet)
    ids = set()
    for split in ('train', 'val', 'test'):
        c = COCO(str(tmp_path/'new'/split/'_annotations.coco.json'))
        for im in c.loadImgs(c.getImgIds()):
            with Image.open(tmp_path/'new'/split/im['file_name']) as pic: assert pic.size == (im['width'], im['height'])
            for a in c.loadAnns(c.getAnnIds(im['id'])):
                x, y, w, h = a['bbox']
                assert -1 <= x and x + w <= im['width'] + 2 and -1 <= y and y + h <= im['height'] + 2 and c.loadCats(a['category_id'])
                assert a['id'] not in ids and a['iscrowd'] == 0
                ids.add(a['id'])
        assert c.annToMask(a).shape == (im['height'], im['width'])
    assert len(ids) == sum(len(t['tree']) for t in truth.values())


def test_coco_elements_without_box(tmp_path):
    layout = Layout([Element('section', (), -1, (0, 0, 9, 9)), Element('grid', (), 0), Element('text', (), 1), Element('image', (), 0, (1, 1, 2, 2))])
    write_coco([('', Section('a', size=(9.5, 9), layout=layout))], tmp_path, log := Conversion(to='coco'))
    (_, s), = FORMATS['coco'].read(tmp_path, log)
    assert [(e.type, e.parent) for e in s.layout] == [('section', -1), ('image', 0)] and s.size == (9.5, 9)
    assert log.reasons['elements without any box'] == 1 and any('names no file' in k for k in log.reasons)


def test_coco_by_other_hands(tmp_path):
    rle = {'size': [50, 100], 'counts': [55, 5, 4940]}
    marks = [dict(id=1, image_id=1, category_id=5, bbox=[1, 2, 3, 4]), dict(id=2, image_id='1', category_id='5', segmentation=[[0, 0, 9, 0, 9, 9]]),
             dict(id=3, image_id=1, category_id=5, iscrowd=1, segmentation=rle), dict(id=4, image_id=1, category_id=99, bbox=[1, 2, 3, 4]),
             dict(id=5, image_id=1, category_id=5, segmentation=rle), dict(id=6, image_id=1, category_id=5, segmentation={'size': [5, 5], 'counts': 'abc'}),
             dict(id=7, image_id=1, category_id=5, bbox=[1, 2, -3, 4]), dict(id=8, image_id=1, category_id=5, bbox=['1', 2, 3, 4]), 'no object',
             dict(id=9, image_id=77, category_id=5, bbox=[1, 2, 3, 4]), dict(id=10, category_id=5)]
    (s,), log = coco(tmp_path, annotations=marks)
    assert [e.box for e in s.layout] == [(1, 2, 3, 4), (0, 0, 9, 9), (1, 5, 1, 5)]
    assert sum('left-out' in n for n in s.notes) == 4 and any('missing-file' in n for n in s.notes)
    assert len([w for _, w in log.aside if 'its image is not listed' in w]) == 2 and any('no objects' in w for _, w in log.aside)


def test_coco_renumbered_by_a_tool(tmp_path):
    marks = [dict(id=i, image_id=1, category_id=5, bbox=[1, 2, 3, 4], **p) for i, p in ((30, {'parent': 10}), (20, {'parent': 20}), (10, {}), (40, {'parent': 99}))]
    (s,), _ = coco(tmp_path, annotations=marks)
    assert [e.parent for e in s.layout] == [-1, -1, 1, -1] and sum('dangling-reference' in n for n in s.notes) == 2


@pytest.mark.parametrize('name', ['../secret.png', '/etc/passwd', 'a/../../b.png'])
def test_coco_pictures_stay_inside(tmp_path, name):
    found, log = coco(tmp_path, images=[{'id': 1, 'file_name': name, 'width': 9, 'height': 9}])
    assert not found and 'path-escape' in log.aside[0][1]


def test_coco_without_labels_or_sizes(tmp_path):
    (s,), _ = coco(tmp_path)
    assert s.layout is None
    found, log = coco(tmp_path, images=[{'id': 1, 'file_name': 'a.png'}])
    assert not found and 'missing-size' in log.aside[0][1]
    for bad in ('[]', '{"images": 3}', '{"categories": []}', '{'):
        (tmp_path/'x.json').write_text(bad)
        with pytest.raises(LayoutError, match='no section could be converted'): convert(tmp_path/'x.json', tmp_path/'out', source='coco', tell=quiet)


@pytest.mark.parametrize('place', ['.', 'images', 'data', 'val2017', 'images/val2017', '../val2017', '../images/val2017'])
def test_coco_finds_pictures_where_people_keep_them(tmp_path, place):
    home = tmp_path/'set'/'annotations'
    home.mkdir(parents=True)
    (home/place).mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (10, 5)).save(home/place/'a.jpg')
    (home/'instances_val2017.json').write_text(json.dumps({'images': [{'id': 1, 'file_name': 'a.jpg'}], 'annotations': [], 'categories': []}))
    (split, s), = FORMATS['coco'].read(tmp_path/'set', Conversion())
    assert split == 'val' and s.size == (10, 5) and s.screenshot.name == 'a.jpg'


# pix2code, RICO, screen annotation

words = st.sampled_from(['text', 'btn-red', 'row', 'header', 'x_1'])


@st.composite
def layouts(draw):
    out, chain = [], []
    for i in range(draw(st.integers(1, 12))):
        chain = chain[:draw(st.integers(0, len(chain)))]
        edges = [sorted(draw(st.tuples(*[st.integers(0, 127)] * 2))) for _ in 'xy']
        (l, r), (t, b) = edges
        out.append(Element(draw(words), (), chain[-1] if chain else -1, (l, t, r - l, b - t)))
        chain.append(i)
    return Layout(out)


@quick
@given(layouts())
def test_gui_there_and_back(layout):
    text = format_gui(layout)
    assert parse_gui(text).key() == layout.key() and format_gui(parse_gui(text)) == text
    assert parse_gui(' '.join(text.split())).key() == layout.key()


@quick
@given(layouts())
def test_rico_line_there_and_back(layout):
    line = format_rico(Section('x', size=(127, 127), layout=layout))
    assert format_rico(Section('x', size=PHONE, layout=parse_rico(line))) == line


free = st.text(st.sampled_from("ab ,.()!?'0123456789é\u202e"), max_size=20).map(lambda s: ' '.join(s.split()))


@quick
@given(layouts(), st.data())
def test_screen_text_may_hold_anything_but_a_type(layout, data):
    def item(i):
        x, y, w, h = (int(v) for v in layout[i].box)
        text, inner = data.draw(free), ', '.join(map(item, layout.children[i]))
        return f"LIST_ITEM {text + ' ' if text else ''}{x} {x+w} {y} {y+h}" + (f' ({inner})' if inner else '')
    found, _ = parse_screen(', '.join(item(i) for i, e in enumerate(layout) if e.parent < 0))
    assert [e.parent for e in found] == [e.parent for e in layout]
    assert [e.box for e in found] == [tuple(round(v * s / 999, 2) for v, s in zip(e.box, PHONE * 2)) for e in layout]


def test_splits_of_pix2code(tmp_path):
    for id in 'abc': (tmp_path/f'{id}.gui').write_text('row { text }')
    (tmp_path/'splits.json').write_text(json.dumps({'by_body': {'train': ['a'], 'val': ['b']}, 'original': {'test': ['a']}, 'body_of': {'a': 1}}))
    of = {s.id: split for split, s in FORMATS['pix2code'].read(tmp_path, Conversion())}
    assert of == {'a': 'train', 'b': 'val', 'c': ''}
    assert {s.id: split for split, s in FORMATS['pix2code'].read(tmp_path, Conversion(), splits='original')} == {'a': 'test', 'b': '', 'c': ''}
    with pytest.raises(LayoutError, match="did you mean 'original'"): list(FORMATS['pix2code'].read(tmp_path, Conversion(), splits='originl'))


# WordPress

ABOUT = '''<!-- wp:template-part {"slug":"header"} /-->
<!-- wp:cover {"url":"sea.jpg","dimRatio":50} --><div class="wp-block-cover"><img class="wp-block-cover__image-background wp-image-7" alt="" src="sea.jpg"/><span aria-hidden="true"
class="wp-block-cover__background has-background-dim"></span><div class="wp-block-cover__inner-container"><!-- wp:heading {"level":1} --><h1 class="wp-block-heading">By the
<strong>sea</strong></h1><!-- /wp:heading --><!-- wp:buttons --><div class="wp-block-buttons"><!-- wp:button --><div class="wp-block-button"><a class="wp-block-button__link
wp-element-button" href="/book">Book<br>now</a></div><!-- /wp:button --></div><!-- /wp:buttons --></div></div><!-- /wp:cover -->
<!-- wp:heading --><h2>Rooms</h2><!-- /wp:heading -->
<!-- wp:paragraph --><p>Eleven of them, and <a href="#">a garden</a>.</p><!-- /wp:paragraph -->
<!-- wp:media-text {"mediaType":"image"} --><div class="wp-block-media-text"><figure class="wp-block-media-text__media"><img src="room.jpg" alt="x"/></figure>
<div class="wp-block-media-text__content"><!-- wp:list --><ul><!-- wp:list-item --><li>Bread</li><!-- /wp:list-item --><!-- wp:list-item --><li>Jam</li><!-- /wp:list-item --></ul>
<!-- /wp:list --></div></div><!-- /wp:media-text -->
<!-- wp:group {"layout":{"type":"constrained"}} --><section class="wp-block-group booking"><!-- wp:columns --><div class="wp-block-columns"><!-- wp:column --><div class="wp-block-column">
<!-- wp:columns --><div class="wp-block-columns"><!-- wp:column --><div class="wp-block-column"><!-- wp:gallery --><figure class="wp-block-gallery"><!-- wp:image --><figure><img src="1.jpg"/></figure>
<!-- /wp:image --></figure><!-- /wp:gallery --></div><!-- /wp:column --></div><!-- /wp:columns --></div><!-- /wp:column --><!-- wp:column --><div class="wp-block-column">
<!-- wp:details --><details><summary>Pets?</summary><!-- wp:paragraph --><p>Small ones.</p><!-- /wp:paragraph --></details><!-- /wp:details --><!-- wp:separator --><hr/><!-- /wp:separator -->
<!-- wp:acme/rating {"stars":5} --><div class="acme">*****</div><!-- /wp:acme/rating --></div><!-- /wp:column --></div><!-- /wp:columns --></section><!-- /wp:group -->'''


def test_wordpress_page():
    found, lost = parse_blocks(ABOUT, notes := [])
    assert [repr(l) for _, l in found] == [
        'section@0@3\n  heading@4\n  wrapper@5\n    button@6@7\nprops bi: [1]\nprops bo: [2]',
        'heading@0\nparagraph@1', 'grid@0@3\n  list@4',
        'section@0\n  grid@1\n    column@2\n      grid@3\n        column@4\n          gallery@5\n    column@8\n      accordion@9\n      divider@12']
    assert sorted(lost) == ['blocks without HTML: template-part', 'blocks without a rule: acme/rating'] and not notes
    texts = [n.text for s, _ in found for n in s]
    assert 'By the sea' in texts and 'Book now' in texts and 'Eleven of them, and a garden.' in texts
    assert not [c for s, _ in found for n in s for c in n.classes if c.startswith(('wp-', 'has-'))] and found[3][0][0].classes == ('booking',)


def test_wordpress_layouts_fit_the_slot_table():
    from layoutdiff.slots import encode
    for structure, layout in parse_blocks(ABOUT, [])[0]: assert not encode(Section('x', structure=structure, layout=layout)).reasons


def test_wordpress_patterns_in_php():
    (s, l), = parse_blocks('''<?php /** Title: A */ ?><!-- wp:group --><div class="wp-block-group"><!-- wp:heading --><h2><?php echo esc_html_x( 'It\\'s open', 'x', 'theme' ); ?></h2>
        <!-- /wp:heading --><!-- wp:image --><figure><img src="<?php echo esc_url( get_template_directory_uri() ); ?>/a.webp" alt="<?php esc_attr_e( 'Two "big" dogs', 'theme' ); ?>"/></figure>
        <!-- /wp:image --></div><!-- /wp:group --><?php if (true) : echo 'never closed' ''', [])[0]
    assert repr(l) == 'section@0\n  heading@1\n  image@2@3' and 'open' in s[1].text and s[3].attrs['src'] == '/a.webp' and '?' not in s[3].attrs['alt']


@pytest.mark.parametrize('text', ['', '<p>no blocks</p>', '<!-- wp:group -->', '<!-- wp:html --><!-- /wp:html -->'])
def test_wordpress_without_anything(text, tmp_path):
    (tmp_path/'a.html').write_text(text)
    with pytest.raises(LayoutError, match='no section could be converted'): convert(tmp_path/'a.html', tmp_path/'out', source='wordpress', tell=quiet)


def test_wordpress_groups_and_ids(tmp_path):
    for name in ('theme-a/home.html', 'theme-a/more/about.html', 'theme-b/home.php', 'page.html'):
        (tmp_path/'in'/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'in'/name).write_text(ABOUT)
    log = convert(tmp_path/'in', tmp_path/'out', tell=quiet)
    items = get_items(tmp_path/'out')
    assert log.source == 'wordpress' and len(items) == 16 and {s.group for s in items.all} == {'theme-a', 'theme-b', 'page'}
    assert log.reasons['blocks without a rule: acme/rating'] == 4


# Tables

def test_tables_open_in_datasets(tmp_path, truth):
    datasets = pytest.importorskip('datasets')
    for to in ('hf', 'parquet'): convert('sample', tmp_path/to, to=to, tell=quiet)
    a = datasets.load_from_disk(str(tmp_path/'hf'))
    b = datasets.load_dataset('parquet', data_dir=str(tmp_path/'parquet'/'data'), cache_dir=str(tmp_path/'cache'))
    for d in (a, b):
        assert {k: len(v) for k, v in d.items()} == {'train': 30, 'validation': 10, 'test': 10}
        row = d['validation'][3]
        assert row['id'] in truth and row['image'].size[0] > 100 and row['split'] == 'val' and json.loads(row['layout'])['elements']


def test_tables_that_datasets_wrote(tmp_path, truth):
    datasets = pytest.importorskip('datasets')
    convert('sample', tmp_path/'hf', to='hf', tell=quiet)
    d = datasets.load_from_disk(str(tmp_path/'hf'))['train']
    d.select(range(3)).save_to_disk(str(tmp_path/'three'))
    d.to_parquet(str(tmp_path/'all.parquet'))
    assert set(read(tmp_path/'three')[0]) == set(d['id'][:3])
    assert read(tmp_path/'all.parquet')[0] == {k: v for k, v in truth.items() if v['split'] == 'train'}


def test_tables_by_other_hands(tmp_path):
    pa, pq = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    png = tmp_path/'p.png'
    Image.new('RGB', (9, 5)).save(png)
    rows = [{'image': png.read_bytes(), 'label': 1}, {'image': b'no picture', 'label': 2}, {'image': None, 'label': 3}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path/'test.parquet')
    (s,), log = list(read(tmp_path/'test.parquet')[0].values()), read(tmp_path/'test.parquet')[1]
    assert s['size'] == (9, 5) and s['split'] == 'test' and len(log.aside) == 2 and 'columns are image, label' in log.aside[1][1]
    (tmp_path/'bad.parquet').write_bytes(b'PAR1 and nothing more')
    assert 'unreadable-table' in read(tmp_path/'bad.parquet')[1].aside[0][1]


def test_mixed_splits_cannot_be_shards(tmp_path):
    pytest.importorskip('layoutdiff.shards')
    pa, pq = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    layout = json.dumps({'elements': [{'type': 'text'}]})
    pq.write_table(pa.Table.from_pylist([{'id': str(i), 'layout': layout, 'split': s} for i, s in enumerate(['train', 'test', 'train'])]), tmp_path/'a.parquet')
    with pytest.raises(LayoutError, match='splits of the source are mixed'): convert(tmp_path/'a.parquet', tmp_path/'out', to='shards', tell=quiet)
    assert convert(tmp_path/'a.parquet', tmp_path/'out', tell=quiet).counts == {'train': 2, 'test': 1}


# Broken files

def mutate(data, rng):
    "One fault: cut off, bytes changed, a piece doubled or taken out."
    data, n = bytearray(data), max(1, len(data))
    kind, i, j = rng.randrange(4), rng.randrange(n), rng.randrange(n)
    if kind == 0: return bytes(data[:i])
    if kind == 1:
        for _ in range(rng.randint(1, 8)): data[rng.randrange(n)] = rng.choice([0, 10, 34, 40, 41, 44, 45, 58, 60, 91, 93, 123, 125, 255, rng.randrange(256)])
        return bytes(data)
    return bytes(data[:i] + data[min(i, j):max(i, j)] + data[i:]) if kind == 2 else bytes(data[:min(i, j)] + data[max(i, j):])


@pytest.fixture(scope='module')
def specimens(tmp_path_factory):
    "A small good file of each format that is one file."
    tmp = tmp_path_factory.mktemp('specimens')
    few = [(split, s) for split, s in FORMATS['folder'].read(SAMPLE, Conversion())][:2]
    out = {}
    for to in ('coco', 'rico', 'pix2code', 'parquet', 'hf'):
        if to in ('parquet', 'hf'):
            try: import pyarrow  # noqa: F401
            except ImportError: continue
        (tmp/to).mkdir()
        FORMATS[to].write(iter(few), tmp/to, Conversion(to=to))
        out[to] = next(p for p in sorted((tmp/to).rglob('*')) if p.suffix in ('.json', '.txt', '.gui', '.parquet', '.arrow') and p.name != 'splits.json').read_bytes()
    out['screen-annotation'] = b'screen_id,screen_annotation\n7,"TOOLBAR 0 999 31 109 (TEXT a, (b) 1 2 3 4, BUTTON 5 6 7 8), MAP 1 2 3 4"\n8,"TEXT x 1 2 3 4"\n'
    out['wordpress'] = ABOUT.encode()
    return out


SUFFIX = {'coco': '.json', 'rico': '.txt', 'pix2code': '.gui', 'parquet': '.parquet', 'hf': '.arrow', 'screen-annotation': '.csv', 'wordpress': '.html'}


@pytest.mark.parametrize('kind', SUFFIX)
def test_broken_files_are_set_aside(kind, specimens, tmp_path):
    if kind not in specimens: pytest.skip('needs pyarrow')
    rng, path, aside, n = random.Random(7), tmp_path/f'a{SUFFIX[kind]}', 0, int(os.environ.get('LAYOUTDIFF_FUZZ', 150))
    for _ in range(n):
        path.write_bytes(mutate(specimens[kind], rng))
        log = Conversion()
        for split, s in FORMATS[kind].read(path, log):
            held(s, split)
            write_folder([(split, s)], tmp_path/'out', log)
        aside += bool(log.aside or log.notes)
        shutil.rmtree(tmp_path/'out', ignore_errors=True)
    assert aside >= n / 20


# The real data

@pytest.mark.skipif(not (DATA/'pix2code-web').is_dir(), reason='needs shared/data')
def test_real_pix2code():
    splits, n = json.loads((DATA/'pix2code-web'/'splits.json').read_text()), 0
    groups = {}
    for split, s in FORMATS['pix2code'].read(DATA/'pix2code-web', log := Conversion()):
        n += 1
        groups.setdefault(s.group, set()).add((splits['body_of'][s.id], split))
        if n % 10 == 0: assert format_gui(s.layout).split() == s.path.read_text().split() and s.id in splits['by_body'][split]
    assert n == 1750 and not log.aside and len(groups) == 39 and all(len(v) == 1 for v in groups.values())


@pytest.mark.skipif(not (DATA/'rico25').is_dir(), reason='needs shared/data')
def test_real_rico():
    found = list(FORMATS['rico'].read(DATA/'rico25', log := Conversion()))
    assert len(found) == 5594 and not log.aside
    lines = (DATA/'rico25'/'valid.txt').read_text().splitlines()
    for line, (split, s) in list(zip(lines, found))[::20]: assert split == 'val' and format_rico(s) == line.strip()


@pytest.mark.skipif(not (DATA/'screen-annotation').is_dir(), reason='needs shared/data')
def test_real_screens():
    found = list(FORMATS['screen-annotation'].read(DATA/'screen-annotation', log := Conversion()))
    assert len(found) == 2311 and not log.aside and len({e.type for _, s in found for e in s.layout}) == 15
    assert all(0 <= e.box[0] <= e.box[0] + e.box[2] <= 360.02 and e.box[1] + e.box[3] <= 640.02 for _, s in found for e in s.layout)
