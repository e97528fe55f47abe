"""Train the checkpoint that is bundled as `base`, and put it into the package.

    python nbs/results/base.py ../shared/data/wp-sections --runs runs

It learns from the train split alone, chooses its best round on val, and has never seen the test themes nor sections30. Chains of divs, names and tags are varied, since users' builders
have other ones; it reads HTML, not pictures. Takes 10 to 20 minutes on two cores.
"""
import argparse
import json
import shutil

from layoutdiff.run import BASE, Run
from layoutdiff.train import fit

SETTINGS = dict(members=1, trees=0, steps=1800, rounds=9, augment=8, transforms='unwrap+wrap+builder+retag+hash_names', drop_names=.2, drop_boxes=.3, drop_tokens=.3, dropout=.2, drop_pixels=1, p_free=0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data')
    p.add_argument('--runs', default='runs', help='folder of the runs')
    p.add_argument('--name', default='base')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--transforms', default=SETTINGS['transforms'], help='what is varied')
    p.add_argument('--keep', action='store_true', help='only train; leave the package as it is')
    a = p.parse_args()
    run = fit(a.data, out=a.runs, name=a.name, seed=a.seed, workers=0, **{**SETTINGS, 'transforms': a.transforms})   # no worker: 12,160 variants fit in memory
    if not a.keep: bundle(run)


def bundle(run:Run):
    "Copy what `open_run('base')` needs, without paths of this machine."
    (BASE/'weights').mkdir(parents=True, exist_ok=True)
    shutil.copy(run.path/'weights'/'best.safetensors', BASE/'weights')
    config, env = run.config, json.loads((run.path/'env.json').read_text())
    import yaml
    (BASE/'config.yaml').write_text(yaml.safe_dump(dict(config, data='wp-sections'), sort_keys=False), encoding='utf-8')
    (BASE/'env.json').write_text(json.dumps(env, indent=1) + '\n', encoding='utf-8')
    shutil.copy(run.path/'results.csv', BASE)


if __name__ == '__main__': main()
