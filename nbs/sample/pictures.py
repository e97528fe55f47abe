"Pictures for the sample, drawn as SVG from a seed: stand-ins for photographs, icons, logos, maps."
import base64
from pathlib import Path
from random import Random
from zlib import crc32

def hsl(h, s, l): return f'hsl({h % 360:.0f} {s:.0f}% {l:.0f}%)'

def uri(svg): return 'data:image/svg+xml;base64,' + base64.b64encode(svg.encode()).decode()

def rect(x, y, w, h, fill, rx=0, more=''):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{rx}" fill="{fill}" {more}/>'

def circle(x, y, r, fill, more=''): return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}" {more}/>'

def ellipse(x, y, rx, ry, fill, more=''): return f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{rx:.1f}" ry="{ry:.1f}" fill="{fill}" {more}/>'

def path(d, fill, more=''): return f'<path d="{d}" fill="{fill}" {more}/>'

def line(d, colour, width): return path(d, 'none', f'stroke="{colour}" stroke-width="{width}"')

def backdrop(w, h, top, bottom, name='g'):
    return (f'<defs><linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{top}"/>'
            f'<stop offset="1" stop-color="{bottom}"/></linearGradient></defs>' + rect(0, 0, w, h, f'url(#{name})'))

def ridge(r, w, h, y, rough, fill):
    "A hill line from left to right at height `y`, filled to the bottom."
    n = 5
    pts = [(w * i / n, y + r.uniform(-rough, rough)) for i in range(n + 1)]
    d = f'M0 {h} L0 {pts[0][1]:.0f}'
    for (x0, y0), (x1, y1) in zip(pts, pts[1:]):
        m = (x0 + x1) / 2
        d += f' C{m:.0f} {y0:.0f} {m:.0f} {y1:.0f} {x1:.0f} {y1:.0f}'
    return path(d + f' L{w} {h} Z', fill)

def hills(r, w, h, hue):
    out = backdrop(w, h, hsl(hue + 170, 35, 78), hsl(hue + 200, 55, 90)) + circle(w * r.uniform(.2, .8), h * .28, h * .09, hsl(45, 90, 88))
    return out + ''.join(ridge(r, w, h, h * (.45 + .14 * k), h * .07, hsl(hue + 4 * k, 28 + 5 * k, 62 - 12 * k)) for k in range(4))

def sea(r, w, h, hue):
    out = backdrop(w, h, hsl(hue, 55, 62), hsl(hue + 20, 60, 88)) + circle(w * r.uniform(.25, .75), h * .42, h * .12, hsl(42, 95, 86))
    out += ''.join(ridge(r, w, h, h * (.55 + .11 * k), h * .025, hsl(hue + 5, 50, 52 - 9 * k)) for k in range(4))
    x = w * r.uniform(.3, .7)
    return (out + path(f'M{x:.0f} {h*.6:.0f} v-{h*.2:.0f} l{h*.13:.0f} {h*.18:.0f} Z', '#fff')
        + path(f'M{x-h*.08:.0f} {h*.61:.0f} h{h*.24:.0f} l-{h*.05:.0f} {h*.05:.0f} h-{h*.14:.0f} Z', hsl(hue, 40, 24)))

def portrait(r, w, h, hue):
    skin, hair, coat = (r.choice(['#e8b894', '#c68a62', '#8d5a3c', '#f0c9a8', '#6e4630']),
        r.choice(['#2b211d', '#5a3a24', '#b8864a', '#8a8580', '#3a2a3a']),
        hsl(hue + r.choice([0, 40, 180]), 35, r.choice([30, 45, 60])))
    cx, u = w / 2, min(w, h)
    y, R = h * .44, u * .17
    out = backdrop(w, h, hsl(hue + r.randrange(60), 28, 86), hsl(hue + 20, 30, 68))
    if r.random() < .5: out += ellipse(cx, y + R * .5, R * 1.3, R * 1.9, hair)
    out += path(f'M{cx-u*.38:.0f} {h} C{cx-u*.36:.0f} {h*.72:.0f} {cx-u*.14:.0f} {h*.7:.0f} {cx:.0f} {h*.7:.0f} S{cx+u*.36:.0f} '
        f'{h*.72:.0f} {cx+u*.38:.0f} {h} Z', coat)
    out += rect(cx - R * .35, y + R * .7, R * .7, u * .17, skin, R * .3) + ellipse(cx, y, R * .9, R * 1.12, skin)
    return (out + path(f'M{cx-R:.0f} {y:.0f} C{cx-R*1.1:.0f} {y-R*1.7:.0f} {cx+R*1.1:.0f} {y-R*1.7:.0f} {cx+R:.0f} {y:.0f} '
        f'C{cx+R*.7:.0f} {y-R*.7:.0f} {cx-R*.3:.0f} {y-R*.9:.0f} {cx-R:.0f} {y:.0f} Z', hair))

def building(r, w, h, hue):
    out = backdrop(w, h, hsl(hue + 10, 22, 70), hsl(hue + 30, 25, 92))
    for k in range(3):
        bw, bh, x = w * r.uniform(.26, .4), h * (.5 + .14 * k), w * (.02 + .3 * k) + r.uniform(-.03, .03) * w
        out += rect(x, h - bh, bw, bh, hsl(hue, 10 + 3 * k, 78 - 17 * ((k + 1) % 3)))
        n, m = r.choice([3, 4, 5]), r.choice([5, 6, 8])
        for i in range(n):
            for j in range(m):
                out += rect(x + bw * (i + .22) / n, h - bh + bh * (j + .25) / m, bw / n * .56, bh / m * .5,
                    hsl(hue + 190, 25, 88 if r.random() < .3 else 34))
    return out + rect(0, h * .94, w, h * .06, hsl(hue, 8, 40))

def room(r, w, h, hue):
    out = rect(0, 0, w, h, hsl(hue, 24, 86)) + rect(0, h * .74, w, h * .26, hsl(hue + 10, 25, 66))
    out += (rect(w * .08, h * .1, w * .26, h * .42, hsl(hue + 180, 30, 90), 3) + rect(w * .2, h * .1, w * .015, h * .42, '#fff')
        + rect(w * .08, h * .3, w * .26, h * .015, '#fff'))
    s = hsl(hue + r.choice([0, 150, 200]), 32, 45)
    out += rect(w * .34, h * .54, w * .46, h * .24, s, h * .04) + rect(w * .31, h * .6, w * .52, h * .2, s, h * .05, 'opacity=".85"')
    out += (rect(w * .885, h * .32, w * .01, h * .46, '#333')
        + path(f'M{w*.84:.0f} {h*.34:.0f} l{w*.025:.0f} -{h*.14:.0f} h{w*.05:.0f} l{w*.025:.0f} {h*.14:.0f} Z', hsl(44, 85, 74)))
    return (out + rect(w * .52, h * .16, w * .2, h * .24, hsl(hue + 30, 40, 62), 2)
        + circle(w * .62, h * .28, h * .07, hsl(hue + 60, 60, 80)))

def cup(r, w, h, hue):
    u, cx, cy = min(w, h), w * r.uniform(.42, .58), h * r.uniform(.46, .56)
    out = rect(0, 0, w, h, hsl(hue, 26, 56))
    out += ''.join(rect(0, h * i / 7, w, h / 7 - 3, hsl(hue + r.uniform(-4, 4), 26, 58 + r.uniform(-4, 4))) for i in range(7))
    out += (circle(cx + u * .03, cy + u * .04, u * .36, '#0002') + circle(cx, cy, u * .35, '#f7f3ec')
        + circle(cx, cy, u * .3, '#ece4d8') + circle(cx, cy, u * .21, '#fffdf9') + circle(cx, cy, u * .185, '#7b4a2b'))
    out += path(f'M{cx:.0f} {cy+u*.12:.0f} C{cx-u*.2:.0f} {cy-u*.02:.0f} {cx-u*.07:.0f} {cy-u*.16:.0f} {cx:.0f} {cy-u*.05:.0f} '
        f'C{cx+u*.07:.0f} {cy-u*.16:.0f} {cx+u*.2:.0f} {cy-u*.02:.0f} {cx:.0f} {cy+u*.12:.0f} Z', '#e9cfae')
    return out + rect(cx + u * .19, cy - u * .025, u * .1, u * .05, '#fffdf9', 8)

def bag(r, w, h, hue):
    u, cx = min(w, h), w / 2
    c = hsl(hue + r.randrange(0, 320), 38, r.choice([34, 46, 58]))
    out = rect(0, 0, w, h, hsl(hue, 30, 90)) + ellipse(cx, h * .86, u * .3, u * .03, '#0002')
    out += (path(f'M{cx-u*.22:.0f} {h*.2:.0f} h{u*.44:.0f} l{u*.03:.0f} {h*.66:.0f} h-{u*.5:.0f} Z', c)
        + rect(cx - u * .23, h * .17, u * .46, h * .05, hsl(hue, 20, 28)))
    return (out + rect(cx - u * .15, h * .42, u * .3, h * .26, '#fbf6ee', 2) + circle(cx, h * .51, u * .05, c)
        + rect(cx - u * .1, h * .6, u * .2, h * .02, '#333') + rect(cx - u * .06, h * .635, u * .12, h * .014, '#999'))

def pendant(cx, y, u, kind, shade):
    "One hanging lamp with its glow; `u` is its scale, `y` where its cord ends."
    out = circle(cx, y + u * .1, u * .5, 'url(#glow)') + rect(cx - 1.5, 0, 3, y, '#15130f')
    if kind == 0: return out + circle(cx, y + u * .1, u * .17, '#fff3d0') + rect(cx - u * .04, y - u * .1, u * .08, u * .06, '#b98d4a')
    if kind == 1: return (out + path(f'M{cx-u*.06:.0f} {y-u*.08:.0f} h{u*.12:.0f} l{u*.17:.0f} {u*.26:.0f} h-{u*.46:.0f} Z', shade)
        + ellipse(cx, y + u * .18, u * .23, u * .03, '#fff3d0'))
    return (out + path(f'M{cx-u*.27:.0f} {y+u*.14:.0f} a{u*.27:.0f} {u*.22:.0f} 0 0 1 {u*.54:.0f} 0 Z', shade)
        + ellipse(cx, y + u * .14, u * .27, u * .03, '#fff3d0'))

GLOW = ('<defs><radialGradient id="glow"><stop offset="0" stop-color="#ffe9b0" stop-opacity=".75"/>'
        '<stop offset="1" stop-color="#ffe9b0" stop-opacity="0"/></radialGradient></defs>')

def lamp(r, w, h, hue):
    shade, kind = hsl(hue + r.randrange(360), 30, r.choice([30, 42, 72])), r.randrange(3)
    return backdrop(w, h, hsl(hue, 14, 24), hsl(hue + 20, 18, 38)) + GLOW + pendant(w / 2, h * r.uniform(.36, .46), min(w, h), kind, shade)

def lamps(r, w, h, hue):
    "A row of lamps along the top."
    shades = ['#b98d4a', '#d8cbb4', '#7c5a2c', '#e6dcc8']
    return (backdrop(w, h, hsl(hue, 14, 16), hsl(hue + 20, 16, 22)) + GLOW
        + ''.join(pendant(w * (.1 + .2 * k), h * r.uniform(.12, .34), h * .44, (k + 1) % 3, shades[k % 4]) for k in range(5)))

def book(r, w, h, hue):
    c, d = hsl(hue + r.randrange(360), 45, r.choice([28, 40, 62])), hsl(hue + r.randrange(360), 60, 78)
    out = rect(0, 0, w, h, c) + rect(0, 0, w * .035, h, '#0003')
    kind = r.randrange(4)
    if kind == 0: out += circle(w * .5, h * .6, w * .28, d)
    if kind == 1: out += ''.join(rect(w * .12, h * (.45 + .09 * k), w * .76, h * .04, d) for k in range(5))
    if kind == 2: out += (path(f'M{w*.1:.0f} {h*.92:.0f} L{w*.5:.0f} {h*.4:.0f} L{w*.9:.0f} {h*.92:.0f} Z', d)
        + circle(w * .72, h * .42, w * .1, '#fff8'))
    if kind == 3: out += ''.join(circle(w * (.2 + .2 * i), h * (.45 + .13 * j), w * .07, d) for i in range(4) for j in range(4))
    return (out + rect(w * .14, h * .1, w * .6, h * .05, '#fff') + rect(w * .14, h * .18, w * .42, h * .05, '#fff')
        + rect(w * .14, h * .28, w * .3, h * .02, '#fffa'))

def dash(r, w, h, hue):
    a, out = hsl(hue, 70, 52), rect(0, 0, w, h, '#fbfcfe') + rect(0, 0, w * .17, h, hsl(hue, 40, 16))
    out += (circle(w * .04, h * .08, h * .03, a)
        + ''.join(rect(w * .03, h * (.2 + .085 * k), w * (.07 + .02 * (k % 3)), h * .022, '#ffffff55' if k else '#fff', 3)
        for k in range(7)))
    for k in range(3): out += (rect(w * (.2 + .265 * k), h * .07, w * .245, h * .19, '#fff', 8, 'stroke="#e3e8f0"')
        + rect(w * (.22 + .265 * k), h * .11, w * .09, h * .02, '#b6bfd0', 3)
        + rect(w * (.22 + .265 * k), h * .16, w * .13, h * .05, hsl(hue, 30, 22), 4))
    out += (rect(w * .2, h * .31, w * .51, h * .62, '#fff', 8, 'stroke="#e3e8f0"')
        + rect(w * .735, h * .31, w * .24, h * .62, '#fff', 8, 'stroke="#e3e8f0"'))
    for k in range(9):
        b = h * (.1 + .32 * r.random())
        out += rect(w * (.23 + .052 * k), h * .87 - b, w * .03, b, a if k % 2 else hsl(hue, 60, 80), 3)
    out += (circle(w * .855, h * .5, h * .11, 'none', f'stroke="{hsl(hue, 40, 90)}" stroke-width="{h*.045:.0f}"')
        + circle(w * .855, h * .5, h * .11, 'none',
        f'stroke="{a}" stroke-width="{h*.045:.0f}" stroke-dasharray="{h*.45:.0f} {h:.0f}"'))
    return (out + ''.join(circle(w * .765, h * (.7 + .07 * k), h * .014, hsl(hue + 60 * k, 60, 60))
        + rect(w * .785, h * (.69 + .07 * k), w * .13, h * .02, '#d5dbe6', 3) for k in range(3)))

def code(r, w, h, hue):
    out = (rect(0, 0, w, h, hsl(hue, 25, 11), 10)
        + ''.join(circle(20 + 18 * k, 20, 5, c) for k, c in enumerate(['#ff6159', '#ffbd2e', '#28c941'])))
    y = 52
    while y < h - 18:
        x = 24 + 22 * r.choice([0, 1, 1, 2])
        for _ in range(r.choice([1, 2, 3, 3])):
            n = r.uniform(30, w * .2)
            if x + n > w - 20: break
            out += rect(x, y, n, 8, r.choice([hsl(hue, 60, 68), hsl(hue + 120, 45, 62), '#8a92a6', '#c9d1e3']), 4)
            x += n + 10
        y += 21
    return out

def stage(r, w, h, hue):
    out = backdrop(w, h, hsl(hue, 60, 12), hsl(hue + 40, 70, 34))
    for k in range(6):
        x = w * (.08 + .17 * k)
        out += path(f'M{x:.0f} 0 L{x+w*r.uniform(-.25, .2):.0f} {h*.8:.0f} h{w*.12:.0f} Z',
            hsl(hue + r.choice([0, 40, 80, 300]), 90, 70), 'opacity=".28"')
    return (out + ''.join(circle(w * i / 18 + r.uniform(-8, 8), h * r.uniform(.86, .93), w * .028, '#0b0610')
        + rect(w * i / 18 - w * .03, h * .93, w * .075, h * .1, '#0b0610', 8) for i in range(19)))

def gym(r, w, h, hue):
    out = backdrop(w, h, hsl(hue, 12, 22), hsl(hue, 16, 38)) + rect(0, h * .8, w, h * .2, hsl(hue, 10, 14))
    y, c = h * r.uniform(.5, .62), hsl(hue, 85, 58)
    out += rect(w * .12, y - 4, w * .76, 8, '#d7dbe0', 4)
    for side in (-1, 1):
        for k, s in enumerate((.2, .25, .17)): out += rect(w / 2 + side * w * (.24 + .045 * k) - w * .018, y - h * s, w * .036,
            h * s * 2, c if k == 1 else '#10131a', 6)
    return out

def plant(r, w, h, hue):
    out = backdrop(w, h, hsl(hue, 26, 90), hsl(hue + 20, 30, 78))
    for k in range(r.choice([7, 9])):
        a, n = -80 + 160 * k / 8 + r.uniform(-8, 8), h * r.uniform(.38, .62)
        out += (f'<g transform="translate({w/2:.0f} {h*.82:.0f}) rotate({a:.0f})">'
            + path(f'M0 0 C{n*.22:.0f} -{n*.3:.0f} {n*.16:.0f} -{n*.8:.0f} 0 -{n:.0f} C-{n*.16:.0f} -{n*.8:.0f} -{n*.22:.0f} '
            f'-{n*.3:.0f} 0 0 Z', hsl(hue + r.uniform(-15, 15), 34, r.uniform(28, 52))) + '</g>')
    return out + path(f'M{w/2-h*.14:.0f} {h*.76:.0f} h{h*.28:.0f} l-{h*.04:.0f} {h*.2:.0f} h-{h*.2:.0f} Z', hsl(18, 45, 58))

def clinic(r, w, h, hue):
    out = backdrop(w, h, '#fdfefe', hsl(hue, 35, 90)) + rect(0, h * .8, w, h * .2, hsl(hue, 20, 82))
    out += (rect(w * .06, h * .12, w * .3, h * .4, hsl(hue, 45, 84), 6)
        + ''.join(rect(w * .06, h * (.16 + .06 * k), w * .3, 3, '#fff') for k in range(6)))
    out += (path(f'M{w*.4:.0f} {h*.66:.0f} h{w*.26:.0f} l{w*.14:.0f} -{h*.24:.0f} l{w*.05:.0f} {h*.05:.0f} l-{w*.13:.0f} {h*.3:.0f} '
        f'h-{w*.32:.0f} Z', hsl(hue, 48, 48)) + rect(w * .53, h * .76, w * .05, h * .1, '#8fa0ad')
        + ellipse(w * .555, h * .87, w * .12, h * .02, '#7b8b97'))
    return (out + path(f'M{w*.9:.0f} 0 v{h*.14:.0f} l-{w*.16:.0f} {h*.09:.0f}', 'none', 'stroke="#aab8c2" stroke-width="7"')
        + ellipse(w * .73, h * .245, w * .06, h * .03, '#fff6d8', 'stroke="#aab8c2" stroke-width="3"'))

def street(r, w, h, hue):
    "A street map with a pin."
    out = (rect(0, 0, w, h, hsl(hue, 18, 93))
        + path(f'M0 {h*.75:.0f} C{w*.3:.0f} {h*.6:.0f} {w*.5:.0f} {h:.0f} {w} {h*.8:.0f} V{h} H0 Z', hsl(205, 55, 80)))
    out += rect(w * .08, h * .1, w * .2, h * .28, hsl(120, 32, 82), 6) + rect(w * .66, h * .4, w * .16, h * .2, hsl(120, 32, 84), 6)
    for k in range(7):
        x, y = w * (k + r.random() * .6) / 7, h * (k + r.random() * .6) / 7
        out += line(f'M{x:.0f} 0 L{x+w*r.uniform(-.1, .1):.0f} {h}', '#fff', r.choice([4, 6, 12]))
        out += line(f'M0 {y:.0f} L{w} {y+h*r.uniform(-.15, .15):.0f}', '#fff', r.choice([4, 6, 12]))
    out += line(f'M0 {h*.2:.0f} C{w*.4:.0f} {h*.25:.0f} {w*.6:.0f} {h*.6:.0f} {w} {h*.55:.0f}', '#f9d77e', 12)
    x, y, u = w * .5, h * .5, 34
    return (out + path(f'M{x:.0f} {y:.0f} C{x-u:.0f} {y-u*1.2:.0f} {x-u*.8:.0f} {y-u*2.1:.0f} {x:.0f} {y-u*2.1:.0f} S{x+u:.0f} '
        f'{y-u*1.2:.0f} {x:.0f} {y:.0f} Z', '#d8432f') + circle(x, y - u * 1.3, u * .32, '#fff'))

SCENES = {f.__name__: f for f in (hills, sea, portrait, building, room, cup, bag, lamp, lamps, book, dash, code, stage, gym, plant,
    clinic, street)}

def picture(kind, seed, w, h, hue=None):
    "An SVG data URI of `kind`; the same arguments draw the same picture."
    r = Random(crc32(f'{kind}-{seed}'.encode()))
    hue = r.randrange(360) if hue is None else hue
    return uri(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
        f'preserveAspectRatio="xMidYMid slice">{SCENES[kind](r, w, h, hue)}</svg>')

def tag(name, **attrs):
    "An opening tag; `_` in a name is `-`, empty values are left out."
    return f'<{name}' + ''.join(f' {k.strip("_").replace("_", "-")}="{v}"' for k, v in attrs.items() if v != '') + '>'

def img(kind, seed, w, h, cls='', alt='', hue=None, mark=''):
    "A picture that the stored structure knows by a file name, as on a real page."
    name, src = f'{kind}-{seed}.jpg', picture(kind, seed, w, h, hue)
    return tag('img', class_=cls, data_ld=mark, data_src=name, alt=alt, width=w, height=h, src=src)

PLAY = ("<i style='position:absolute;left:50%;top:50%;width:88px;height:60px;margin:-30px -44px;border-radius:16px;background:#000b'></i>"
        "<i style='position:absolute;left:50%;top:50%;margin:-14px -9px;border:14px solid transparent;border-left:24px solid #fff;"
        "border-right:0'></i>")

def frame(kind, seed, w, h, cls='', hue=None, src='', mark=''):
    "An iframe that shows a map, or a player with its play button."
    style = 'width:100%;height:100vh;object-fit:cover;display:block'
    doc = f"<body style='margin:0'><img style='{style}' src='{picture(kind, seed, w, h, hue)}'>" + (PLAY if kind != 'street' else '')
    return tag('iframe', class_=cls, data_ld=mark, data_src=src, width=w, height=h, srcdoc=doc) + '</iframe>'

def logo(name, colour='#222', cls='', mark='', serif=False):
    "A wordmark with a small sign before it."
    r, w, font = Random(crc32(name.encode())), f'{34 + 15.5 * len(name):.0f}', 'Liberation Serif' if serif else 'Liberation Sans'
    sign = r.choice([
        circle(15, 18, 11, colour) + circle(19, 14, 6, '#fff8'), rect(5, 8, 20, 20, colour, 6) + rect(11, 14, 8, 8, '#fff8', 4),
        path('M15 5 L27 29 H3 Z', colour), circle(10, 18, 8, colour) + circle(20, 18, 8, colour, 'opacity=".55"'),
        path('M4 8 h10 v10 h10 v10 h-20 Z', colour)])
    word = tag('text', x=36, y=26, font_family=font, font_weight='bold', font_size=24, fill=colour) + name + '</text>'
    svg = tag('svg', xmlns='http://www.w3.org/2000/svg', viewBox=f'0 0 {w} 36', width=w, height=36) + sign + word + '</svg>'
    file = name.lower().replace(' ', '-') + '.svg'
    return tag('img', class_=cls, data_ld=mark, data_src=file, alt=name, width=w, height=36, src=uri(svg))

ICONS = dict(line.split(' ', 1) for line in (Path(__file__).parent/'icons.txt').read_text().splitlines())   # 24 x 24 paths

def icon(name, cls='', mark=''):
    pen = dict(fill='none', stroke='currentColor', stroke_width=1.8, stroke_linecap='round', stroke_linejoin='round')
    return tag('svg', class_=cls, data_ld=mark, viewBox='0 0 24 24', width=24, height=24, **pen) + f'<path d="{ICONS[name]}"/></svg>'

STAR = 'M12 2l3 7 7 .6-5.3 4.7 1.7 7.2L12 17.6 5.6 21.5l1.7-7.2L2 9.6 9 9z'

def stars(cls=''):
    "Five stars in one picture."
    five = ''.join(f'<path transform="translate({26*k} 0)" d="{STAR}"/>' for k in range(5))
    return tag('svg', class_=cls, viewBox='0 0 128 24', width=107, height=20, fill='currentColor') + five + '</svg>'
