"A support set, and what is recalled of it."
from pathlib import Path

import numpy as np
import pytest
import torch

from layoutdiff.data import Examples, collate
from layoutdiff.ensemble import Ensemble
from layoutdiff.items import distinct, get_items
from layoutdiff.metrics import counts, pool
from layoutdiff.model import LayoutDiT, model_config
from layoutdiff.recall import SHARES, encode_support, knn_probs
from layoutdiff.run import open_run
from layoutdiff.sample import predict_tables
from layoutdiff.slots import Vocab, decode

SECTIONS30 = Path(__file__).resolve().parents[2]/'shared'/'data'/'sections30'


def untrained(words, seed):
    torch.manual_seed(seed)
    model = LayoutDiT(model_config(words, size='tiny')).eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(.1 * torch.randn(p.shape))
    return model


@pytest.fixture(scope='module')
def rows():
    sections = get_items('sample').train[:8]
    words = Vocab.build(sections)
    return words, Examples(sections, words)


def test_each_member_recalls_by_its_own_vectors(rows):
    words, examples = rows
    a, b = untrained(words, 0), untrained(words, 1)
    batch = collate([examples[i] for i in range(3)])
    torch.manual_seed(0)
    both, n = encode_support(Ensemble([a, b]), batch), int(batch['mask'].sum())
    assert both.keys.shape[:2] == (2, n) and not torch.equal(*both.keys) and both.share in SHARES
    hidden = torch.randn(2, 1, 4, both.keys.shape[-1])
    each = [knn_probs(hidden[k:k+1], type(both)(both.keys[k:k+1], both.tokens, both.section), 'label', len(words.labels)) for k in range(2)]
    torch.testing.assert_close(knn_probs(hidden, both, 'label', len(words.labels)), sum(each) / 2)


def test_an_ensemble_takes_a_support_set(rows):
    words, examples = rows
    model, asked = Ensemble([untrained(words, 0), untrained(words, 1)]), Examples(examples.sections[5:], words)
    alone, shown = (predict_tables(model, asked, 2, support=s) for s in (None, Examples(examples.sections[:4], words)))
    assert len(shown) == 3 and alone != shown


def test_one_section_changes_nothing_and_noise_is_the_same(rows):
    words, examples = rows
    model, asked = untrained(words, 0), Examples(examples.sections[5:], words)
    alone, shown = (predict_tables(model, asked, 2, support=s) for s in (None, Examples(examples.sections[:1], words)))
    assert alone == shown


def test_an_unknown_label_is_never_knn_probs(rows):
    words, examples = rows
    batch = collate([examples[i] for i in range(3)])
    heading = words.labels.index('heading')
    batch['label'] = torch.where(batch['label'] == heading, -1, batch['label'])
    support = encode_support(untrained(words, 0), batch)
    votes = knn_probs(support.keys[:, None], support, 'label', len(words.labels))
    assert votes[..., heading].max() == 0 and .99 < votes.sum(-1).max() <= 1.0001 and votes.sum(-1).min() > 0


@pytest.mark.skipif(not SECTIONS30.is_dir(), reason='no sections30 here')
def test_five_sections_of_another_builder_help_the_base():
    ckpt = open_run('base').checkpoint
    model, vocab, s = ckpt.model, ckpt.vocab, ckpt.settings
    sections = distinct(get_items(SECTIONS30)).all
    order = np.random.default_rng(0).permutation(len(sections))
    shown, test = [sections[i] for i in order[:5]], [sections[i] for i in order[10:]]
    examples = lambda own: Examples(own, vocab, s.image_size, pictures=False)
    def content(support):
        tables = predict_tables(model, examples(test), s.sample_steps, ('structure',), support=support)
        return pool([counts(decode(t, o.structure), o.layout, o.structure) for t, o in zip(tables, test)])['content_f1']
    assert content(examples(shown)) > content(None) + .1
