// What capture runs inside a page. layoutdiff/browser.py cuts this file at its `// ==` lines; the pages 08 and 08a explain the parts.

// == words: what an element is, and the elements below it, through shadow roots
const SKIP = new Set('SCRIPT STYLE HEAD TEMPLATE NOSCRIPT LINK META BASE TITLE'.split(' '))
const LANDMARK = new Set('HEADER FOOTER SECTION NAV ASIDE'.split(' '))
const HOLDER = new Set('BODY DIV MAIN ARTICLE FORM CENTER FIELDSET'.split(' '))
const css = el => getComputedStyle(el), tidy = s => s.replace(/\s+/g, ' ').trim()
const landmark = el => LANDMARK.has(el.tagName), holder = el => landmark(el) || HOLDER.has(el.tagName) || el.tagName.includes('-')
const below = el => [...(el.shadowRoot || el).children].flatMap(c => c.tagName == 'SLOT' ? c.assignedElements({flatten: true}) : [c])
  .filter(c => !SKIP.has(c.tagName))

// == reach: boxes, as left, top, right and bottom on the page; an element without area reaches as far as what it holds, unless it hides that
const hidden = el => css(el).display == 'none' || css(el).visibility == 'hidden' || css(el).opacity == 0
const union = boxes => { const b = boxes.filter(Boolean); return b.length ? [Math.min(...b.map(o => o[0])), Math.min(...b.map(o => o[1])),
  Math.max(...b.map(o => o[2])), Math.max(...b.map(o => o[3]))] : null }
const own = el => { const r = el.getBoundingClientRect()
  return r.width > 0 && r.height > 0 ? [r.left + scrollX, r.top + scrollY, r.right + scrollX, r.bottom + scrollY] : null }
const known = new Map(), shut = el => el.tagName == 'svg' || css(el).overflowY == 'hidden'
const reach = el => css(el).display == 'none' ? null : own(el) || (shut(el) ? null : union(below(el).map(box)))
const box = el => { if (!known.has(el)) known.set(el, reach(el)); return known.get(el) }

// == seen: whether an element shows anything, and whether it floats over others
const MEDIA = 'img,svg,video,canvas,iframe,picture,object,input,select,textarea,button'
const shows = el => !!(el.matches(MEDIA) || el.querySelector(MEDIA) || el.innerText?.trim() || css(el).backgroundImage.includes('url(') ||
  [el, ...el.querySelectorAll('*')].some(e => e.shadowRoot))
const seen = el => { const b = !hidden(el) && box(el); return b && b[2] > 0 && b[0] < innerWidth && b[3] > 0 && shows(el) }
const floats = el => { const p = css(el).position
  if (p == 'fixed' || p == 'absolute') return p
  if (own(el)) return ''
  const kids = below(el).filter(box).map(floats)
  return kids.length && kids.every(Boolean) ? kids[0] : '' }
const high = b => b[3] - b[1], wide = b => b[2] - b[0]
const shared = (a, b) => Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]))
const crosses = (a, b) => shared(a, b) > 2 && Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 2
const pageHeight = () => Math.ceil(Math.max(document.documentElement.scrollHeight, document.body ? document.body.scrollHeight : 0))

// == change: changes of styles, each written down so that the next width begins from the page as it was
const S = window[Symbol.for('layoutdiff')] ||= {old: new Map(), pieces: []}
const change = (el, style) => { if (!S.old.has(el)) S.old.set(el, [el.getAttribute('style'), css(el).position])
  for (const k in style) el.style.setProperty(k, style[k], 'important') }
const restore = () => { for (const [el, [style]] of S.old) style == null ? el.removeAttribute('style') : el.setAttribute('style', style)
  S.old.clear() }

// == still: sticky things go back to where they belong, a page that scrolls in an inner box is unrolled
const all = () => [...document.querySelectorAll('body, body *')]
const scrolls = el => /auto|scroll/.test(css(el).overflowY) && el.scrollHeight > 1.1 * el.clientHeight
const unroll = () => { for (const el of all())
  if (scrolls(el) && el.clientWidth >= .7 * innerWidth && el.clientHeight >= .7 * innerHeight)
    for (let e = el; e; e = e.parentElement) change(e, {height: 'auto', 'max-height': 'none', overflow: 'visible',
      ...(/fixed|absolute/.test(css(e).position) && {position: 'relative', inset: 'auto'})}) }
const still = () => { restore(); unroll()
  for (const el of all()) if (css(el).position == 'sticky') change(el, {position: 'relative', inset: 'auto'})
  for (const v of document.querySelectorAll('video')) { v.pause(); v.currentTime = 0 }
  document.activeElement?.blur() }

// == wake: ask for every lazy image, scroll through the page as a reader would, then wait for fonts and images
const wake = async limit => {
  document.querySelectorAll('img[loading=lazy], iframe[loading=lazy]').forEach(i => i.loading = 'eager')
  const wait = ms => new Promise(r => setTimeout(r, ms))
  for (let y = 0; y < Math.min(pageHeight(), limit); y += innerHeight) { scrollTo(0, y); await wait(40) }
  scrollTo(0, pageHeight()); await wait(40); scrollTo(0, 0)
  await document.fonts.ready
  await Promise.all([...document.images].filter(i => i.src || i.srcset).map(i => i.decode().catch(() => 0)))
}
// height, elements and letters: what grows while a page is loading
const grown = () => document.body ? [pageHeight(), document.getElementsByTagName('*').length, document.body.innerText.length] : []

// == bands: whether an element is a band; `all` are the elements beside it, `into` is the inner box of their parent
const header = (el, b, W) => wide(b) >= .9 * W && high(b) <= .4 * innerHeight && b[1] < 150
const isBand = (k, all, into) => {
  if (!holder(k) || high(box(k)) < 24) return false
  const b = box(k), W = wide(into)
  const stacked = all.every(o => o == k || shared(b, box(o)) <= .3 * Math.min(high(b), high(box(o))))
  const centred = wide(b) >= .5 * W && Math.abs(b[0] + b[2] - into[0] - into[2]) <= .04 * W
  return stacked && (landmark(k) || wide(b) >= .9 * W || centred)
}
const inside = el => { const s = css(el), b = own(el) || box(el) || [0, 0, innerWidth, 0], px = v => parseFloat(v) || 0
  return [b[0] + px(s.paddingLeft), b[1], b[2] - px(s.paddingRight), b[3]] }

// == again: whether a band is divided again; `parts` is what it would fall into
const again = (k, parts) => { const solid = parts.filter(p => !p.over)
  if (solid.length < 2) return false
  const bands = solid.filter(p => p.els.some(landmark)).length, large = high(box(k)) > 1000 && high(box(k)) > pageHeight() / 2
  return landmark(k) ? large && bands > 1 : k.tagName == 'MAIN' || k.role == 'main' || bands > 0 || large }

// == divide: the sections below an element, as pieces {els, over}: the nodes at its top, and whether it floats over the others
const divide = el => {
  const into = inside(el), kids = below(el).filter(seen), W = wide(into)
  const loose = kids.filter(k => floats(k) == 'fixed' || floats(k) && kids.some(o => o != k && !floats(o) && crosses(box(k), box(o))))
  const over = loose.length < kids.length ? loose : []
  const solid = kids.filter(k => !over.includes(k)), out = over.filter(k => header(k, box(k), W)).map(k => ({els: [k], over: true}))
  if ([...el.childNodes].some(n => n.nodeType == 3 && n.data.trim())) return [{els: [el]}]
  const bands = solid.length > 400 ? [] : solid.filter(k => isBand(k, solid, into))
  const parts = new Map(bands.map(k => [k, divide(k)])), more = k => parts.has(k) && again(k, parts.get(k))
  if (solid.length == 1 && holder(solid[0]) && (!landmark(solid[0]) || more(solid[0])))
    return [...out, ...(parts.get(solid[0]) || divide(solid[0]))]
  if (bands.length < 2 && !bands.some(k => landmark(k) || more(k))) return out.length ? [...out, {els: solid}] : [{els: [el]}]
  let run = []
  const flush = () => { if (run.length) out.push({els: run}); run = [] }
  for (const k of solid)
    if (parts.has(k)) { flush(); out.push(...(more(k) ? parts.get(k) : [{els: [k]}])) } else run.push(k)
  flush()
  return out
}

// == hints: the computed style of an element that a layout needs
const INLINE = new Set('STRONG EM B I BR MARK SMALL SUP SUB U A SPAN CODE TIME'.split(' '))
const ATTRS = 'href src alt type role poster placeholder name action title aria-label'.split(' ')
const brief = v => v.startsWith('data:') ? v.slice(0, 40).split(',')[0] : v.slice(0, 1000)
const words = el => tidy([...el.childNodes].filter(n => n.nodeType == 3).map(n => n.data).join(' '))
const plain = el => [...el.children].every(c => INLINE.has(c.tagName) && plain(c))
const tracks = s => tidy(s.replace(/\[[^\]]*\]/g, ' ')).split(' ').length
const hints = el => { const s = css(el), out = {}, p = (S.old.get(el) || [0, s.position])[1]
  if (s.display == 'none') out.d = 'none'
  else if (s.display.endsWith('flex')) { out.d = 'flex'; out.dir = s.flexDirection }
  else if (s.display.endsWith('grid')) { out.d = 'grid'; out.col = tracks(s.gridTemplateColumns) }
  if (['absolute', 'fixed', 'sticky'].includes(p)) out.p = p
  if (s.zIndex != 'auto') out.z = +s.zIndex
  if (s.backgroundImage.includes('url(')) out.bg = 1
  return out }

// == read: the nodes of a section, in document order
const attrs = el => { const out = {}
  for (const k of ATTRS) { const v = k == 'src' && el.dataset?.src || el.getAttribute(k); if (v) out[k] = brief(v) }
  return out }
const read = els => { const out = []
  const walk = (el, up) => { const r = el.getBoundingClientRect(), here = out.length, svg = el.tagName == 'svg'
    const text = svg ? '' : words(el), flat = text && !el.shadowRoot && plain(el)
    const shown = flat ? tidy(el.innerText || el.textContent) : text
    out.push([el.tagName.toLowerCase(), up, [...el.classList], el.id || '', hints(el), shown.slice(0, 5000), attrs(el),
       r.width || r.height || r.left || r.top ? [r.left + scrollX, r.top + scrollY, r.width, r.height] : null])
    if (!flat && !svg) for (const c of below(el)) if (c.tagName != 'BR') walk(c, here) }
  for (const el of els) walk(el, -1)
  return out }

// == places: where the sections lie at this width, how a floating one is shown alone, and which other fixed things cover something
const title = el => el.tagName.toLowerCase() + [...el.classList].slice(0, 2).map(c => '.' + c).join('') + (el.id ? '#' + el.id : '')
const place = (p, k) => { const els = p.els.filter(e => e.isConnected && !hidden(e) && box(e))
  return els.length ? {k, box: union(els.map(box)), over: els.every(e => floats(e)) && !!p.over,
    title: els.map(title).slice(0, 3).join(' + '), count: els.reduce((n, e) => n + 1 + e.querySelectorAll('*').length, 0)} : null }
const top = p => union(p.els.map(box))[1]
const find = () => { S.pieces = divide(document.body).filter(p => p.els.some(seen)).sort((a, b) => top(a) - top(b)) }
const hide = (e, off) => { change(e, {opacity: '0'}); if (!off) e.style.removeProperty('opacity') }
const fade = k => S.pieces.forEach((p, i) => p.over && p.els.forEach(e => hide(e, i != k)))
const within = (a, b) => a[0] >= b[0] - 2 && a[1] >= b[1] - 2 && a[2] <= b[2] + 2 && a[3] <= b[3] + 2
const fixed = () => all().filter(e => css(e).position == 'fixed' && seen(e))
const covers = places => fixed().filter((e, _, also) => !also.some(o => o != e && o.contains(e)))
  .filter(e => !places.some(p => S.pieces[p.k].els.some(o => o.contains(e)) && (p.over || within(box(e), p.box))))
  .map(e => [title(e), places.filter(p => crosses(p.box, box(e))).map(p => p.k + 1)])

// == calm: runs before the scripts of the page: no motion, and animations jump to their ends
(() => { const sheet = new CSSStyleSheet()
sheet.replaceSync(`*, *::before, *::after {
  animation-duration: 0s !important; animation-delay: 0s !important; animation-iteration-count: 1 !important;
  transition-duration: 0s !important; transition-delay: 0s !important; scroll-behavior: auto !important; caret-color: transparent !important }`)
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet] })()
