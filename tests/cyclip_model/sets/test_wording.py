"""Names and templates as published, and CIFAR-100's superclasses."""

from collections import Counter

import pytest

from cyclip_model.sets import wording

CIFAR10_FIRST = "a photo of a {}."


def test_templates_have_one_place_for_the_name() -> None:
    for key in ("cifar10", "mnist", "cars", "renderedsst2"):
        assert all(text.count("{}") == 1 and "{c}" not in text for text in wording.templates(key))
    assert wording.templates("cifar10")[0] == CIFAR10_FIRST
    assert wording.templates("mnist") == ['a photo of the number: "{}".']


def test_imagenets_templates_are_those_of_clip_benchmark_too() -> None:
    """Two packages copied them from the same notebook; where the two agree neither was changed."""
    assert sorted(wording.imagenet_templates()) == sorted(wording.templates("imagenet1k"))


def test_names_that_the_package_lacks_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"en_classnames\.json has no 'cub'; it has caltech101, "):
        wording.classnames("cub")


def test_every_superclass_of_cifar100_has_five_classes_of_its_own() -> None:
    classes = [name for of in wording.CIFAR100_SUPERCLASSES.values() for name in of.split()]
    assert len(classes) == len(set(classes)) == 100
    made = wording.superclasses(sorted(classes))
    assert set(Counter(made["of"]).values()) == {5}
    assert len(made["names"]) == 20


def test_superclasses_go_by_name_however_it_is_spelt() -> None:
    made = wording.superclasses(["maple tree", "pickup_truck", "boy"])
    assert [made["names"][number] for number in made["of"]] == ["trees", "vehicles 1", "people"]
    with pytest.raises(ValueError, match="'dragon' is not a class of CIFAR-100"):
        wording.superclasses(["boy", "dragon"])


def test_chosen_templates() -> None:
    assert wording.chosen("own", lambda: ["my {}"]) == (["my {}"], ())
    assert wording.chosen(["{}"], lambda: ["my {}"]) == (["{}"], ())
    texts, sources = wording.chosen("imagenet", lambda: ["my {}"])
    assert (len(texts), len(sources)) == (80, 1)
