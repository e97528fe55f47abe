"""Make the bundled sample: 50 sections of ten invented sites, drawn by Chromium, labelled by their author.

Each `sites/NAME.html` is one site: a `<style>` and five `<template id=SECTION data-width=PIXELS>`. The author says what a node is
by its tag (`BY_TAG`; `display: grid` makes a grid) or, where that does not tell, by `data-ld`: an element type, `drop`, `bi`, `bo` or
`bv`. The marks are not stored.
Everything between is derived by four rules, so that the same situation is always labelled the same way:

1. The outermost node is the section. A node without mark is a `column` where its parent is a grid, else a `wrapper`.
2. A section or wrapper whose only element is a wrapper is merged with it. A wrapper whose only element is a leaf belongs to that leaf.
3. Inside a leaf, nodes join its chain while there is a single one; what comes after is dropped.
4. A grid's child that is itself an element (an image, a quote) gets a `column` without source above it.

    python nbs/sample/make_sample.py                 # writes layoutdiff/sample/{train,val,test}
    python nbs/sample/make_sample.py --sheet OUT.png # draws what is there, boxes coloured by type
    python nbs/sample/make_sample.py --check         # checks what is there and counts

Needs Chromium, playwright and jinja2."""
import argparse, colorsys, io, json, re, shutil, sys
from collections import Counter, defaultdict
from pathlib import Path

import jinja2
from PIL import Image, ImageDraw, ImageFont
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
import pictures
from layoutdiff.core import Element, Layout, Node, Section, Structure
from layoutdiff.slots import encode

HERE = Path(__file__).parent
OUT = HERE.parents[1]/'layoutdiff'/'sample'
SPLITS = dict(train=['harbor', 'ledger', 'norrland', 'kestrel', 'meadow', 'ironworks'], val=['tidal', 'quill'], test=['cobalt', 'lumen'])
LEAVES = set('heading paragraph button icon image list map divider video carousel accordion tab social gallery counter form menu '
             'quote table'.split())
HOLDERS, PROPS = {'grid', 'freedom'}, ('bi', 'bo', 'bv')
BY_TAG = dict(p='paragraph', hr='divider', img='image', svg='icon', table='table', form='form', nav='menu',
              blockquote='quote', details='accordion', ul='list', ol='list', a='button', button='button',
              video='video', **{f'h{k}': 'heading' for k in range(1, 7)})
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-lcd-text', '--font-render-hinting=none', '--force-color-profile=srgb',
         '--disable-checker-imaging', '--disable-partial-raster', '--num-raster-threads=1', '--run-all-compositor-stages-before-draw']
THUMB = {1440: 384, 390: 160}   # width of the stored picture for a width of the page

RESET = """*{box-sizing:border-box;margin:0;padding:0} img,svg,iframe,video{display:block;border:0;max-width:100%} ul,ol{list-style:none}
a{text-decoration:none;color:inherit} button,input,textarea,select{font:inherit;color:inherit;border:0;background:none} 
table{border-collapse:collapse} details>summary{list-style:none} figure{display:block}"""

READ = """() => {
  const INLINE = new Set(['STRONG','EM','B','I','BR','MARK','SMALL','SUP','U','A','SPAN','CODE','TIME']), out = []
  const tenth = v => Math.round(v * 10) / 10, tidy = s => s.replace(/\\s+/g, ' ').trim()
  const own = el => tidy([...el.childNodes].filter(n => n.nodeType == 3).map(n => n.data).join(' '))
  const plain = el => [...el.children].every(c => INLINE.has(c.tagName) && !c.dataset.ld && plain(c))
  const walk = (el, parent) => {
    const s = getComputedStyle(el), r = el.getBoundingClientRect(), hints = {}, attrs = {}
    if (s.display == 'none') hints.d = 'none'
    else if (s.display.endsWith('flex')) { hints.d = 'flex'; hints.dir = s.flexDirection }
    else if (s.display.endsWith('grid')) { hints.d = 'grid'; hints.col = s.gridTemplateColumns.split(' ').length }
    if (['absolute', 'fixed', 'sticky'].includes(s.position)) hints.p = s.position
    if (s.zIndex != 'auto') hints.z = s.zIndex
    if (s.backgroundImage.includes('url(')) hints.bg = 1
    for (const k of ['href', 'src', 'alt', 'type', 'role']) {
      const v = k == 'src' && el.dataset.src || el.getAttribute(k)
      if (v) attrs[k] = v
    }
    let text = own(el)
    const flat = text && plain(el), kids = flat || el.tagName == 'svg' ? [] : [...el.children].filter(c => c.tagName != 'BR')
    if (flat) text = tidy(el.innerText || el.textContent)
    if (el.tagName == 'svg') text = ''
    const node = {tag: el.tagName.toLowerCase(), parent, classes: [...el.classList]}
    if (el.id) node.id = el.id
    const box = [r.x, r.y + scrollY, r.width, r.height].map(tenth)
    Object.assign(node, {hints, ...(text && {text}), ...(Object.keys(attrs).length && {attrs}), box})
    out.push([node, el.dataset.ld || ''])
    const i = out.length - 1
    for (const c of kids) walk(c, i)
  }
  walk(document.body.firstElementChild, -1)
  return out
}"""

def read_site(name:str)->dict: # section -> (width, page)
    "The pages of one site: its templates filled in, each with the site's own style."
    env = jinja2.Environment(undefined=jinja2.StrictUndefined)
    env.globals.update({k: getattr(pictures, k) for k in ('img', 'icon', 'logo', 'frame', 'stars', 'picture')})
    html = env.from_string((HERE/'sites'/f'{name}.html').read_text(encoding='utf-8')).render()
    style = re.search(r'<style>(.*?)</style>', html, re.S)[1]
    page = '<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{}</style></head><body>{}</body></html>'
    return {m[1]: (int(m[2]), page.format(RESET + style, m[3].strip()))
            for m in re.finditer(r'<template id="([\w-]+)" data-width="(\d+)">(.*?)</template>', html, re.S)}

class Labeller:
    "From nodes and their marks to elements, by the four rules above."
    def __init__(self, nodes:list, marks:list, name:str):
        self.nodes, self.name, self.props, self.kids = nodes, name, {}, defaultdict(list)
        for i, n in enumerate(nodes): self.kids[n['parent']].append(i)
        self.mark = [m or ('grid' if n['hints'].get('d') == 'grid' else BY_TAG.get(n['tag'], '')) for n, m in zip(nodes, marks)]
        self.said = marks

    def fail(self, i, why): raise ValueError(f'{self.name}: node {i} <{self.nodes[i]["tag"]} {self.nodes[i]["classes"]}> {why}')

    def below(self, i):
        for k in self.kids[i]:
            yield k
            yield from self.below(k)

    def leaf(self, i, kind):
        if bad := [k for k in self.below(i) if self.said[k]]: self.fail(bad[0], f'is marked inside a {kind}')
        links = [k for k in self.below(i) if self.nodes[k]['tag'] == 'a']
        if kind == 'list' and links: self.fail(i, 'is a list of links: mark it menu or social')
        sources = [i]
        while len(self.kids[sources[-1]]) == 1: sources += self.kids[sources[-1]]
        return dict(type=kind, sources=sources, children=[])

    def grow(self, i, column=False):
        "The element of node `i` and all below it; None where it stands for nothing."
        kind, node = self.mark[i], self.nodes[i]
        if kind in LEAVES: return self.leaf(i, kind)
        if kind in PROPS: self.props.setdefault(kind, []).append(i)
        if kind in PROPS or kind == 'drop': return None
        if kind and kind not in HOLDERS: self.fail(i, f'has the unknown mark {kind}')
        if node.get('text'): self.fail(i, f'has text and no mark: {node["text"]!r}')
        if kind == 'grid': return dict(type='grid', sources=[i], children=[self.column(k) for k in self.kids[i] if self.mark[k] != 'drop'])
        inside = [e for e in map(self.grow, self.kids[i]) if e]
        if not inside: self.fail(i, 'is empty: mark it drop')
        if kind == 'freedom': return dict(type='freedom', sources=[i], children=inside)
        only = inside[0]
        if not column and len(inside) == 1 and only['type'] in LEAVES | {'wrapper'} and only['sources']:
            only['sources'].insert(0, i)
            return only
        return dict(type='wrapper', sources=[i], children=inside)

    def column(self, i):
        if self.mark[i]: return dict(type='column', sources=[], children=[self.grow(i)])
        return self.grow(i, column=True) | dict(type='column')

    def layout(self):
        "The layout in version 2."
        if self.mark[0]: self.fail(0, 'is marked; the outermost node is the section')
        root = self.grow(0, column=True) | dict(type='section')
        if len(root['children']) == 1 and root['children'][0]['type'] == 'wrapper':
            root['sources'] += root['children'][0]['sources']
            root['children'] = root['children'][0]['children']
        elements = []
        def put(e, parent):
            k = len(elements)
            elements.append(dict(type=e['type'], sources=e['sources'], parent=parent))
            for c in e['children']: put(c, k)
            own = [self.nodes[s]['box'] for s in e['sources'][:1]]
            elements[k]['box'] = union(own or [c['box'] for c in elements if c['parent'] == k])
        put(root, -1)
        return dict(type='SectionLayout', version=2, elements=elements, props=self.props)

def union(boxes):
    x, y = min(b[0] for b in boxes), min(b[1] for b in boxes)
    return [x, y, round(max(b[0] + b[2] for b in boxes) - x, 1), round(max(b[1] + b[3] for b in boxes) - y, 1)]

def whole(o):
    "Numbers without a fraction as integers, in all of a JSON value."
    if isinstance(o, dict): return {k: whole(v) for k, v in o.items()}
    if isinstance(o, list): return [whole(v) for v in o]
    return int(o) if isinstance(o, float) and o == int(o) else o

def render(context, width:int, page:str): # nodes, marks, picture
    "Draw one page and read its nodes."
    tab = context.new_page()
    tab.set_viewport_size(dict(width=width, height=800))
    tab.set_content(page, wait_until='load')
    tab.evaluate("async () => { await Promise.all([...document.images].map(i => i.decode())); await document.fonts.ready }")
    nodes, marks = zip(*tab.evaluate(READ))
    picture = Image.open(io.BytesIO(tab.screenshot(full_page=True, animations='disabled'))).convert('RGB')
    height = -(-tab.evaluate('document.body.getBoundingClientRect().height') // 1)
    tab.close()
    return list(nodes), list(marks), picture.crop((0, 0, width, int(height)))

def write_section(folder:Path, site:str, section:str, width:int, page:str, context, full:Path|None=None):
    nodes, marks, picture = render(context, width, page)
    name = f'{site}--{section}--{width}'
    layout, w = Labeller(nodes, marks, name).layout(), THUMB[width]
    example = dict(id=name, group=site, screenshot=dict(path='screenshot.png', width=width, height=picture.height),
                   structure=dict(type='HTMLObject', version=2, nodes=nodes), layout=layout)
    (folder/name).mkdir(parents=True)
    (folder/name/'example.json').write_text(json.dumps(whole(example), ensure_ascii=False, separators=(',', ':')), encoding='utf-8')
    small = picture.resize((w, round(picture.height * w / width)), Image.Resampling.LANCZOS)
    small.quantize(96, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(folder/name/'screenshot.png', optimize=True)
    if full: picture.save(full/f'{name}.png')

def make(out:Path=OUT, full:Path|None=None, sites:list|None=None):
    "Render every site into `out`/split/id; `full` also keeps the pictures at full size."
    from playwright.sync_api import sync_playwright
    if full: full.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path='/usr/bin/chromium', args=FLAGS)
        context = browser.new_context(device_scale_factor=1)
        for split, names in SPLITS.items():
            for site in names:
                if sites and site not in sites: continue
                for old in out.glob(f'{split}/{site}--*'): shutil.rmtree(old)
                for section, (width, page) in read_site(site).items(): write_section(out/split, site, section, width, page, context, full)
        browser.close()

def load(folder:Path)->tuple: # the JSON and the Section
    d = json.loads((folder/'example.json').read_text(encoding='utf-8'))
    nodes = [Node(**n | dict(classes=tuple(n['classes']), box=tuple(n['box']))) for n in d['structure']['nodes']]
    elements = [Element(e['type'], tuple(e['sources']), e['parent'], tuple(e['box'])) for e in d['layout']['elements']]
    shot, layout = d['screenshot'], Layout(elements, d['layout']['props'])
    return d, Section(d['id'], d['group'], folder/shot['path'], (shot['width'], shot['height']), Structure(nodes), layout)

def faults(folder:Path)->list: # sentences
    "What breaks the rules of the sample in one section."
    d, s = load(folder)
    table, (w, h), els = encode(s), s.size, s.layout.elements
    out = list(table.reasons)
    picture = Image.open(s.screenshot)
    if folder.name != d['id'] or not d['id'].startswith(d['group'] + '--'): out.append('folder, id and group disagree')
    if picture.mode != 'P' or picture.width != THUMB[w] or abs(picture.height - h * picture.width / w) > 1:
        out.append(f'picture is {picture.mode} {picture.size} for {w} x {h}')
    if els[0].type != 'section' or sum(e.parent < 0 for e in els) != 1: out.append('the section is not the one root')
    for i, e in enumerate(els):
        kids = [els[k] for k in s.layout.children[i]]
        types, leaf, (x, y, ew, eh) = [k.type for k in kids], e.type in LEAVES, e.box
        wrong = {
            'holds something else than columns': e.type == 'grid' and set(types) != {'column'},
            'is not in a grid': e.type == 'column' and els[e.parent].type != 'grid',
            'and its wrapper are not merged': e.type in ('section', 'wrapper') and types == ['wrapper'],
            'belongs to its only leaf': e.type == 'wrapper' and len(kids) == 1 and types[0] in LEAVES,
            'has children': leaf and kids,
            'without source groups no sourced element': not e.sources and not (len(kids) == 1 and kids[0].sources),
            f'has an empty box {e.box}': min(ew, eh) <= 0,
            f'leaves the page: {e.box}': leaf and (min(x, y) < -1 or x + ew > w + 1 or y + eh > h + 1)}
        out += [f'{e.type} {i} {why}' for why, found in wrong.items() if found]
    if 'data-ld' in json.dumps(d): out.append('an author mark was stored')
    return out

def check(out:Path=OUT)->bool: # True when all is well
    "Check every section, the splits and the size; print counts."
    good, types, groups, n = True, defaultdict(Counter), defaultdict(set), Counter()
    for f in sorted(out.glob('*/*/')):
        split, (_, s) = f.parent.name, load(f)
        n[split] += 1
        groups[split].add(s.group)
        types[split].update([e.type for e in s.layout] + list(s.layout.props))
        types[split + ' sections'].update({e.type for e in s.layout} | set(s.layout.props))
        for why in faults(f):
            good = False
            print(f'{f.name}: {why}')
    for t in sorted(set(types['val']) | set(types['test']) | set(types['train'])):
        row = [types[k][t] for k in ('train', 'train sections', 'val', 'test')]
        if row[0] < 3 and sum(row[2:]): good = False
        print(f'{t:10} train {row[0]:4} in {row[1]:2} sections, val {row[2]:3}, test {row[3]:3}' + ('   RARE' if row[0] < 3 else ''))
    size = sum(p.stat().st_size for p in out.rglob('*') if p.is_file())
    nodes = sum(len(load(f)[1].structure) for f in out.glob('*/*/'))
    print(dict(n), {k: sorted(v) for k, v in groups.items()}, f'{size/1e6:.2f} MB, {nodes} nodes')
    for a, b in (('train', 'val'), ('train', 'test'), ('val', 'test')): good &= not groups[a] & groups[b]
    good &= size < 1.5e6 and n == dict(train=30, val=10, test=10)
    print('good' if good else 'NOT GOOD')
    return good

def colour(kind):
    order = sorted(LEAVES | HOLDERS | {'section', 'column', 'wrapper'})
    k = order.index(kind)
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(k * .618 % 1, 1 if k % 2 else .75, .9 if k % 3 else .65))

def drawn(folder, width, full=None):
    "One section with its elements' boxes and types."
    d, s = load(folder)
    picture = Image.open(full/f'{folder.name}.png' if full else s.screenshot).convert('RGB')
    k = width / picture.width
    picture = picture.resize((width, round(picture.height * k)), Image.Resampling.LANCZOS)
    scale, draw = width / s.size[0], ImageDraw.Draw(picture)
    font = ImageFont.truetype('DejaVuSans.ttf', 10 if width > 500 else 8)
    for e in s.layout:
        x, y, w, h = (v * scale for v in e.box)
        draw.rectangle((x, y, x + w, y + h), outline=colour(e.type), width=2 if e.type in LEAVES else 1)
        if e.type != 'section' and (width > 500 or e.type in LEAVES):
            label = e.type + ('' if len(e.sources) == 1 else f' {len(e.sources)}')
            at = (x + 2, y + 1)
            draw.rectangle(draw.textbbox(at, label, font=font), fill='white')
            draw.text(at, label, fill=colour(e.type), font=font)
    return picture

def sheet(path:Path, out:Path=OUT, full:Path|None=None, match:str='', width:int=384, columns:int=4):
    "All sections side by side, each with its boxes."
    tops, ims = [0] * columns, []
    for f in sorted(out.glob(f'*/{match}*/')):
        d, _ = load(f)
        im = drawn(f, width if d['screenshot']['width'] == 1440 else width // 2, full)
        c = tops.index(min(tops))
        ims.append((c * (width + 12), tops[c], im, f.name))
        tops[c] += im.height + 26
    page = Image.new('RGB', (columns * (width + 12), max(tops)), '#888')
    for x, y, im, name in ims:
        page.paste(im, (x, y + 14))
        ImageDraw.Draw(page).text((x, y), name, fill='white', font=ImageFont.truetype('DejaVuSans.ttf', 11))
    page.save(path)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', type=Path, default=OUT)
    p.add_argument('--check', action='store_true', help='check what is there; render nothing')
    p.add_argument('--sheet', type=Path, help='draw what is there; render nothing')
    p.add_argument('--full', type=Path, help='folder for the pictures at full size; --sheet then draws on them')
    p.add_argument('--site', nargs='*', help='render these sites only')
    p.add_argument('--match', default='', help='with --sheet: names that begin so')
    p.add_argument('--width', type=int, default=384)
    p.add_argument('--columns', type=int, default=4)
    a = p.parse_args()
    if a.sheet: sheet(a.sheet, a.out, a.full, a.match, a.width, a.columns)
    else:
        if not a.check: make(a.out, a.full, a.site)
        sys.exit(not check(a.out))
