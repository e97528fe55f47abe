"Other page builders: what carries over, what few examples are worth, and the bundled base."
import shutil
import time
from collections import Counter, defaultdict

import numpy as np
import yaml
from few import name_of
from run import plan, runs
from tools import EPOCHS, NODES, Items, Scorer, about_run, checkpoint, distinct, encode, evaluate, fit_baseline, labelled, mean, most_frequent, one_epoch, open_run, ours, predictor, rivals, used, whole, without_trees

from layoutdiff.run import BASE, steps_of

POOL, EXAMPLES = 10, (0, 1, 5, 10)
KEPT = ('n_sections', 'n_nodes', 'node_accuracy', 'element_f1', 'content_f1', 'type_f1', 'tree_similarity', 'exact_match')


def drawn(sections, seed):
    "A pool to take examples from, and the sections that are scored."
    order = np.random.default_rng(seed).permutation(len(sections))
    return [sections[i] for i in order[:POOL]], [sections[i] for i in order[POOL:]]


def what_examples_say(few):
    "A function from a node and its label to what labelled examples say of such nodes: nothing, this label, both, another label."
    known = defaultdict(set)
    for s in few:
        for n, l in zip(s.structure, encode(s).label): known[name_of(n)].add(l)
    def say(node, label):
        labels = known.get(name_of(node))
        return 'nothing' if not labels else 'another label' if label not in labels else 'both' if len(labels) > 1 else 'this label'
    return say


def scored(tables, test, few=()):
    "Scores, how many nodes are wrong, and what the examples say of these."
    scorer, say = Scorer(test), what_examples_say(few)
    nodes = [(n, a, b) for t, s, y in zip(tables, test, scorer.truths) for n, a, b in zip(s.structure, t.label, y)]
    wrong = [(n, a, b) for n, a, b in nodes if a != b]
    return dict(scorer.scores(tables, KEPT), wrong=len(wrong), wrong_wrapper_or_merged=sum({a, b} == {'wrapper', 'merge'} for _, a, b in wrong),
                said=Counter(say(n, b) for n, _, b in nodes), wrong_said=Counter(say(n, b) for n, _, b in wrong))


def support_set(sections): return {None: sections}

@plan('across', 'a model of WordPress themes on another builder, with 0 to 10 labelled examples', ('WP', 'SECTIONS30'), **one_epoch(members=1, drop_pixels=1, p_free=0),
      cells=lambda b: [dict(seed=s, k=k) for s in b.seeds for k in EXAMPLES])
def across(bench, seed, k):
    pool, test = drawn(distinct(bench.items(1)).all, seed)
    few, base = pool[:k], open_run('base')
    ask = lambda c, support=None: predictor(c, None, NODES, 0, support)
    answers = {'rules': fit_baseline('rules', few)}
    if not k: answers |= {'forest of wp': fit_baseline('forest', labelled(bench.items().train), seed=seed), 'base': ask(checkpoint(base))}
    else:
        tuned = bench.trained(f'{k}-{seed}', whole(few), init=base.path.as_posix(), seed=seed)
        answers |= {'forest of the examples': fit_baseline('forest', few, seed=seed), 'base, trained on the examples': ask(checkpoint(tuned)),
                    'the same without its trees': ask(without_trees(tuned)), 'from scratch': ask(checkpoint(bench.trained(f'scratch-{k}-{seed}', whole(few), seed=seed)))}
        if k <= 5: answers['base, examples shown'] = ask(checkpoint(base), support_set(few))
    return [dict(name=name, **scored(answer(test), test, few)) for name, answer in answers.items()]


@plan('shown', 'support sets of the same theme, on themes that no training saw', cells=lambda b: [dict(seed=s, k=k) for s in b.seeds for k in (0, 1, 2, 5)])
def shown(bench, seed, k):
    found = evaluate('base', bench.data[0], given='structure', baselines='none', seed=seed, support=k, tell=lambda line: None)
    return {s: found['model'][s] for s in ('n_sections', 'n_nodes', 'node_accuracy', 'element_f1', 'content_f1', 'exact_match')}


# ---------- the bundled base, and what each variation of its training is worth
RECIPE = dict(members=1, trees=0, steps=1800, augment=8, transforms='unwrap+wrap+builder+retag+hash_names', drop_names=.2, drop_boxes=.3, drop_tokens=.3, dropout=.2, drop_pixels=1, p_free=0, workers=0, **{EPOCHS: 9})
without = lambda *names: dict(transforms='+'.join(t for t in RECIPE['transforms'].split('+') if t not in names))
CHANGES = {
    'as the base': {}, 'no variants': dict(augment=1), "no other builder's divs": without('builder'), 'no divs put in or taken out': without('wrap', 'unwrap'),
    'no names hashed': without('hash_names'), 'no tags swapped': without('retag'), 'boxes always known': dict(drop_boxes=0), 'words always known': dict(drop_names=0, drop_tokens=0)}


@plan('ingredients', "what each variation of the base's training is worth in an unseen builder", ('WP', 'SECTIONS30'), **{**RECIPE, 'steps': 600, EPOCHS: 1},
      cells=lambda b: [dict(seed=s, name=k) for s in b.seeds for k in CHANGES])
def ingredients(bench, seed, name):
    train, start = labelled(bench.items().train), time.monotonic()
    ask = predictor(checkpoint(bench.trained(f'{list(CHANGES).index(name)}-{seed}', whole(train, train[:24]), seed=seed, **CHANGES[name])), None, NODES)
    found = [Scorer(test).scores(ask(test), KEPT[2:]) for _, test in (drawn(distinct(bench.items(1)).all, k) for k in range(3))]
    return dict(change=CHANGES[name], minutes=(time.monotonic() - start) / 60, **{k: mean(f[k] for f in found) for k in KEPT[2:]})


@plan('base', 'trains the bundled checkpoint and puts it into the package', **RECIPE)
def base(bench, seed):
    run = bench.trained(f'seed{seed}', bench.data[0], seed=seed)
    (BASE/'weights').mkdir(parents=True, exist_ok=True)
    shutil.copy(run.path/'weights'/'best.safetensors', BASE/'weights')
    (BASE/'config.yaml').write_text(yaml.safe_dump(dict(run.config, data='wp-sections'), sort_keys=False), encoding='utf-8')   # no path of this machine
    (BASE/'env.json').write_text((run.path/'env.json').read_text(encoding='utf-8'), encoding='utf-8')
    shutil.copy(run.path/'results.csv', BASE)
    val = labelled(bench.items().val)
    return dict(Scorer(val).scores(predictor(checkpoint(run), None, NODES)(val), KEPT), **about_run(run))


# ---------- Bootstrap and Foundation sites, split by site
TRAINED_ON = 'wp', 'wp and builders'

@plan('builders', 'test sites of other builders, trained with such sites and without', ('WP', 'BUILDERS'), gather=runs, members=1, drop_pixels=1, p_free=0, steps=1200, workers=0, **{EPOCHS: 6},
      cells=lambda b: [dict(seed=s, trained_on=t) for s in b.seeds for t in TRAINED_ON])
def builders(bench, seed, trained_on):
    parts = [bench.items(i) for i in ((0,) if trained_on == 'wp' else (0, 1))]
    train, val = ([s for p in parts for s in labelled(getattr(p, k))] for k in ('train', 'val'))
    test = labelled(bench.items(1).test)
    run = bench.trained(f'{trained_on.replace(" ", "-")}-{seed}', Items(train=train, val=val, split_given=True), seed=seed)
    scorer = Scorer(test, most_frequent(train))
    scores = {k: used(k, scorer.scores(t)) for k, t in {**ours(run, test, seed=seed), **rivals(train, test, seed=seed)}.items()}
    baselines = {k: scores.pop(k) for k in ('rules', 'forest', 'extra_trees', 'boosting')}
    return dict(n_sections=len(test), groups=len(set(scorer.groups)), split='test', given=['structure', 'screenshot'], steps=steps_of(checkpoint(run).settings), notes=[],
                n_train=len(train), **scores, baselines=baselines, without_leaks=None, **about_run(run))
