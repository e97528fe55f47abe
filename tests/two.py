"""One of several processes of a training, or one process with the batches of all of them: python two.py RANK WORLD MERGED FOLDER SETTINGS

Writes FOLDER/RANK.json: the loss of every step, the sections of every batch, the run folder."""
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from fastai.callback.core import Callback

from layoutdiff.data import Batches
from layoutdiff.items import Items, get_items
from layoutdiff.techniques import technique
from layoutdiff.techniques.parallel import Parallel
from layoutdiff.train import fit

rank, world, merged, folder = *map(int, sys.argv[1:4]), Path(sys.argv[4])
torch.set_num_threads(1)
if world > 1: dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world)

def bare(s): # no boxes, so that nothing of a step is random
    return replace(s, screenshot=None, size=None, structure=type(s.structure)([replace(n, box=None) for n in s.structure]),
                   layout=type(s.layout)([replace(e, box=None) for e in s.layout], s.layout.props))

items = get_items('sample')
items = Items(train=[bare(s) for s in items.train], val=[bare(s) for s in items.val[:4]], split_given=True)
losses, seen = [], []

class First(Callback):
    order = -20
    def before_batch(self): seen.append(self.yb[0]['index'].tolist()) if self.training else None

class Last(Callback):
    order = Parallel.order + 2
    def after_loss(self): losses.append(float(self.learn.loss)) if self.training else None

technique('spy', lambda s: True, lambda s: [First(), Last()])
plan = Batches.plan
def plan_merged(self):
    "The batches of `merged` ranks as one."
    if self.steps is None: return plan(self)
    self.steps, self.last, was = self.steps * merged, None, self.steps
    plan(self)
    self.steps, self.lists, self.is_free = was, [sum(self.lists[i:i+merged], []) for i in range(0, len(self.lists), merged)], self.is_free[::merged]
if merged > 1: Batches.plan = plan_merged

plain = dict(size='tiny', members=1, trees=0, dropout=0, p_full=1, p_free=0, drop_pixels=1, drop_tokens=0, drop_names=0, drop_boxes=0, jitter=0, augment=1, workers=0)
run = fit(items, folder/'runs', 'run', tell=lambda line: None, **{**plain, **json.loads(sys.argv[5])})
weights = {k: float(v.double().abs().sum()) for k, v in run.checkpoint.model.state_dict().items()}
(folder/f'{rank}.json').write_text(json.dumps(dict(losses=losses, seen=seen, run=str(run.path), weights=weights, results=run.results)))
