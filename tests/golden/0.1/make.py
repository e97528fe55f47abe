"""The runs beside this file, as 0.1 wrote them.  In a checkout of 7a74f31: PYTHONPATH=. python make.py OUT

Their networks are far smaller than 0.1's smallest and their embeddings are rounded and empty where training did not reach, so that they may lie in git."""
import json, lzma, os, shutil, sys, tempfile
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
import torch
from layoutdiff import model, train, trees
from layoutdiff.core import Section
from layoutdiff.items import Items, get_items
from layoutdiff.predict import LayoutPredictor
from layoutdiff.run import Run, load_weights, save_weights

torch.set_num_threads(1)
out, sample = Path(sys.argv[1]), get_items('sample')
model.SIZES['tiny'] = dict(d=16, layers=1, heads=2, kin=True)
trees.N_TREES = 4
data = Items(train=sample.train[:8], val=sample.val[:3], test=sample.test[:3], split_given=True)
RUNS = dict(one=dict(members=1, p_support=.3, steps=150, rounds=3, trees=.5, sample_steps=2),
            two=dict(members=2, varied=1, steps=60, drop_pixels=1, p_free=0, rounds=2, trees=.5, sample_steps=2),
            eye=dict(members=1, p_free=1, steps=60, rounds=2, sample_steps=4, image_size=64, bs=4))

def shrink(weights):
    "Round the parameters, and empty the rows of tables that training left as they began."
    torch.manual_seed(0)
    net, vocab, settings, meta = load_weights(weights)
    used = {k: torch.zeros(4096, dtype=torch.bool) for k in ('tok', 'word')}
    from layoutdiff.data import node_arrays
    for s in data.all:
        for k in used: used[k][torch.as_tensor(node_arrays(s)[k].astype('int64')).flatten()] = True
    with torch.no_grad():
        for p in net.parameters(): p.copy_(p.to(torch.float8_e4m3fn).float())
        for member in getattr(net, 'members', [net]):
            for k in used: getattr(member.slots, k).weight[~used[k]] = 0
            member.slots.row.weight[64:] = 0
            if not member.cfg.pixels:
                for p in (*member.pixels.parameters(), *member.slots.look.parameters()): p.zero_()
    if not settings.in_order: net.cfg.memory = 3.
    save_weights(weights, net, vocab, settings, meta['groups'])

answers = {}
for name, settings in RUNS.items():
    with tempfile.TemporaryDirectory() as d:
        run = train.fit(data, d, name, size='tiny', tell=lambda line: None, workers=0, **settings)
        shrink(best := run.path/'weights'/'best.safetensors')
        ask = data.test if name != 'eye' else [Section(s.id, screenshot=s.screenshot) for s in data.test]
        answers[name] = {str(n): [[[e.type, list(e.sources), e.parent] for e in o] for o in LayoutPredictor(Run(run.path), n).many(ask)] for n in ((1,) if name != 'eye' else (4,))}
        (to := out/name).mkdir(parents=True, exist_ok=True)
        for f in ('config.yaml', 'env.json', 'results.csv'): shutil.copy(run.path/f, to)
        (to/'weights').mkdir(exist_ok=True)
        (to/'weights'/'best.safetensors.xz').write_bytes(lzma.compress(best.read_bytes(), preset=9))
        print(name, (to/'weights'/'best.safetensors.xz').stat().st_size, load_weights(best)[0].cfg)
(out/'answers.json').write_text(json.dumps(answers) + '\n')
