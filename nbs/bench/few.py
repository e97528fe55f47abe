"Few sections: thirty of one library, the learning curve, what each technique is worth, how trees are grown."
import re
import time
from collections import Counter, defaultdict

from run import plan, runs
from tools import (BASELINES, EPOCHS, INTERPOLATE, KEPT, NODES, Scorer, checkpoint, distinct, encode, fit_baseline, labelled, most_frequent, one_epoch, ours,
                   predictor, scores_of, some_of, split_items, used, whole, without_trees)

from layoutdiff.ensemble import fit_trees


# ---------- sections30: five folds, each section scored by the fold that did not see it
def thirty(bench, seed):
    sections, found, order = distinct(bench.items()).all, {}, []
    for k, (train, test) in enumerate(split_items(sections, k=5, seed=seed)):
        run = bench.trained(f'seed{seed}-fold{k}', whole(train), seed=seed)   # too few to spare a validation
        scorer = Scorer(test, most_frequent(train), max(len(s.structure) for s in sections))
        answers = ours(run, test, NODES, seed) | {b: fit_baseline(b, train, seed=seed)(test) for b in BASELINES}
        for name, tables in answers.items(): found.setdefault(name, []).extend(scorer.counts(tables))
        order += scorer.groups
    scores = {k: used(k, scores_of(r, order)) for k, r in found.items()}
    baselines = {k: scores.pop(k) for k in BASELINES}
    return dict(n_sections=len(order), groups=len(set(order)), split='5-fold, each section out of fold', given=list(NODES), steps=checkpoint(run).settings.sample_steps, notes=[],
                **scores, baselines=baselines, without_leaks=None, wrong=[g for r, g in zip(found['model'], order) if not r['exact']])

plan('sections30', 'thirty sections in five folds, fine-tuned from the base', gather=runs, **one_epoch(init='base', drop_pixels=1, p_free=0))(thirty)
plan('sections30-variants', 'the same with variants of each section, names dropped, no weight decay', gather=runs,
     **one_epoch(init='base', members=1, drop_pixels=1, p_free=0, steps=400, bs=12, lr=.002, drop_names=.5, augment=20, wd=0, drop_tokens=.1, layer_decay=1))(thirty)


def name_of(node): return (node.tag, tuple(re.sub(r'\d+', '0', c) for c in node.classes))

def situations(section, up):
    "For each node its tag and classes, its children's, and those of `up` ancestors; digits in names do not count."
    nodes, out = section.structure, []
    for i, n in enumerate(nodes):
        above, p = [], n.parent
        for _ in range(up):
            above.append(name_of(nodes[p]) if p >= 0 else None)
            p = nodes[p].parent if p >= 0 else -1
        out.append((name_of(n), tuple(name_of(nodes[c]) for c in nodes.children[i]), *above))
    return out


@plan('noise', 'how far the labels of sections30 contradict each other', cells=lambda b: [dict(ancestors=k) for k in (1, 2, 3)])
def ceiling(bench, ancestors):
    "The best that the commonest label of each situation can do, the asked section included."
    sections, labels = distinct(bench.items()).all, defaultdict(Counter)
    for s in sections:
        for k, l in zip(situations(s, ancestors), encode(s).label): labels[k][l] += 1
    right = [[l == labels[k].most_common(1)[0][0] for k, l in zip(situations(s, ancestors), encode(s).label)] for s in sections]
    split = sorted(((dict(v), k[0]) for k, v in labels.items() if len(v) > 1), key=lambda o: max(o[0].values()) - sum(o[0].values()))
    return dict(node_accuracy=sum(map(sum, right)) / sum(map(len, right)), exact_match=sum(map(all, right)) / len(right), contradicting=sum(not r for o in right for r in o),
                nodes=sum(map(len, right)), worst=[dict(node='.'.join((k[0], *k[1])), labels=v) for v, k in split[:3]])


# ---------- the learning curve
BASE = dict(members=1, trees=0, steps=900, augment=8, transforms='unwrap+wrap+builder+retag+hash_names', drop_names=.2, drop_boxes=.3, drop_tokens=.3, dropout=.2, drop_pixels=1, p_free=0, workers=0, **{EPOCHS: 6})
PLAIN = one_epoch(members=1, drop_pixels=1, p_free=0, workers=0)
NUMBERS = 5, 10, 24, 50, 200, 1000

def two_parts(train):
    "Sections that teach a base, and those to draw from: of the themes by size, the 2nd and the 6th to 10th teach."
    themes = [g for g, _ in sorted(Counter(s.group for s in train).items(), key=lambda p: (-p[1], p[0]))]
    old = {themes[1], *themes[5:10]}
    return [s for s in train if s.group in old], [s for s in train if s.group not in old]

def small_base(bench): return bench.trained('base', whole(two_parts(labelled(bench.items().train))[0], labelled(bench.items().val)), **BASE)
def curve_cells(bench): return [dict(seed=0, n=0)] + [dict(seed=s, n=n) for s in bench.seeds for n in NUMBERS]


@plan('curve', 'from scratch against fine-tuned, with 5 to 1,000 sections of unseen themes', cells=curve_cells, **PLAIN)
def curve(bench, seed, n):
    base, test = small_base(bench), labelled(bench.items().test)
    score = lambda c: Scorer(test).scores(predictor(c)(test), KEPT)
    if not n: return dict(name='base, untrained', **score(checkpoint(base)))
    few, out = some_of(two_parts(labelled(bench.items().train))[1], n, seed), []
    ways = [('from scratch', dict(init='none')), ('base', dict(init=base.path.as_posix()))]
    if n <= 20: ways.append(('base, all the way', {**ways[1][1], INTERPOLATE: False}))
    for name, how in ways:
        start = time.monotonic()
        run = bench.trained(f'{name[:4]}-{n}-{seed}', whole(few, few[:200]), seed=seed, **how)
        told = dict(minutes=(time.monotonic() - start) / 60, steps=run.config['settings']['steps'], size=run.config['settings']['size'])
        out += [dict(name=name, **told, **score(checkpoint(run))), dict(name=f'{name}, no trees', **told, **score(without_trees(run)))]
    return out + [dict(name='forest', **Scorer(test).scores(fit_baseline('forest', few, seed=seed)(test), KEPT))]


# ---------- one change at a time
FEW = one_epoch(init='base', members=1, drop_pixels=1, p_free=0, steps=200, bs=12, lr=.002, drop_names=0, dropout=.3, drop_tokens=.1, layer_decay=1.)   # of 24 sections
MANY = one_epoch(members=1, drop_pixels=1, p_free=0, steps=500)   # the rest as phase 1 has it
CHANGES = {
    'the recipe': {}, 'trees beside it': dict(trees=None), 'gradual unfreezing': dict(unfreeze=.5), 'lower rates for lower layers': dict(layer_decay=.7),
    'variance-aware loss': dict(variance_aware=True), 'variants, 20 of each': dict(augment=20), 'weak dropout': dict(dropout=.1), 'words dropped often': dict(drop_tokens=.4),
    'words dropped seldom': dict(drop_tokens=.1), 'all words of a section dropped, half of the time': dict(drop_names=.5), 'no section without words': dict(drop_names=0),
    'no noise on the numbers': dict(jitter=0), 'no weight decay': dict(wd=0), 'no label smoothing': dict(smoothing=0), 'no warm-up': dict(warmup=0), 'no EMA': dict(ema=0),
    'one pass only': dict(p_full=1.), 'three members': dict(members=3), 'from scratch, tiny': dict(init='none', size='tiny', steps=350, bs=24)}
TREES = {0: .5, 200: .8, 1500: .5}   # the share that phase 1 gives them
ONLY_FEW = 'gradual unfreezing', 'lower rates for lower layers', 'from scratch, tiny'

def ablation(n, recipe):
    def cells(bench): return [dict(name=k, seed=s) for k in CHANGES if not n or k not in ONLY_FEW for s in bench.seeds]
    def measure(bench, name, seed):
        items, counts, groups, start = bench.items(), [], [], time.monotonic()
        folds = [(some_of(labelled(items.train), n, seed), labelled(items.val))] if n else split_items(distinct(items).all, k=5, seed=seed)
        given = NODES if 'init' in bench.settings else ('structure', 'screenshot')
        for k, (train, test) in enumerate(folds):
            run = bench.trained(f'{name}-{seed}-{k}', whole(train, train[:200]), seed=seed, **{k: TREES[n] if v is None else v for k, v in CHANGES[name].items()})
            scorer = Scorer(test)
            counts, groups = counts + scorer.counts(predictor(checkpoint(run), None, given, seed)(test)), groups + scorer.groups
        scores = scores_of(counts, groups)
        return dict(change=CHANGES[name], minutes=(time.monotonic() - start) / 60, **{k: scores[k] for k in KEPT})
    return dict(cells=cells, **recipe), measure

def ablations(name, about, n, recipe):
    how, measure = ablation(n, dict(recipe, trees=0, workers=0))
    plan(name, about, **how)(measure)

ablations('ablate', 'one change at a time: 24 of sections30, five folds, fine-tuned', 0, FEW)
ablations('ablate-200', 'one change at a time: 200 sections of wp-sections, scored on validation', 200, MANY)
ablations('ablate-1500', 'one change at a time: 1,500 sections of wp-sections, scored on validation', 1500, MANY)
ablations('ablate-1500-1500', 'the same with the steps that a user gets', 1500, dict(MANY, steps=1500))


# ---------- trees beside the network, scored on the validation themes
GROWN = (.1, 2), (.1, 1), (.3, 2), (.3, 1), (.5, 1)   # share of the numbers that a split may choose from, fewest nodes in a leaf
SHARES = .35, .5, .65, .8, .999

@plan('trees', 'how trees are grown and how much they count', **one_epoch(trees=0, drop_pixels=1, p_free=0, workers=0),
      cells=lambda b: [dict(seed=s, n=n, begun=i) for s in b.seeds for n in (5, 24, 200) for i in (False, True)])
def trees(bench, seed, n, begun):
    few, val = some_of(two_parts(labelled(bench.items().train))[1], n, seed), labelled(bench.items().val)
    run = bench.trained(f'{n}-{seed}', whole(few), seed=seed, init=small_base(bench).path.as_posix() if begun else 'none')
    c, scorer = checkpoint(run), Scorer(val)
    def score(forest, **how):
        c.model.trees = forest
        return dict(how, **scorer.scores(predictor(c, 1)(val), ('node_accuracy', 'element_f1', 'exact_match')))
    out = [score(None, share=0)]
    for features, leaf in GROWN:
        forest = fit_trees(few, c.vocab, seed=seed, features=features, leaf=leaf)
        for share in SHARES:
            forest.share.fill_(share)
            out.append(score(forest, features=features, leaf=leaf, share=share))
    return out
