"""Parameters are found wherever a layer keeps its layers."""

import pytest

import adf
from adf.backend import default_rng
from adf.layers import Parameter
from adf.layers.paths import held, named


class House(adf.Layer):
    """Layers in every kind of room."""

    def __init__(self, **rooms):
        vars(self).update(rooms)


def linear():
    return adf.Linear(2, 3, bias=False, rng=0)


ROOMS = {
    "attribute": (lambda p: p, ["room.weight"]),
    "list": (lambda p: [p, p], ["room.0.weight"]),
    "nested list": (lambda p: [[], [p, linear()]], ["room.1.0.weight", "room.1.1.weight"]),
    "tuple in a dict": (lambda p: {"a": (p,), 3: p}, ["room.a.0.weight"]),
    "dict": (lambda p: {"down": p, "up": linear()}, ["room.down.weight", "room.up.weight"]),
    "dict of dicts of layers": (
        lambda p: {"a": {"b": adf.Sequential(adf.LeakyReLU(), p)}},
        ["room.a.b.layers.1.weight"],
    ),
    "parameters": (lambda p: {"a": [p.weight]}, ["room.a.0"]),
    "nothing": (lambda p: {"a": [1, "b", None, (2.0, {})]}, []),
}


@pytest.mark.parametrize("name", ROOMS)
def test_found(name):
    room, paths = ROOMS[name]
    house = House(room=room(linear()))
    assert list(named(house, Parameter)) == paths
    assert house.parameters() == list(named(house, Parameter).values())


def test_statistics_and_generators_too():
    rng = default_rng(0)
    house = House(rooms={"norms": [adf.BatchNorm2d(2)], "drop": adf.Dropout(rng=rng)})
    assert len(house.statistics()) == 2 and house.generators() == [rng]


def test_no_path_is_taken_twice():
    house = House(rooms={"a.b": linear(), "a": {"b": linear()}})
    with pytest.raises(ValueError, match=r"two things with the path rooms\.a\.b\.weight"):
        named(house, Parameter)
    assert len(held(house, Parameter)) == 2
