"""The probes' classifiers against naive ones."""

import numpy as np
import torch

from hgkd_mm.hooks.probe_hook import knn_accuracy, linear_accuracy


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


def test_linear_accuracy_equals_least_squares_with_penalty_rows():
    torch.manual_seed(0)
    bank, queries = 3 * torch.randn(40, 5) + 7, 3 * torch.randn(25, 5) + 7
    truth = torch.randn(5, 4)
    bank_labels, labels = (bank @ truth).argmax(1), (queries @ truth).argmax(1)
    mean, std = bank.double().mean(0).numpy(), bank.double().std(0).numpy() + 1e-6
    x, q = (bank.double().numpy() - mean) / std, (queries.double().numpy() - mean) / std
    y = np.eye(int(bank_labels.max()) + 1)[bank_labels]
    # sqrt(N * penalty) * identity as further rows is the penalty as data
    rows = np.concatenate([x, np.sqrt(40 * 0.1) * np.eye(5)])
    targets = np.concatenate([y - y.mean(0), np.zeros((5, y.shape[1]))])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    expected = 100 * np.mean((q @ weights + y.mean(0)).argmax(1) == labels.numpy())
    assert 25 < expected < 100
    assert abs(linear_accuracy(bank, bank_labels, queries, labels) - expected) < 1e-9
