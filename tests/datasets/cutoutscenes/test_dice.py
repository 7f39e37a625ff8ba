from hgkd_mm.datasets.cutoutscenes.dice import Dice


def test_the_same_key_gives_the_same_choices_and_another_key_others():
    assert Dice(1, 2).shuffle(range(50)) == Dice(1, 2).shuffle(range(50))
    assert Dice(1, 2).shuffle(range(50)) != Dice(2, 1).shuffle(range(50))


def test_choices_stay_in_range_and_reach_everything():
    dice = Dice(0)
    draws = [dice.uniform(-1, 2) for _ in range(200)]
    assert -1 <= min(draws) < -0.9 and 1.9 < max(draws) < 2
    assert {dice.pick('abc') for _ in range(60)} == set('abc')
    assert sorted(dice.shuffle('abc')) == list('abc')
    assert 20 < sum(dice.chance(0.3) for _ in range(100)) < 40
