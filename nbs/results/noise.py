"""How far the labels of sections30 contradict each other, to nbs/results/noise.json.

    python nbs/results/noise.py ../shared/data/sections30

Nodes of the same tag and classes, with the same children, in the same parents, should have the same label. Where they have not, the best that anyone can do who sees only this is the commonest of them. The ceiling
counted here even knows the labels of the section that it is asked about; a model that has not seen it can only do worse, unless something farther away in the section tells the cases apart.
"""
import argparse
import json
import re
import shlex
import sys
from collections import Counter, defaultdict
from pathlib import Path

from layoutdiff.items import distinct, get_items
from layoutdiff.run import commit
from layoutdiff.slots import encode

HERE = Path(__file__).parent


def look(node): return (node.tag, tuple(re.sub(r'\d+', '0', c) for c in node.classes))


def situations(section, up):
    "For each node what it is, its children and `up` of its ancestors; numbers in names do not count."
    nodes, out = section.structure, []
    for i, n in enumerate(nodes):
        above, p = [], n.parent
        for _ in range(up):
            above.append(look(nodes[p]) if p >= 0 else None)
            p = nodes[p].parent if p >= 0 else -1
        out.append((look(n), tuple(look(nodes[c]) for c in nodes.children[i]), *above))
    return out


def ceiling(sections, up):
    "Node accuracy and exact match of the commonest label in each situation, and the situations whose labels differ most."
    said = defaultdict(Counter)
    for s in sections:
        for k, l in zip(situations(s, up), encode(s).label): said[k][l] += 1
    right = [[l == said[k].most_common(1)[0][0] for k, l in zip(situations(s, up), encode(s).label)] for s in sections]
    split = sorted(((dict(v), k[0]) for k, v in said.items() if len(v) > 1), key=lambda o: max(o[0].values()) - sum(o[0].values()))
    return dict(ancestors=up, node_accuracy=sum(map(sum, right)) / sum(map(len, right)), exact_match=sum(map(all, right)) / len(right), contradicting=sum(not r for o in right for r in o),
                nodes=sum(map(len, right)), worst=[dict(node='.'.join((k[0], *k[1])), labels=v) for v, k in split[:3]])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    a = p.parse_args()
    sections = distinct(get_items(a.data)).all
    out = dict(command='python nbs/results/noise.py ' + shlex.join([{a.data: 'DATA'}.get(x, x) for x in sys.argv[1:]]), commit=commit(), n_sections=len(sections), rows=[ceiling(sections, up) for up in (1, 2, 3)])
    (HERE/'noise.json').write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')
    for r in out['rows']: print(r)


if __name__ == '__main__': main()
