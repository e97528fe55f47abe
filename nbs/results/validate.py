"""What `validate` finds in the five folders of real data; those of foreign formats are converted first. Writes nbs/results/validate.json.

    python nbs/results/validate.py ../shared/data
"""
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from layoutdiff.check import validate
from layoutdiff.convert import convert
from layoutdiff.run import commit

FOREIGN = {'pix2code-web': dict(source='pix2code', splits='original'), 'rico25': dict(source='rico'), 'screen-annotation': dict(source='screen-annotation')}


def found(path):
    "Counts by code, and one example of each."
    report = validate(path)
    first = {f.code: f'{f.path}: {f.found}'[:200] for f in reversed(report.faults)}
    return dict(sections=report.sections, exit_code=report.exit_code, counts=Counter(f.code for f in report.faults), levels=Counter(f.level for f in report.faults), first=first)


def main(data):
    rows = {}
    for name in ('sections30', 'wp-sections', *FOREIGN):
        with tempfile.TemporaryDirectory() as d:
            path = Path(data)/name
            if name in FOREIGN: path = convert(path, Path(d)/name, tell=lambda line: None, **FOREIGN[name]).path
            rows[name] = found(path)
        print(name, rows[name]['sections'], dict(rows[name]['counts']), flush=True)
    out = dict(command='python nbs/results/validate.py DATA', commit=commit(), rows=rows)
    (Path(__file__).parent/'validate.json').write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__': main(sys.argv[1])
