import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.suite.estimate import duration, expected_seconds, makespan, share_done
from hgkd_mm.suite.job import write_stamp
from hgkd_mm.suite.plan import Job, Plan


def job(name, needs=(), work=1.0, group='a', alone=False):
    return Job(f'k/{name}', 'k', group, tuple(f'k/{need}' for need in needs), (), '', work, alone=alone)


def seconds(jobs):
    return {one.name: one.work for one in jobs}


def test_independent_jobs_share_the_cores_and_chains_do_not():
    free = [job(str(i), work=10) for i in range(4)]
    assert makespan(free, seconds(free), 1) == 40 and makespan(free, seconds(free), 2) == 20
    chain = [job('0', work=10), job('1', ['0'], 10), job('2', ['1'], 10)]
    assert makespan(chain, seconds(chain), 8) == 30


def test_a_job_that_has_to_be_alone_waits_for_all_cores():
    jobs = [job('0', work=10), job('1', work=4), job('2', work=5, alone=True), job('3', work=1)]
    assert makespan(jobs, seconds(jobs), 2) == 16


@given(st.lists(st.tuples(st.floats(0.1, 100), st.sets(st.integers(0, 9), max_size=3)), max_size=10), st.integers(1, 5))
def test_time_lies_between_the_work_over_the_cores_and_all_of_it(drawn, lanes):
    jobs = [
        job(str(index), [str(need) for need in needs if need < index], work)
        for index, (work, needs) in enumerate(drawn)
    ]
    total = sum(one.work for one in jobs)
    assert total / lanes - 1e-6 <= makespan(jobs, seconds(jobs), lanes) <= total + 1e-6


def test_finished_jobs_tell_what_their_group_takes_and_how_fast_the_machine_is(tmp_path):
    jobs = (job('0', work=100), job('1', work=100), job('2', work=30, group='b'))
    plan = Plan('toy', str(tmp_path), 'work', jobs)
    assert expected_seconds(plan) == {'k/0': 100, 'k/1': 100, 'k/2': 30}
    write_stamp(plan.path(jobs[0].stamp), {'seconds': 200.0})
    assert expected_seconds(plan) == {'k/0': 200, 'k/1': 200, 'k/2': 60}
    assert json.loads(plan.path(jobs[0].stamp).read_text()) == {'seconds': 200.0}


@pytest.mark.parametrize(
    ('log', 'share'),
    [
        ('', 0.0),
        ('INFO - Epoch(train)  [1][20/40]  lr: 1\nINFO - Epoch(train)  [2][10/40]  lr: 1', 0.3125),
        ('INFO - Epoch(train) [4][40/40]', 1.0),
    ],
)
def test_a_log_tells_how_far_a_training_is(log, share):
    assert share_done(log, 4) == share


def test_durations_are_for_people():
    assert [duration(s) for s in (5, 89, 600, 12_000)] == ['5 s', '89 s', '10 min', '3 h 20 min']
