"""What the study has to show; no record enters here."""

from typing import Literal, NamedTuple

from ..leaderboard.collect import METHOD_NAMES, RANDOM, SCRATCH, SHUFFLED, SPARK, Row
from ..leaderboard.names import with_variant

#: Folder of the records that the claims are judged by. While there is none, all records are shown beside the claims.
STUDY = 'study'
#: Folder of the records of the other students.
STUDENTS = 'study-students'


class Start(NamedTuple):
    """What a backbone starts from: a method, its variant (None: the method as it is), and a mask ratio, or any."""

    method: str
    variant: str | None = None
    mask_ratio: float | None = None

    def __str__(self) -> str:
        return with_variant(self.method, self.variant)

    def fits(self, row: Row) -> bool:
        """Whether a row starts so."""
        if self.mask_ratio is not None:
            masked = row.pretraining.mask_ratio if row.pretraining else None
            if masked is None or round(masked, 2) != self.mask_ratio:
                return False
        return (row.method, row.variant) == (self.method, self.variant)


HGKD = METHOD_NAMES['HGKD']
DENSE = METHOD_NAMES['DenseDistillation']
#: H-GKD as its config has it.
PLAIN = Start(HGKD, mask_ratio=0.6)
#: The H-GKD that the claims are about: each chosen on the exploration's fold, before its records in the study existed.
#: As records have their names: without the suite's spaces, which mmengine takes out of an option of the command line.
FIRST_CHOICE = Start(HGKD, 'aquarterunmasked')
CHOSEN = Start(HGKD, 'aquarterunmaskedandcells')
#: Chosen on the ablations' folds when the study had most of its records, for what the second one does not reach.
THIRD_CHOICE = Start(HGKD, 'aquarterunmaskedandeverystage')

#: Of frozen backbones: what a linear classifier of their features reaches, and that in percent of the teacher's.
LINEAR, SHARE = 'linear_top1', 'linear_share'

#: Distillation without masks that has the loss on the last stage, cell by cell, which the chosen H-GKD has.
DENSE_CELLS = Start(DENSE, 'cells')
#: The same with the loss on every stage, which the third choice has.
DENSE_STAGES = Start(DENSE, 'everystage')

#: What scratch has in place of pretraining: nothing, as many epochs as fit into its time, or as many as it takes. What
#: is pretrained has as much time as ours, or in claims of their own as many epochs, or clearly less time.
Budget = Literal['equal fine-tuning', 'equal total time', 'to convergence', 'equal epochs', 'less time']
EQUAL: Budget = 'equal fine-tuning'
LESS: Budget = 'less time'
#: Seconds that an image takes on one CPU core: of pretraining, by start, and of fine-tuning, by task. The ratios of the
#: first are those that docs/evidence.md measured ("What equal time means").
PRETRAINING_SECONDS = {
    **dict.fromkeys((CHOSEN, FIRST_CHOICE, Start(HGKD, RANDOM), Start(HGKD, SHUFFLED)), 0.012),
    THIRD_CHOICE: 0.013,
    PLAIN: 0.009,
    Start(SPARK): 0.009,
    Start(DENSE): 0.015,
    DENSE_CELLS: 0.015,
    DENSE_STAGES: 0.017,
}
FINETUNING_SECONDS = {'classification': 0.01, 'detection': 0.044, 'segmentation': 0.028}
#: Seconds of pretraining of the other students, by backbone. ``configs/suites/study-students.yaml`` says what measured
#: the shares of dense distillation's that the other starts take.
STUDENT_SECONDS = {
    backbone: {Start(SPARK): spark * 0.06, CHOSEN: hgkd * 0.06, Start(DENSE): 0.06}
    for backbone, spark, hgkd in (('MobileNetV2', 0.45, 0.6), ('ConvNeXt-atto', 0.44, 0.55))
}


class Claim(NamedTuple):
    """A start of a backbone minus another one of the same backbone, in points of a metric.

    ``over`` is the other start; None for a number that stands for itself. ``must`` is what has to be reached with
    p < 0.01 (for 0: not to fall behind), ``aim`` what is hoped for with p < 0.01; None where the difference is only
    reported. ``labels`` is the percentage of the labels that fine-tuning has. A control must be ``noise``: 0 is in the
    95 % interval. Scratch with a ``budget`` of more than the same fine-tuning has another protocol, see
    :mod:`hgkd_mm.evidence.longer`. What is pretrained is given the time of pretraining that ours had, its epochs, or
    less, and of each length that ours has there is a line, see :mod:`hgkd_mm.evidence.equal_time`.
    """

    task: str
    metric: str
    over: Start | None
    must: float | None = None
    aim: float | None = None
    ours: Start = CHOSEN
    labels: float = 100
    noise: bool = False
    budget: Budget = EQUAL


DENSE_PREDICTION = (('detection', 'box_AP'), ('detection', 'mask_AP'), ('segmentation', 'mIoU'))
#: Nothing is asked of these; they tell what the lead over dense distillation is owed to.
OWED_TO = (
    *(
        Claim('classification', metric, Start(DENSE), budget=budget)
        for budget in ('equal epochs', LESS)
        for metric in ('top1', LINEAR)
    ),
    *(
        Claim('classification', metric, over, budget=budget)
        for over, budget in ((DENSE_CELLS, LESS), (PLAIN, EQUAL))
        for metric in ('top1', LINEAR)
    ),
    *(
        Claim('classification', metric, over, ours=THIRD_CHOICE, budget=budget)
        for over, budget in ((Start(DENSE), LESS), (DENSE_STAGES, LESS), (CHOSEN, EQUAL))
        for metric in ('top1', LINEAR)
    ),
)
OF_CHOSEN = (
    Claim('classification', 'top1', Start(SCRATCH), 8, 15),
    Claim('classification', 'top1', Start(SPARK), 8, 15),
    Claim('classification', 'top1', Start(DENSE), 0, 3),
    Claim('classification', 'top1', Start(SCRATCH), 8, 20, labels=10),
    Claim('classification', 'top1', Start(SPARK), 8, 20, labels=10),
    Claim('detection', 'box_AP', Start(SCRATCH), 2, 6, budget='equal total time'),
    Claim('detection', 'box_AP', Start(SPARK), 2, 6),
    Claim('detection', 'mask_AP', Start(SCRATCH), 2, 6, budget='equal total time'),
    Claim('detection', 'mask_AP', Start(SPARK), 2, 6),
    Claim('segmentation', 'mIoU', Start(SCRATCH), 2, 6, budget='equal total time'),
    Claim('segmentation', 'mIoU', Start(SPARK), 2, 6),
    *(Claim(task, metric, Start(SCRATCH)) for task, metric in DENSE_PREDICTION),
    *(Claim('classification', 'top1', Start(method), labels=25) for method in (SCRATCH, SPARK)),
    Claim('classification', 'top1', Start(DENSE), labels=25, budget=LESS),
    *(Claim('classification', 'top1', Start(SCRATCH), labels=share, budget='equal total time') for share in (100, 10)),
    Claim('classification', 'top1', Start(SCRATCH), 8, 15, budget='to convergence'),
    Claim('classification', 'top1', Start(SCRATCH), 8, 20, labels=10, budget='to convergence'),
    *(Claim(task, metric, Start(SCRATCH), budget='to convergence') for task, metric in DENSE_PREDICTION),
    Claim('classification', LINEAR, Start(DENSE), 0, 3),
    Claim('classification', LINEAR, Start(SPARK)),
    Claim('classification', SHARE, None, 75, 90),
)
#: What was to be reached was asked of the first choice, too, and in classification of the third.
CLAIMS = (
    *OF_CHOSEN,
    *OWED_TO,
    *(claim._replace(ours=FIRST_CHOICE) for claim in OF_CHOSEN if claim.must is not None),
    *(
        claim._replace(ours=THIRD_CHOICE)
        for claim in OF_CHOSEN
        if claim.must is not None and claim.task == 'classification'
    ),
    *(
        Claim('classification', metric, Start(SPARK), ours=Start(HGKD, control), noise=True)
        for control in (RANDOM, SHUFFLED)
        for metric in ('top1', LINEAR)
    ),
)
#: What is reported of the other students.
OF_STUDENTS = (
    *(Claim('classification', 'top1', Start(method)) for method in (SCRATCH, SPARK, DENSE)),
    *(Claim(task, metric, Start(method)) for task, metric in DENSE_PREDICTION for method in (SCRATCH, SPARK, DENSE)),
    *(Claim('classification', LINEAR, Start(method)) for method in (SPARK, DENSE)),
    Claim('classification', SHARE, None),
)
