"""python docs/build.py [--strict] [--readme]: the notebooks as a site in docs/site/, or nbs/index.ipynb as README.md.

nbdev's processors decide what a page shows (an exported cell gives way to its documentation, a hidden one goes), this file writes that as
plain Markdown into docs/_src/, and mkdocs-material builds it. No cell is run, nothing is fetched, and the site asks nothing of the network."""
import importlib
import logging
import os
import re
import shutil
import sys
from base64 import b64decode
from pathlib import Path

from fastcore.nbio import read_nb
from fill import NBS, ROOT, notebooks
from nbdev import processors as procs
from nbdev.config import nbpath2html
from nbdev.doclinks import NbdevLookup
from nbdev.process import NBProcessor
from render import show

DOCS = ROOT/'docs'
SRC, SITE = DOCS/'_src', DOCS/'site'
ROOMS = {'0': 'Data', '1': 'Diffusion', '2': 'Training', '3': 'Use'}       # the first digit of a notebook's number
PICTURES = 'image/png', 'image/gif', 'image/jpeg', 'image/svg+xml'

class docs_in_order(procs.Processor):
    "`add_show_docs` puts the functions of one cell in reverse; this turns each run of them round."
    def begin(self):
        cells, out, run = self.nb.cells, [], []
        for c in [*cells, None]:
            if getattr(c, 'has_sd', False): run.insert(0, c)
            else: out, run = [*out, *run, *([c] if c else [])], []
        cells[:] = out

SHOWN = [procs.populate_language, procs.add_show_docs, docs_in_order, procs.strip_ansi, procs.hide_line, procs.filter_stream_, procs.rm_header_dash,
         procs.rm_export, procs.clean_magics, procs.hide_, procs.add_links, procs.mv_exports]

# ---------------------------------------------------------------- names and links
def page(path):
    "nbs/10_schedule.ipynb -> schedule.md, nbs/09a_convert.coco.ipynb -> convert.coco.md"
    return nbpath2html(Path(path).relative_to(NBS)).with_suffix('.md').as_posix()

def module(nb):
    "The module that a notebook exports to, or None; `convert.coco` is layoutdiff/convert/coco.py."
    found = next((c.directives['default_exp'] for c in nb.cells if c.cell_type == 'code' and 'default_exp' in c.directives), None)
    return found and found.removesuffix('.__init__')

def title(nb):
    return next((m[1] for c in nb.cells if c.cell_type == 'markdown' and (m := re.search(r'^# +(.+)$', c.source, re.M))), 'Untitled')

def to(target, here): return os.path.relpath(target, os.path.dirname(here) or '.')

def relink(text, path):
    "Links to notebooks, `[x](01_html.ipynb#y)`, and nbdev's to symbols, `[x](/html.html#y)`, become links between pages."
    def notebook(m):
        target = (path.parent/m[1]).resolve()
        return f"]({to(page(target), page(path))}{m[2] or ''})" if target.is_relative_to(NBS) else m[0]
    def project(m): return f"]({to(m[1], page(path))})"
    text = re.sub(r'\]\((?!https?:)([^)#\s]+\.ipynb)(#[^)\s]*)?\)', notebook, text)
    text = re.sub(r'\]\((?:\.\./)+(CHANGELOG\.md|CONTRIBUTING\.md)\)', project, text)
    return re.sub(r'\]\(/+([\w./-]+)\.html(#[\w.]+)?\)', lambda m: f"]({to(m[1] + '.md', page(path))}{m[2] or ''})", text)

# ---------------------------------------------------------------- cells
def fence(text, kind, fold=25):
    "A block of code or output; a long output is folded."
    ticks = '`'*max(3, 1 + max(map(len, re.findall('`+', text)), default=0))
    n, text = text.rstrip('\n').count('\n') + 1, text.rstrip('\n')
    block = f'{ticks} {{ {kind} }}\n{text}\n{ticks}'
    if 'output' not in kind or n <= fold: return block
    return f'<details class="long" markdown>\n<summary>Output, {n} lines</summary>\n\n{block}\n\n</details>'

def picture(data):
    "The kind and bytes of the picture among an output's forms, or None."
    for k in PICTURES:
        if k in data: return k.split('/')[1].split('+')[0], ''.join(data[k]).encode() if 'svg' in k else b64decode(''.join(data[k]))

def output(out, save):
    "One output as Markdown; `save(kind, bytes)` stores a picture and gives its address."
    if out.output_type == 'stream': return fence(''.join(out.text), '.text .output')
    if out.output_type == 'error': raise ValueError('a stored output is an error: run docs/fill.py')
    data = {k: v if isinstance(v, str) else ''.join(v) for k, v in out.data.items() if k.startswith('text/')}
    if pic := picture(out.data): return f'![Picture drawn by the code above]({save(*pic)}){{ .drawn }}'
    if 'text/html' in data:
        bare = re.sub(r'<style scoped>.*?</style>|(?<=<table) border="1"', '', data['text/html'], flags=re.S)      # pandas'
        return '<div class="drawn-html">\n' + re.sub(r'\n\s*\n', '\n', bare).strip() + '\n</div>'
    return data.get('text/markdown') or (fence(data['text/plain'], '.text .output') if data.get('text/plain') else '')

def callouts(text):
    "Quarto's `::: {.callout-note}` as an admonition."
    inner = lambda m: f'!!! {m[1]}\n\n' + '\n'.join('    ' + o for o in m[2].strip().splitlines()) + '\n'
    return re.sub(r'^:::+ *\{\.callout-(\w+)[^}]*\}\n(.*?)^:::+ *$', inner, text, flags=re.M | re.S)

def lead(text, name):
    "A page's subtitle, `> ...` under its heading, set large, with the module the page is about above it."
    what = f'`layoutdiff.{name}`{{ .module }}\n\n' if name else ''
    def sub(m): return m[1] + what + ' '.join(o.lstrip('> ') for o in m[2].strip().splitlines()) + '\n{ .lead }\n\n'
    return re.sub(r'\A(\s*# .+\n+)((?:>.*(?:\n|\Z))+)', sub, text)

def markdown(path):
    "A notebook as a page of the site; its pictures go to _src/img."
    name, made, n = module(read_nb(path)), [], 0
    link = lambda s: NbdevLookup().linkify(s) or ''
    proc = NBProcessor(path, procs=SHOWN, rm_directives=True)
    proc.process()
    def save(kind, raw):
        nonlocal n
        n += 1
        file = f"img/{page(path)[:-3].replace('/', '-')}-{n}.{kind}"
        (SRC/file).parent.mkdir(parents=True, exist_ok=True)
        (SRC/file).write_bytes(raw)
        return to(file, page(path))
    for c in proc.nb.cells:
        flags = getattr(c, 'directives_', {})
        if c.cell_type == 'markdown': made.append(callouts(c.source))
        elif c.cell_type == 'code' and (m := re.match(r'show_doc\(([\w.]+)', c.source)):
            made.append(show(importlib.import_module(f'layoutdiff.{name}'), m[1], link))
        elif c.cell_type == 'code':
            if c.source.strip() and 'hide_input' not in flags and flags.get('echo') != 'false': made.append(fence(c.source.strip(), '.python'))
            if flags.get('output') != 'false': made += [output(o, save) for o in c.get('outputs', [])]
    return lead(relink('\n\n'.join(made), path), name) + '\n'

# ---------------------------------------------------------------- the site
def navigation():
    "Home, then tutorials, how-to, the numbered reference in its rooms, results."
    nbs = {p: read_nb(p) for p in notebooks()}
    def shelf(folder): return [{title(nb): page(p)} for p, nb in nbs.items() if p.parent == NBS/folder]
    rooms = {}
    for p, nb in nbs.items():
        if p.parent == NBS and p.name[0] in ROOMS: rooms.setdefault(ROOMS[p.name[0]], []).append({module(nb) or title(nb): page(p)})
    loose = [{title(nb): page(p)} for p, nb in nbs.items() if p.parent == NBS and not p.name[0].isdigit() and p.stem != 'index']
    nav = [{'Start': [{'Home': 'index.md'}, *loose]}, {'Tutorials': shelf('tutorials')}, {'How-to': shelf('howto')},
           *({f'Reference: {room.lower()}': pages} for room, pages in rooms.items()), {'Results': shelf('results')}, {'Explanations': shelf('explanations')},
           {'Project': [{'Changes': 'CHANGELOG.md'}, {'Contributing': 'CONTRIBUTING.md'}]}]
    return [o for o in nav if all(o.values())]

def build(strict=False):
    "Write the Markdown, then the site; false where something is wrong."
    from mkdocs.commands.build import build as mkdocs
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort
    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    os.environ.setdefault('SOURCE_DATE_EPOCH', '0')                         # no clock in the sitemap
    for o in (SRC, SITE): shutil.rmtree(o, ignore_errors=True)
    shutil.copytree(DOCS/'style', SRC/'style')
    for name in ('CHANGELOG.md', 'CONTRIBUTING.md'):
        text = re.sub(r'\]\(nbs/([^)#]+\.ipynb)', lambda m: f']({page(NBS/m[1])}', (ROOT/name).read_text(encoding='utf-8'))
        (SRC/name).write_text(text, encoding='utf-8')
    for p in NBS.rglob('*'):
        if p.suffix in ('.png', '.svg', '.gif', '.jpg'):
            (SRC/p.relative_to(NBS)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(p, SRC/p.relative_to(NBS))
    for p in notebooks():
        try: text = markdown(p)
        except Exception as e: raise RuntimeError(f'{p.relative_to(ROOT)} cannot be made a page: {type(e).__name__}: {e}') from e
        (SRC/page(p)).parent.mkdir(parents=True, exist_ok=True)
        (SRC/page(p)).write_text(text, encoding='utf-8')
    cfg = load_config(str(DOCS/'mkdocs.yml'), nav=navigation(), strict=strict)
    try:
        cfg.plugins.on_startup(command='build', dirty=False)
        mkdocs(cfg)
    except Abort as e: return print(e, file=sys.stderr)
    finally: cfg.plugins.on_shutdown()
    return not (far := fetched()) or print('The site would fetch from elsewhere:', *far, sep='\n  ', file=sys.stderr)

def fetched():
    "Scripts, styles, pictures and frames that a page of the site would load from another host."
    loads = re.compile(r'<(?:script|img|iframe|source|video)[^>]*\ssrc="((?:https?:)?//[^"]*)|<link[^>]*\shref="((?:https?:)?//[^"]*)[^>]*>')
    return sorted({f'{p.relative_to(SITE)}: {m[1] or m[2]}' for p in SITE.rglob('*.html') for m in loads.finditer(p.read_text(encoding='utf-8'))})

# ---------------------------------------------------------------- the README
def readme():
    "nbs/index.ipynb as README.md and its pictures: `{path: bytes}`."
    files, made = {}, []
    def save(kind, raw):
        name = f'docs/img/readme-{len(files) + 1}.{kind}'
        files[name] = raw
        return name
    for c in read_nb(NBS/'index.ipynb').cells:
        source, flags = re.sub(r'^#\|.*\n?', '', c.source, flags=re.M).strip(), c.directives if c.cell_type == 'code' else {}
        if c.cell_type == 'markdown': made.append(re.sub(r'\]\((?!https?:|#)([^)\s]+)', lambda m: f"]({os.path.normpath('nbs/' + m[1])}", c.source))
        elif c.cell_type == 'code' and 'hide' not in flags:
            if source and 'hide_input' not in flags: made.append(f'```python\n{source}\n```')
            made += [re.sub(r'(?m)^(`+|!\[.*?\]\(.*?\)) ?\{.*\}$', r'\1', text) for o in c.get('outputs', []) if (text := output(o, save))]
    text = '<!-- Written by `python docs/build.py --readme` from nbs/index.ipynb: edit that. -->\n\n' + '\n\n'.join(made) + '\n'
    return {**files, 'README.md': text.encode()}

def main(*args):
    if '--readme' not in args: sys.exit(0 if build('--strict' in args) else 1)
    for name, raw in readme().items():
        (ROOT/name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT/name).write_bytes(raw)

if __name__ == '__main__': main(*sys.argv[1:])
