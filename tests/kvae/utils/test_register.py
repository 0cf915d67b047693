"""kvae.utils.register: names, errors, and the order of what is registered."""

import pytest

from kvae.utils.register import Register


def test_things_are_found_by_each_of_their_names_in_alphabetical_order():
    register = Register("colour")

    @register.register("red", "crimson")
    def red():
        return (255, 0, 0)

    register.add("blue", red)
    assert register["red"] is register["crimson"] is red
    assert list(register) == ["blue", "crimson", "red"] and len(register) == 3
    assert "red" in register and "green" not in register


def test_an_unknown_name_is_answered_with_the_nearest():
    register = Register("colour")
    register.add("crimson", object())
    with pytest.raises(ValueError, match="Unknown colour 'crimsn'. Did you mean 'crimson'"):
        register["crimsn"]
    with pytest.raises(ValueError, match="Unknown colour"):
        register[["no name"]]


def test_a_second_definition_of_a_name_is_refused_and_the_same_one_is_not():
    register = Register("colour")

    def make():
        def red():
            return 1

        return red

    first, again = make(), make()  # A cell of a notebook, run twice.
    register.add("red", first)
    register.add("red", again)
    assert register["red"] is again
    with pytest.raises(ValueError, match="There is a colour 'red' already"):
        register.add("red", len)
