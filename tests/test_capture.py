"Pages served on localhost, good and bad, through a real Chromium."
import threading, time
from importlib.util import find_spec
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest
from layoutdiff.browser import MAX_HEIGHT, find_chromium
from layoutdiff.capture import capture, capture_pages
from layoutdiff.core import LayoutError
from layoutdiff.items import read_section
from layoutdiff.html import parse_html

pytestmark = pytest.mark.skipif(not (find_spec('playwright') and find_chromium()), reason='needs Playwright and a Chromium; in CI a failure')

BASE = '*{box-sizing:border-box}body{margin:0;font:18px sans-serif}.b{padding:60px}'


def page(body, style='', head=''): return f'<!doctype html><html><head><meta charset=utf-8>{head}<style>{BASE}{style}</style></head><body>{body}</body></html>'


def band(k, colour, high=400, tag='section', more=''):
    return f'<{tag} class="b" id="b{k}" style="background:{colour};min-height:{high}px"><h2>Band {k}</h2><p>Text of <b>band</b> {k}.</p>{more}</{tag}>'


THREE = band(1, '#fee') + band(2, '#efe') + band(3, '#eef')
DIVS = ''.join(band(k, c, 500, 'div') for k, c in enumerate(['#fee', '#efe', '#eef', '#fef']))
GRID = '<div style="display:grid;grid-template-columns:[a] 1fr [b] 2fr;position:relative;z-index:2"><p>One</p><p style="display:none">Two</p></div>'
BAR = '.h{position:%s;top:0;left:0;right:0;height:80px;background:#f00;z-index:9}'
HEAD = '<header class=h><nav><a href="/x">Logo</a></nav></header>'
COOKIE = '<div id=cookie style="position:fixed;left:0;right:0;bottom:0;height:100px;background:orange">We use cookies</div>'
LAZY = '<section class="b r" id=r style="background:#0f0;min-height:900px"><h2>Revealed</h2><img loading=lazy src="/picture.png" width=80 height=80></section>'
REVEAL = ('<script>new IntersectionObserver(es => es.forEach(e => e.isIntersecting && e.target.classList.add("on"))).observe(r)</script>')
PAGES = {
    'three': page('<header class=b>Head</header><main>' + THREE + '</main><footer class=b>Foot</footer>'),
    'fixed': page(HEAD + '<main>' + THREE + '</main>' + COOKIE, BAR % 'fixed'),
    'sticky': page(HEAD + '<div>' + DIVS + '</div><footer class=b>Foot</footer>', BAR % 'sticky'),
    'inner': page('<div id=app><header style="height:70px">Head</header>' + DIVS + '</div>', 'html,body{height:100%;overflow:hidden}#app{position:fixed;inset:0;overflow:auto}'),
    'plain': page('<h1>A page</h1><p>of bare text</p>'),
    'text': 'only words',
    'stray': page('<header class=b>Head</header><h1>Stray</h1><p>text</p><footer class=b>Foot</footer>'),
    'vh': page('<section class=b style="height:100vh;background:#00f;color:#fff"><h1>Hero</h1></section>' + band(2, '#efe', 2000)),
    'lazy': page(band(1, '#fee', 1500) + LAZY + REVEAL, '.r{opacity:0;transition:opacity 9s}.r.on{opacity:1}'),
    'moving': page('<section class=b><div class=m></div><h1>Spin</h1><input autofocus></section>' + band(2, '#efe'),
                   '.m{width:80px;height:80px;background:#00f;animation:t 3s infinite}@keyframes t{from{margin-left:0}to{margin-left:500px}}'),
    'thrown': page(band(1, '#fee') + band(2, '#efe') + '<script>null.nothing</script>'),
    'dialogs': page(band(1, '#fee') + band(2, '#efe') + '<script>alert(1);confirm(2);prompt(3);open("/three")</script>'),
    'nodes': page('<section class="b hero" id=top>' + GRID + '<img src="data:image/png;base64,' + 'A'*4000 + '"><a href="/go" aria-label=Go>Go</a></section>' + band(2, '#efe')),
    'tall': page(''.join(band(k, '#fee', 4000) for k in range(9))),
    'many': page(band(1, '#efe') + '<section class=b>' + '<i>x</i>'*2100 + '</section>'),
    'goes': '<script>location.href = "/three"</script>',
    'polls': page(band(1, '#fee') + band(2, '#efe') + '<script>fetch("/hang")</script>'),
    'shadow': page('<my-page></my-page><script>customElements.define("my-page", class extends HTMLElement { connectedCallback() {'
                   'this.attachShadow({mode: "open"}).innerHTML = `<section style="height:300px"><h1>In</h1></section><section style="height:300px"><p>Two</p></section>` }})</script>'),
}
BAD = {
    'none': '404 Not Found', 'broken': '500', 'picture.png': 'this is image/png', 'paper.pdf': 'this is application/pdf', 'load': 'a download, not an HTML page',
    'redirects': 'redirects without end', 'reloads': 'moves on without end', 'blank': 'shows nothing that could be a section', 'failed': 'Its script failed: no app',
    'blankbody': 'shows nothing', 'drops': 'broke off'}
NEVER = {'hang': 'loading the page|opening the page', 'hangs': 'loading the page', 'grows': 'waiting for the page to settle', 'requests': 'loading the page', 'spins': ''}
PAGES |= {
    'reloads': '<script>location.reload()</script>', 'blank': '<!doctype html><div></div>', 'failed': '<div></div><script>throw Error("no app")</script>', 'blankbody': '',
    'hangs': page(THREE + '<img src="/hang">'), 'spins': page(THREE + '<script>setTimeout(() => { while (1) {} }, 100)</script>'),
    'grows': page('<script>setInterval(() => document.body.append(document.createElement("p"), "x"), 30)</script>'),
    'requests': page(THREE + '<script>let n = 0, more = () => { let s = document.createElement("img"); s.onload = s.onerror = more; s.src = "/picture.png?" + n++; document.body.append(s) }; more()</script>')}
RAW = {'picture.png': 'image/png', 'paper.pdf': 'application/pdf', 'load': 'text/html'}
DOT = bytes.fromhex('89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc00000030101'
                    '00c9fe92ef0000000049454e44ae426082')


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def send(self, code, body=b'', **headers):
        self.send_response(code)
        for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = self.path.strip('/').split('?')[0]
        if name == 'hang': self.server.stop.wait(60)
        elif name == 'redirects': self.send(302, Location=f'/redirects?{time.time()}')
        elif name == 'broken': self.send(500, b'<h1>Oh</h1>', Content_Type='text/html')
        elif name == 'drops': self.close_connection = True
        elif name in RAW: self.send(200, DOT, Content_Type=RAW[name], **({'Content_Disposition': 'attachment'} if name == 'load' else {}))
        elif name in PAGES: self.send(200, PAGES[name].encode(), Content_Type='text/html; charset=utf-8')
        else: self.send(404, b'<h1>None</h1>', Content_Type='text/html')


@pytest.fixture(scope='module')
def site():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads, server.stop = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.stop.set()
    server.shutdown()


GOOD, TWICE = [n for n in PAGES if n not in BAD and n not in NEVER], ['three', 'fixed', 'sticky', 'moving']


@pytest.fixture(scope='module')
def captured(site):
    "Good pages and bad ones; some at two widths."
    one = [n for n in [*GOOD, *BAD] if n not in TWICE]
    urls = [f'{site}/{n}' for n in one] + ['http://nowhere.invalid/']
    both = capture_pages([f'{site}/{n}' for n in TWICE], timeout=150)
    return dict(zip([*TWICE, *one, 'nowhere'], both + capture_pages(urls, (1440,), timeout=150)))


@pytest.fixture(scope='module')
def seen(captured):
    out = {n: captured[n] for n in GOOD}
    assert not {n: str(p) for n, p in out.items() if isinstance(p, Exception)}
    return out


def places(seen, name, k=0): return list(seen[name][k].places.values())
def titles(seen, name): return [next((n.text for n in s.structure if n.text), '') for s in seen[name][0].sections.values()]


def test_semantic_page(seen):
    wide, narrow = seen['three']
    assert titles(seen, 'three') == ['Head', 'Band 1', 'Band 2', 'Band 3', 'Foot']
    assert (wide.width, narrow.width) == (1440, 390) and list(wide.places) == list(narrow.places) == [0, 1, 2, 3, 4]
    assert [s.id[-8:] for s in narrow.sections.values()][:2] == ['e-01-390', 'e-02-390'] and wide.sections[0].group == '127.0.0.1'
    for a, b in zip(places(seen, 'three'), places(seen, 'three')[1:]): assert a[3] == b[1]
    assert wide.sections[2].screenshot.size == (1440, 400) and wide.sections[2].screenshot.getpixel((5, 5)) == (238, 255, 238)


def test_fixed_header_is_its_own_and_covers_nothing(seen):
    for p in seen['fixed']:
        assert [n.tag for n in (s.structure[0] for s in p.sections.values())] == ['header', 'section', 'section', 'section']
        assert p.sections[0].screenshot.getpixel((p.width - 5, 5)) == (255, 0, 0) and p.sections[0].structure[0].hints == {'p': 'fixed', 'z': 9}
        assert p.sections[1].screenshot.getpixel((p.width - 5, 5)) == (255, 238, 238)
        assert any('#cookie covers section' in n for n in p.notes)


def test_sticky_header_stays_on_top(seen):
    for p in seen['sticky']:
        assert len(p.sections) == 6 and p.sections[0].structure[0].hints['p'] == 'sticky'
        assert all(s.screenshot.getpixel((p.width - 3, 3)) != (255, 0, 0) for k, s in p.sections.items() if k)


def test_pages_of_other_shapes(seen):
    assert places(seen, 'inner') == [(0, 0, 1440, 70), *((0, y, 1440, y + 500) for y in (70, 570, 1070, 1570))]
    assert [len(places(seen, n)) for n in ('plain', 'text', 'stray', 'shadow')] == [1, 1, 3, 2]
    assert [n.tag for n in seen['stray'][0].sections[1].structure] == ['h1', 'p']
    assert places(seen, 'vh')[0] == (0, 0, 1440, 900) and seen['vh'][0].sections[0].screenshot.getpixel((9, 890)) == (0, 0, 255)
    assert places(seen, 'goes') == places(seen, 'three')


def test_lazy_parts_are_awake(seen):
    shot = seen['lazy'][0].sections[1].screenshot
    assert shot.getpixel((1400, 800)) == (0, 255, 0)


def test_nodes(seen):
    top = seen['nodes'][0].sections[0]
    section, grid, one, two, image, link = top.structure
    assert (section.tag, section.classes, section.id, section.box[:3]) == ('section', ('b', 'hero'), 'top', (0, 0, 1440))
    assert grid.hints == {'d': 'grid', 'col': 2, 'z': 2}
    assert two.hints == {'d': 'none'} and two.box is None and two.text == 'Two' and one.box[2] > 0
    assert image.attrs['src'] == 'data:image/png;base64' and link.attrs == {'href': '/go', 'aria-label': 'Go'}
    assert seen['nodes'][0].sections[1].structure[2].text == 'Text of band 2.' and len(seen['nodes'][0].sections[1].structure) == 3


def test_notes(seen):
    assert "the page's script failed: Cannot read properties of null (reading 'nothing')" in seen['thrown'][0].notes
    assert len(seen['dialogs'][0].sections) == 2
    assert any('still loading' in n and '/hang' in n for n in seen['polls'][0].notes)
    tall, many = seen['tall'][0], seen['many'][0]
    assert len(tall.sections) == 7 and f'below {MAX_HEIGHT:,} is left out' in tall.notes[0]
    assert len(many.sections) == 1 and 'section 02' in many.notes[0] and '2,101 elements' in many.notes[0]


def test_same_page_same_bytes(site, seen):
    again = capture_pages([f'{site}/{n}' for n in ('moving', 'fixed')], timeout=150)
    for a, b in zip(seen['moving'] + seen['fixed'], [p for pages in again for p in pages]):
        assert a.picture.tobytes() == b.picture.tobytes() and a.places == b.places and a.notes == b.notes
        for k, s in a.sections.items(): assert (s.structure, s.screenshot.tobytes()) == (b.sections[k].structure, b.sections[k].screenshot.tobytes())


def test_bad_pages_end_in_one_sentence(captured):
    for name, why in {**BAD, 'nowhere': 'no host of this name (DNS)'}.items():
        assert isinstance(captured[name], LayoutError), (name, captured[name])
        assert name in str(captured[name]) and why in str(captured[name]) and '\n' not in str(captured[name]), (name, captured[name])


def test_pages_that_never_settle(site):
    start = time.time()
    for (name, doing), got in zip(NEVER.items(), capture_pages([f'{site}/{n}' for n in NEVER], timeout=5)):
        assert isinstance(got, LayoutError) and 'did not settle' in str(got) and any(d in str(got) for d in doing.split('|')), (name, got)
        if name == 'hangs': assert '/hang' in str(got)
    assert time.time() - start < 90


def test_folders(site, tmp_path):
    lines = []
    folders = capture(f'{site}/three', tmp_path, (390, 1440), 100, lines.append)
    assert [f.name for f in folders[:3]] == ['127.0.0.1-three-01-1440', '127.0.0.1-three-01-390', '127.0.0.1-three-02-1440'] and len(folders) == 10
    section = read_section(folders[2])
    assert (section.id, section.group, section.size, section.notes) == (folders[2].name, '127.0.0.1', (1440, 400), [])
    assert [n.text for n in section.structure] == ['', 'Band 1', 'Text of band 1.'] and section.structure[0].box == (0, 0, 1440, 400)
    again = capture(f'{site}/three', tmp_path, (1440,), 100, lines.append)
    assert again[0].name == '127.0.0.1-three~2-01-1440' and len(lines) == 15
    assert [(a/'screenshot.png').read_bytes() for a in folders[::2]] == [(b/'screenshot.png').read_bytes() for b in again]


def test_a_file_shows_no_files_from_elsewhere(tmp_path):
    from PIL import Image
    (tmp_path/'in'/'img').mkdir(parents=True)
    for f, c in (('in/img/a.png', 'red'), ('b.png', 'blue')): Image.new('RGB', (100, 100), c).save(tmp_path/f)
    (tmp_path/'in'/'p.html').write_text(page(f'<section style="height:100px;display:flex"><img src="img/a.png"><img src="../b.png" width=100 height=100>'
                                             f'<iframe src="{(tmp_path/"b.png").as_uri()}"></iframe></section>'))
    (wide,), = capture_pages([tmp_path/'in'/'p.html'], (600,), 100)
    colours = {c for _, c in wide.picture.getcolors(1 << 24)}
    assert (255, 0, 0) in colours and (0, 0, 255) not in colours


def test_without_a_browser_html_is_still_read(tmp_path, monkeypatch):
    (tmp_path/'p.html').write_text(PAGES['three'])
    monkeypatch.setenv('LAYOUTDIFF_CHROMIUM', str(tmp_path/'none'))
    with pytest.raises(LayoutError, match='LAYOUTDIFF_CHROMIUM is'): capture(tmp_path/'p.html', tmp_path/'out')
    section = read_section(tmp_path/'p.html')
    assert section.structure == parse_html(PAGES['three']) and not any(n.box for n in section.structure)
