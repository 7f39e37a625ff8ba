"""Votes of neighbours against a loop; the bank."""

import pytest
import torch

from hgkd_mm.errors import ConfigError
from hgkd_mm.models.knn_head import KNNHead, knn_scores, pooled


def test_scores_equal_a_loop():
    torch.manual_seed(0)
    bank, queries, labels = torch.randn(30, 5), torch.randn(7, 5), torch.randint(0, 4, (30,))
    scores = knn_scores(queries, bank, labels, num_classes=6, k=5, temperature=0.1)
    for query, found in zip(queries, scores, strict=True):
        similarities = torch.stack([torch.cosine_similarity(query, x, dim=0) for x in bank])
        expected = torch.zeros(6)
        for index in similarities.argsort(descending=True)[:5]:
            expected[labels[index]] += (similarities[index] / 0.1).exp()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_head_pools_the_last_stage_and_predicts_the_neighbours_class():
    head = KNNHead(num_classes=3, k=1)
    head.remember(torch.eye(3) * 7, torch.tensor([2, 0, 1]))
    feats = (torch.zeros(2, 8, 4, 4), torch.eye(3)[:2, :, None, None].expand(2, 3, 2, 2))
    samples = head.predict(feats)
    assert [sample.pred_label.item() for sample in samples] == [2, 0]
    assert all(sample.pred_score.sum() == 1 for sample in samples)
    assert torch.equal(pooled((torch.eye(3),)), torch.eye(3))
    assert not head.state_dict()  # the bank is no weight


def test_head_without_a_bank_is_told_what_is_missing():
    with pytest.raises(ConfigError, match='KNNBankHook'):
        KNNHead(3).predict((torch.zeros(1, 3),))
