"""What there is to know of a network, as JSON and as lines to read."""

from collections.abc import Iterator
from typing import Any

from archtrial.zoo.outside.options import OURS, ours_of, parameters_of
from archtrial.zoo.outside.packages import parted, sketch, version

__all__ = ["described", "page"]


_ON = {"input_shape": [3, 224, 224], "num_outputs": 1000}


def described(spec: str) -> dict[str, Any]:
    """Returns what there is to know of a network, as JSON.

    Raises:
        ArmError: The package is not installed, or has no such network.
    """
    library, name = parted(spec)
    library.check_name(name)
    network = sketch(library, name, {}, 1000, 3)
    places, _ = library.published(name)
    there = next((str(place) for place in places if place.is_file()), None)
    return {
        "package": library.package,
        "version": version(library.package),
        "options": {option: OURS[option] for option in ours_of(library)},
        "options_of_the_package": sorted(parameters_of(library, name)),
        "space": {},
        "kinds": ["image"],
        "parameters": sum(p.numel() for p in network.parameters()),
        "parameters_on": _ON,
        "pretrained": there,
    }


def page(spec: str) -> Iterator[str]:
    """Yields the lines of what there is to know of a network.

    Raises:
        ArmError: The package is not installed, or has no such network.
    """
    told = described(spec)
    yield f"{spec}, an image classifier of {told['package']} {told['version']}"
    yield ""
    yield (
        "  Its code is not archtrial's: runs share a fleet where it can be stacked, and"
        " else train one at a time; the study says which, and why."
    )
    yield ""
    for option, allowed in told["options"].items():
        yield f"option   {option:18} {allowed}"
    yield f"passed   {', '.join(told['options_of_the_package']) or 'none are shown'}"
    yield (
        f"size     {told['parameters']:,} parameters with {_ON['num_outputs']} outputs"
        " and 3 channels"
    )
    there = told["pretrained"]
    yield f"weights  {there or 'the published ones are not on this disk'}"
    yield "space    {}"
    yield "inputs   image"
