"""Names and templates come from where they are published, with their number."""

import pytest

from cyclip_model.sets import prompts


def test_imagenet_has_a_thousand_classes_and_eighty_templates() -> None:
    assert (len(prompts.imagenet_names()), len(prompts.imagenet_wnids())) == (1000, 1000)
    assert prompts.imagenet_wnids() == sorted(set(prompts.imagenet_wnids()))
    templates = prompts.imagenet_templates()
    assert len(templates) == 80
    assert all(text.count("{}") == 1 for text in templates)


def test_the_packages_agree_on_imagenets_templates() -> None:
    assert sorted(prompts.imagenet_templates()) == sorted(prompts.packaged_templates("imagenet1k"))


def test_a_class_that_cifar_100_has_not_is_named() -> None:
    with pytest.raises(ValueError, match="no class 'unicorn'"):
        prompts.cifar100_superclasses(["apple", "unicorn"])
