"One public symbol as Markdown: heading, typed signature, docstring, parameter table."
import inspect
import re
import warnings
from html import escape

from fastcore.docments import docments

warnings.filterwarnings('ignore', 'Unknown section')   # a docstring inherited from another library
EMPTY = inspect.Parameter.empty

def find(mod, name):
    "`Class.method` in a module, without calling its descriptors."
    obj = getattr(mod, name.split('.')[0])
    for part in name.split('.')[1:]: obj = inspect.getattr_static(obj, part)
    return obj

def typed(x):
    "A type as one writes it: `Path | None`, not `pathlib.Path | None`."
    if x in (EMPTY, None): return ''
    return x.__name__ if inspect.isclass(x) and not hasattr(x, '__args__') else re.sub(r'(?:\w+\.)+(?=\w)', '', str(x)).strip("'")

def default(p):
    if p.default is EMPTY: return ''
    if repr(p.default) == '<factory>': return f"{typed(p.annotation).split('[')[0]}()"      # a dataclass field
    said = p.default.__name__ if hasattr(p.default, '__name__') else re.sub(r' at 0x\w+', '', repr(p.default))
    return said if len(said) <= 40 else said[:37] + '...'

def signature(obj):
    "Its parameters, without `self`; None where Python knows none."
    if inspect.isclass(obj) and issubclass(obj, BaseException): return None
    try: sig = inspect.signature(obj)
    except (ValueError, TypeError): return None
    return sig.replace(parameters=[p for i, p in enumerate(sig.parameters.values()) if (i, p.name) not in ((0, 'self'), (0, 'cls'))])

def written(name, obj, sig):
    "The signature as Python would have it, on one line if it is short."
    if sig is None: return f"class {name}({', '.join(b.__name__ for b in obj.__bases__)})"
    parts, star, back = [], False, typed(sig.return_annotation)
    for p in sig.parameters.values():
        if p.kind == p.KEYWORD_ONLY and not star: parts.append('*')
        star = star or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        mark, typ, dflt = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, ''), typed(p.annotation), default(p)
        parts.append(mark + p.name + (f': {typ}' if typ else '') + (f'{" = " if typ else "="}{dflt}' if dflt else ''))
    start = f"{'class ' if inspect.isclass(obj) else ''}{name}("
    end = ')' + (f' -> {back}' if back and not inspect.isclass(obj) else '')
    line = start + ', '.join(parts) + end
    return line if len(line) <= 84 else start + ''.join(f'\n    {p},' for p in parts) + '\n' + end

def parameters(obj, sig, link):
    "The table of documented parameters, or nothing."
    try: given = docments(obj, full=True, args_kwargs=True)
    except (ValueError, TypeError, OSError): return ''
    said = lambda name: (given.get(name) or {}).get('docment') or ''
    rows = [(p.name, typed(p.annotation), default(p), said(p.name)) for p in sig.parameters.values()]
    if said('return') and not inspect.isclass(obj): rows.append(('returns', typed(sig.return_annotation), '', said('return')))
    if not any(r[3] for r in rows): return ''
    return table(('Parameter', 'Type', 'Default', 'Meaning'), rows, link)

def methods(cls, link):
    "A class's own public methods and properties that have a docstring; those patched on later have entries of their own."
    rows = []
    for name, o in vars(cls).items():
        f = getattr(o, 'fget', None) or getattr(o, 'func', None) or getattr(o, '__func__', o)
        if name[0] == '_' or not callable(f) or not (f.__doc__ or '').strip() or not getattr(f, '__qualname__', '').startswith(cls.__name__ + '.'): continue
        call = '' if f is not o and not isinstance(o, (staticmethod, classmethod)) else written('', f, signature(f))
        rows.append((name + call, inspect.getdoc(f).split('\n\n')[0]))
    return table(('Method', 'Meaning'), rows, link) if rows else ''

def plain(text):
    "Text that Markdown leaves alone where it is not in backticks: no tags, no attribute lists, no table bars."
    parts = (text or '').split('`')
    for i in range(0, len(parts), 2): parts[i] = re.sub('[<{}|]', lambda m: f'&#{ord(m[0])};', parts[i])
    return '`'.join(parts)

def table(head, rows, link):
    cols = [i for i in range(len(head)) if any(r[i] for r in rows)]
    def cell(i, s):
        if i == len(head) - 1: return link(plain(s).replace('|', '\\|').replace('\n', ' '))
        return f'<code>{escape(s)}</code>'.replace('|', '&#124;').replace('*', '&#42;').replace('_', '&#95;').replace('{', '&#123;') if s else ''
    lines = [[head[i] for i in cols], ['---' for _ in cols], *([cell(i, r[i]) for i in cols] for r in rows)]
    return '\n'.join(['<div class="params" markdown>', '', *('| ' + ' | '.join(o) + ' |' for o in lines), '', '</div>'])

def show(mod, name, link=lambda s: s):
    "The documentation of the symbol `name` of module `mod`; `link` turns names in backticks into links."
    obj = find(mod, name)
    head = f'### {name} {{ #{name.lower()} .symbol data-toc-label="{name}" }}'
    got = getattr(obj, 'fget', None) or (getattr(obj, 'func', None) if not callable(obj) else None)   # a property, cached or not
    if got: return f'{head}\n\n*property* {link(plain(inspect.getdoc(got)))}'
    obj = getattr(obj, '__func__', obj)
    sig = signature(obj)
    doc = link(plain(inspect.getdoc(obj))) if not inspect.isclass(obj) or '__doc__' in vars(obj) and not (obj.__doc__ or '').startswith(name + '(') else ''
    parts = [head, f'``` {{ .python .signature }}\n{written(name, obj, sig)}\n```', doc, parameters(obj, sig, link) if sig else '']
    if inspect.isclass(obj): parts.append(methods(obj, link))
    return '\n\n'.join(p for p in parts if p)
