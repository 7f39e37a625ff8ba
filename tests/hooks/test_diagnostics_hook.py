"""Figures of the diagnostics on models and batches made by hand."""

import copy

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from hgkd_mm.hooks.diagnostics_hook import Batch, stage_figures, token_figures
from hgkd_mm.hooks.representation import effective_rank, linear_cka, nearest_visible
from hgkd_mm.models import PixelReconstructionHead, SeveralTargetsHead, TokenDistillationHead
from hgkd_mm.models.heads import flatten_tokens
from hgkd_mm.models.losses import explained_variance
from hgkd_mm.sparse import PatchMask
from hgkd_mm.transfer import reestimate_batchnorm


class Repeats(nn.Module):
    """A student whose decoded features are the given ones, whatever it sees."""

    def __init__(self, decoded, head):
        super().__init__()
        self.decoded = iter(decoded)
        self.head = head.eval()
        self.backbone = lambda images: images
        self.sparse_forward = lambda images, mask: images
        self.neck = lambda feats, mask: next(self.decoded)


def masks(*visible):
    return [PatchMask(torch.tensor(v, dtype=torch.bool), 32) for v in visible]


MASKS = masks([[[1, 0], [0, 0]], [[0, 1], [1, 0]]], [[[1, 1], [0, 1]]])


def batches(defined=None, targets=1):
    torch.manual_seed(0)
    return [
        Batch(torch.zeros(size, 3, 64, 64), mask, [torch.randn(size, 8, 4, 4) for _ in range(targets)], known)
        for size, mask, known in zip((2, 1), MASKS, defined or [[None] * targets] * 2, strict=True)
    ]


def test_figures_are_over_the_tokens_of_all_batches():
    torch.manual_seed(1)
    head, given = TokenDistillationHead(5, 8), batches()
    head.standardize.running_mean.uniform_()
    decoded = [torch.randn(2, 5, 4, 4), torch.randn(1, 5, 4, 4)]
    with torch.no_grad():
        found = token_figures(Repeats(decoded, head), given)
        tokens = torch.cat([batch.tokens[0] for batch in given])
        target = head.targets(tokens)
        prediction = flatten_tokens(head.predict(torch.cat(decoded), (4, 4)))
        seen = torch.cat([mask.visible for mask in MASKS]).repeat_interleave(2, 1).repeat_interleave(2, 2)
        nearest = flatten_tokens(nearest_visible(target.view(3, 4, 4, 8).permute(0, 3, 1, 2), seen))
    for name, where in (('visible', seen.flatten()), ('masked', ~seen.flatten())):
        expected = explained_variance(prediction, target, where).item()
        assert found[f'explained_variance_{name}_unseen'] == pytest.approx(expected, abs=1e-6)
        expected = explained_variance(nearest, target, where).item()
        assert found[f'explained_variance_{name}_nearest'] == pytest.approx(expected, abs=1e-6)
    assert len(found) == 4


def test_a_perfect_student_explains_everything_and_constant_tokens_are_their_neighbours():
    head = TokenDistillationHead(8, 8)
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(8)[:, :, None, None])
        head.projection.bias.zero_()
        given = batches()
        decoded = [head.eval().targets(batch.tokens[0]).view(-1, 4, 4, 8).permute(0, 3, 1, 2) for batch in given]
        found = token_figures(Repeats(decoded, head), given)
        assert found['explained_variance_masked_unseen'] == found['explained_variance_visible_unseen'] == 1
        assert found['explained_variance_masked_nearest'] < 0.5
        even = [batch._replace(tokens=[batch.tokens[0][..., :1, :1].expand(-1, -1, 4, 4)]) for batch in given]
        found = token_figures(Repeats(decoded, head), even)
        assert found['explained_variance_masked_nearest'] == pytest.approx(1)


def test_undefined_tokens_count_nowhere():
    known = [[mask.visible.repeat_interleave(2, 1).repeat_interleave(2, 2)] for mask in MASKS]
    given = batches(known)
    head, decoded = TokenDistillationHead(5, 8), [torch.randn(2, 5, 4, 4), torch.randn(1, 5, 4, 4)]
    nan = []
    for batch in given:
        tokens = batch.tokens[0].masked_fill(~batch.defined[0][:, None], float('nan'))
        nan.append(batch._replace(tokens=[tokens]))
    with torch.no_grad():
        found = token_figures(Repeats(decoded, head), nan)
        assert set(found) == {'explained_variance_visible_unseen', 'explained_variance_visible_nearest'}
        without = token_figures(Repeats(decoded, head), batches())
    assert found == {key: pytest.approx(without[key], abs=1e-6) for key in found}


def test_several_targets_are_numbered_and_other_heads_say_nothing():
    cfg = dict(type='hgkd_mm.TokenDistillationHead', in_channels=5, embed_dims=8)
    decoded = [torch.randn(2, 5, 4, 4), torch.randn(1, 5, 4, 4)]
    with torch.no_grad():
        found = token_figures(Repeats(decoded, SeveralTargetsHead([cfg, cfg])), batches(targets=2))
        assert {'explained_variance_masked_unseen_0', 'explained_variance_visible_nearest_1'} <= set(found)
        assert token_figures(Repeats(decoded, PixelReconstructionHead(5)), batches()) == {}


class Stages(BaseModule):
    """Two stages, of 16x16 and 2x2 positions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6))
        self.last = nn.Conv2d(6, 7, 8, stride=8)

    def forward(self, x):
        x = self.stem(x)
        return x, self.last(x)


def test_stages_are_compared_on_the_last_ones_grid_after_batchnorm_was_reestimated():
    torch.manual_seed(0)
    backbone = Stages()
    given = [batch._replace(images=torch.randn(len(batch.images), 3, 64, 64)) for batch in batches()]
    before = copy.deepcopy(backbone.state_dict())
    with torch.no_grad():
        found = stage_figures(backbone, given)
        assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
        reestimate_batchnorm(backbone, (batch.images for batch in given))
        stages = backbone.eval()(torch.cat([batch.images for batch in given]))
    tokens = torch.cat([batch.tokens[0] for batch in given])
    rows = [flatten_tokens(nn.functional.adaptive_avg_pool2d(grid, 2)) for grid in (*stages, tokens)]
    expected = {
        'rank_stage1': effective_rank(rows[0]),
        'rank_stage2': effective_rank(rows[1]),
        'cka_stage1': linear_cka(rows[0], rows[2]),
        'cka_stage2': linear_cka(rows[1], rows[2]),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def test_without_a_teacher_there_is_the_rank_alone():
    given = [batch._replace(images=torch.randn(2, 3, 64, 64), tokens=[], defined=[]) for batch in batches()]
    with torch.no_grad():
        assert set(stage_figures(Stages(), given)) == {'rank_stage1', 'rank_stage2'}
