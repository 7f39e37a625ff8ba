"""The kNN classifier against a loop."""

import torch

from hgkd_mm.hooks.knn_probe_hook import knn_accuracy


def test_accuracy_equals_a_loop():
    torch.manual_seed(0)
    bank, queries = torch.randn(30, 5), torch.randn(12, 5)
    bank_labels, labels = torch.randint(0, 4, (30,)), torch.randint(0, 4, (12,))
    hits = 0
    for query, label in zip(queries, labels, strict=True):
        similarities = [float(torch.cosine_similarity(query, x, dim=0)) for x in bank]
        nearest = sorted(range(30), key=lambda i: -similarities[i])[:5]
        votes = torch.zeros(4)
        for i in nearest:
            votes[bank_labels[i]] += torch.tensor(similarities[i] / 0.07).exp()
        hits += int(votes.argmax() == label)
    assert abs(knn_accuracy(bank, bank_labels, queries, labels, k=5) - 100 * hits / 12) < 1e-9
    assert knn_accuracy(bank, bank_labels, bank, bank_labels, k=1) == 100


def test_k_may_exceed_the_bank():
    feats, labels = torch.eye(3), torch.arange(3)
    assert knn_accuracy(feats, labels, feats, labels, k=20) == 100
