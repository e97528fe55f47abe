"""Each phase's strategy at five sizes under one clock, and each technique on and off where it belongs.

    python nbs/bench/run.py strategies SHARED --seeds 0 1 2 --set minutes=10
    python nbs/bench/run.py techniques SHARED --seeds 0 1 2 --set minutes=10
    python nbs/bench/strategies.py             what the techniques brought, for `layoutdiff phase`

SHARED is the folder with wp-sections, builder-sections and rico25. `minutes` are minutes of processor for one training. Test groups are not touched:
scores are of the validation groups, and a run's own validation is of training groups that are set aside for it.
"""
import json
import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

HERE = Path(__file__).resolve().parent
SIZES = {50: 'real', 500: 'real', 1_500: 'real', 5_000: 'rico', 20_000: 'repeats'}   # sections -> which
ONE_SEED = 1_500   # above it one seed
PHASE_NAMES = 'phase1', 'phase2', 'phase3', 'phase4'
HTML = dict(drop_pixels=1, p_free=0)
KINDS = {           # what a training is given beside its phase
    'real': HTML, 'repeats': HTML, 'pictures': {}, 'pretrained': dict(HTML, init='base'),
    'rico': dict(in_order=False, sample_steps=8, patience=10_000)}   # no HTML, no picture: a diffusion over rows, and nothing to stop early by
HOME = dict(phase1=500, phase2=5_000, phase3=20_000, phase4=20_000)   # where a phase's techniques are measured
ELSEWHERE = {'unfreeze': (50, 'pretrained'), **dict.fromkeys(('modality weighting', 'multi-scale', 'multitask'), (1_500, 'pictures'))}
PLAIN = 'the strategy'


# ---------- the sections
def real(bench, builders_only=False):
    "Labelled sections to draw from, those of a run's own validation, and those that are scored: no group in two of them."
    from tools import get_data, labelled
    shared, names = Path(bench.data[0]), ('builder-sections',) if builders_only else ('wp-sections', 'builder-sections')
    data = [get_data(shared/n) for n in names]
    train, held = ([s for d in data for s in labelled(getattr(d, k))] for k in ('train', 'val'))
    sizes, own = Counter(s.group for s in train), set()
    for g in random.Random(0).sample(sorted(sizes), len(sizes)):
        if sizes[g] <= 100 and sum(sizes[o] for o in own) < 200: own.add(g)
    return [s for s in train if s.group not in own], [s for s in train if s.group in own], held


def rico(bench):
    "The same of rico25, whose screens have no HTML, no picture and no group."
    from layoutdiff.convert.core import Conversion
    from layoutdiff.convert.rico import ROWS
    screens = [s for _, s in ROWS['rico'].read(Path(bench.data[0])/'rico25', Conversion())]
    random.Random(0).shuffle(screens)
    return screens[594:], screens[:200], screens[200:594]


def repeats(sections, n):
    "`n` sections: the real ones, and as many perturbed repeats of each as it takes."
    from layoutdiff.variants import Augmented
    many = Augmented(sections, -(-n // len(sections)), 0, ['trees', 'names'])
    order = sorted(range(len(many)), key=lambda i: i % many.factor)   # the originals first
    return [many[i] for i in order[:n]]


def drawn(bench, n, kind, seed):
    "n sections to train on, a run's own validation, sections to score."
    key = ('pretrained' if kind == 'pretrained' else 'rico' if kind == 'rico' else 'real')
    if key not in bench._items: bench._items[key] = rico(bench) if key == 'rico' else real(bench, key == 'pretrained')
    pool, own, held = bench._items[key]
    if kind != 'repeats': return random.Random(seed).sample(pool, n), own, held
    if kind not in bench._items: bench._items[kind] = repeats(pool, n)
    return bench._items[kind], own, held


# ---------- one training and its scores
def completed(run, sections, steps=8):
    "Screens whose first half was given, rows and boxes; of the last weights, since no validation score can choose among epochs."
    import torch
    from layoutdiff.data import Batches, Examples
    from layoutdiff.run import Checkpoint
    from layoutdiff.sample import sample, to_tables
    from layoutdiff.slots import SPECIAL, decode
    c = Checkpoint.load(run.weights('last'))
    model, out = c.model.eval(), {}
    device = next(model.parameters()).device
    batches = Batches(Examples(sections, c.vocab, c.settings.image_size), 24, free=True)
    torch.manual_seed(0)
    for i, rows in enumerate(batches.lists):
        batch = {k: v.to(device) for k, v in batches[i][0].items()}
        half = (batch['label'] >= len(SPECIAL)).sum(1, keepdim=True) // 2
        first = torch.arange(batch['label'].shape[1], device=device) < half
        given = {**batch, 'label': torch.where(first, batch['label'], -1)}
        found = {k: v.cpu() for k, v in sample(model, given, steps, task='completion').items()}
        cpu = {k: batch[k].cpu() for k in ('mask', 'free')}
        out.update(zip(rows, (decode(t, None) for t in to_tables(found, cpu, c.vocab, [sections[r].size for r in rows]))))
    return [out[i] for i in range(len(sections))]


def rest(layout, k):
    "The elements of a flat layout from the k-th on."
    from layoutdiff.core import Layout
    return Layout([replace(e, parent=-1) for e in layout.elements[k:]])


def flat_scores(run, sections):
    "Of the half that was not given: type F1, IoU of boxes of the same type, max IoU among halves with the same types; of whole screens: tree similarity."
    from layoutdiff.metrics import counts, max_iou, pool
    found, halves = completed(run, sections), [len(s.layout) // 2 for s in sections]
    pairs = [(rest(l, k), rest(s.layout, k), s) for l, s, k in zip(found, sections, halves)]
    scores = pool([counts(l, true, None, free=True) for l, true, _ in pairs])
    plain = lambda l: ([(x + w / 2, y + h / 2, w, h) for x, y, w, h in (e.box for e in l if e.box)], [e.type for e in l if e.box])
    whole = pool([counts(l, s.layout, None, free=True) for l, s in zip(found, sections)])
    return dict({k: scores[k] for k in ('type_f1', 'box_iou')}, max_iou=max_iou([plain(l) for l, *_ in pairs], [plain(t) for _, t, _ in pairs]), tree_similarity=whole['tree_similarity'])


def one(bench, n, kind, phase, seed, name, **change):
    "Train n sections under the clock, and score the run."
    from tools import KEPT, NODES, Scorer, checkpoint, predictor, whole
    train, own, held = drawn(bench, n, kind, seed)
    run = bench.trained(f'{kind}-{n}-{phase}-{name.replace(" ", "-")}-{seed}', whole(train, own), phase=phase, seed=seed, workers=0, **{**KINDS[kind], **change})
    c, given = checkpoint(run), ('structure', 'screenshot') if kind == 'pictures' else NODES
    scores = flat_scores(run, held) if kind == 'rico' else Scorer(held).scores(predictor(c, None, given)(held), KEPT)
    last = run.results[-1]
    return dict(scores, n_scored=len(held), size=c.settings.size, parameters=sum(p.numel() for p in c.model.members[0].parameters()), members=len(c.model.members),
                steps=int(last['step']), step_time=last['seconds'] / last['step'], training_seconds=last['seconds'])


def seeds(bench, n): return bench.seeds if n <= ONE_SEED else bench.seeds[:1]
def automatic(n):
    from layoutdiff.phases import phase_for
    return phase_for(n).name


# ---------- the techniques
def place(phase, name):
    "How many sections, and which, a technique is measured with."
    if name == 'variants' and phase != 'phase1': return 1_500, 'real'   # repeats are variants already, and screens have none
    return ELSEWHERE.get(name) or (HOME[phase], SIZES[HOME[phase]])


def technique_cells(bench):
    from layoutdiff.phases import PHASES, switches
    places = [(p.name, *place(p.name, name), name) for p in PHASES for name in switches(p)]
    rows = [(*at, name) for at in dict.fromkeys(p[:3] for p in places) for name in (PLAIN, *(p[3] for p in places if p[:3] == at))]
    return [dict(phase=p, n=n, kind=k, name=name, seed=s) for p, n, k, name in rows for s in seeds(bench, n)]


def toggled(phase, n, kind, name):
    "The settings that switch a technique on where it is off, off where it is on; and whether it was on."
    from layoutdiff.phases import Situation, get_phase, is_on, settle, switch_off, switches
    row = get_phase(phase, n)
    before = is_on(name, row, settle(Situation(n, phase, html=kind != 'rico'), **{k: v for k, v in KINDS[kind].items() if k != 'init'}).settings)
    return (switch_off(switches(row)[name]) if before else switches(row)[name]), before


def condensed(found):
    "phase -> technique -> what it brings: with it less without it, seed by seed."
    out, of = {}, lambda r, name: {o['seed']: o for o in found['rows'] if o['name'] == name and all(o[k] == r[k] for k in ('phase', 'n', 'kind'))}
    for r in found['rows']:
        if r['name'] == PLAIN: continue
        own, plain, score = of(r, r['name']), of(r, PLAIN), 'type_f1' if r['kind'] == 'rico' else 'element_f1'
        both = sorted(own.keys() & plain.keys())
        if not both: continue
        sign = -1 if r['was_on'] else 1
        gains = [sign * (own[s][score] - plain[s][score]) for s in both]
        times = [(own[s]['step_time'] / plain[s]['step_time']) ** sign for s in both]
        out.setdefault(r['phase'], {})[r['name']] = dict(score=score.replace('_f1', ' F1'), gain=round(mean(gains), 4), sd=round(stdev(gains), 4) if len(both) > 1 else None,
                                                         seeds=len(both), n=r['n'], step_time=round(mean(times), 3))
    return out


if __name__ == '__main__':
    from layoutdiff.phases import MEASURED
    results = HERE.parent/'results'/'techniques.json'
    if not results.is_file(): sys.exit(f'{results} is not there yet. Measure first: python nbs/bench/run.py techniques SHARED --seeds 0 1 2')
    MEASURED.write_text(json.dumps(condensed(json.loads(results.read_text(encoding='utf-8'))), indent=1) + '\n', encoding='utf-8')
    print(MEASURED)
else:
    from run import plan

    @plan('strategies', "each phase's strategy at five sizes, under one clock", ('SHARED',), minutes=10,
          cells=lambda b: [dict(n=n, kind=k, phase=p, seed=s) for n, k in SIZES.items() for p in PHASE_NAMES for s in seeds(b, n)])
    def strategies(bench, n, kind, phase, seed): return dict(automatic=automatic(n) == phase, **one(bench, n, kind, phase, seed, 'all'))

    @plan('techniques', 'each technique on and off, at the size where it belongs', ('SHARED',), minutes=10, cells=technique_cells)
    def techniques(bench, phase, n, kind, name, seed):
        change, before = ({}, None) if name == PLAIN else toggled(phase, n, kind, name)
        return dict(change=change, was_on=before, **one(bench, n, kind, phase, seed, name, **change))
