"""Draws that follow from the seed alone."""

from statistics import mean

from kvorum.sim.chance import Chance


def draws(chance: Chance) -> list[float]:
    return [chance.random() for _ in range(5)]


def test_the_same_seed_gives_the_same_draws() -> None:
    assert draws(Chance(7)) == draws(Chance(7)) != draws(Chance(8))


def test_draws_are_the_same_in_every_version_of_this_program() -> None:
    assert Chance(1).child("network").below(1 << 30) == 188526172


def test_a_child_does_not_depend_on_what_its_parent_drew() -> None:
    parent = Chance(7)
    before = draws(parent.child("a"))
    parent.random()
    assert draws(parent.child("a")) == before != draws(parent.child("b"))


def test_below_reaches_every_number_and_no_other() -> None:
    chance = Chance(1)
    assert {chance.below(4) for _ in range(200)} == {0, 1, 2, 3}


def test_between_stays_between() -> None:
    chance = Chance(1)
    assert all(-2 <= chance.between(-2, 3) < 3 for _ in range(200))


def test_what_cannot_happen_draws_nothing() -> None:
    chance = Chance(1)
    assert not any(chance.happens(0) for _ in range(10))
    assert draws(chance) == draws(Chance(1))


def test_probability_and_mean_are_met() -> None:
    chance = Chance(1)
    assert 250 < sum(chance.happens(0.3) for _ in range(1000)) < 350
    assert 1.8 < mean(chance.exponential(2.0) for _ in range(2000)) < 2.2


def test_choice_is_fair_enough() -> None:
    chance = Chance(1)
    chosen = [chance.choice("abc") for _ in range(300)]
    assert all(chosen.count(letter) > 70 for letter in "abc")


def test_weights_say_how_often_each_is_drawn() -> None:
    chance = Chance(1)
    drawn = [chance.weighted({"never": 0.0, "often": 3.0, "seldom": 1.0}) for _ in range(1000)]
    assert drawn.count("never") == 0
    assert 600 < drawn.count("often") < 900
