"""How large an equivalent network is, and what memory is free, before it is built."""

import dataclasses
import os
import sys
from pathlib import Path

import torch
from torch import nn

from archtrial.equivalents.graph import BatchNorm, Form, Plan, plan
from archtrial.equivalents.untied import Shared
from archtrial.errors import ArmError
from archtrial.zoo.registry import Shape

__all__ = ["Sizes", "available_memory", "refuse", "sizes", "sizes_of"]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Numbers of parameters of a module and of its equivalents."""

    module: int
    fcn: int
    """Fully connected, as the paper counts: with the weights that would read zero
    padding, though they never get a gradient."""
    fcn_without_padding: int
    """Fully connected, as it is held: without those weights."""
    lcn: int
    """Locally connected, as it is held: with the weights at zero padding, which stay
    zero."""
    bytes_each: int = 4
    """Of one parameter."""

    def bytes(self, form: Form) -> int:
        """Returns what the parameters of an equivalent take; training takes more."""
        held = self.fcn_without_padding if form == "fcn" else self.lcn
        return held * self.bytes_each


def sizes(
    module: nn.Module, input_shape: Shape, *, batch_norm: BatchNorm = "per_position"
) -> Sizes:
    """Counts the parameters of a module's equivalents without building them.

    Args:
        module: Any that has an equivalent; it is left as it is.
        input_shape: One example's shape.
        batch_norm: As for `equivalent_fcn`.

    Raises:
        ArmError: As `equivalent_fcn` does, but for memory.

    Example:
        >>> from archtrial import equivalents, zoo
        >>> counted = equivalents.sizes(zoo.cnn((40,), 10), (40,))
        >>> counted.module, counted.fcn, counted.fcn_without_padding, counted.lcn
        (5210, 190810, 171110, 32610)
    """
    return sizes_of(plan(module, input_shape, batch_norm))


def sizes_of(planned: Plan) -> Sizes:
    """Counts what a plan will hold."""
    parameters = list(planned.module.parameters())
    ready = sum(
        parameter.numel()
        for layer in planned.layers
        if not isinstance(layer, Shared)
        for parameter in layer.parameters()
    )
    shared = [layer for layer in planned.layers if isinstance(layer, Shared)]
    return Sizes(
        module=sum(parameter.numel() for parameter in parameters),
        fcn=ready + sum(layer.in_all_with_padding for layer in shared),
        fcn_without_padding=ready + sum(layer.in_all for layer in shared),
        lcn=ready + sum(layer.in_windows for layer in shared),
        bytes_each=max((p.element_size() for p in parameters), default=4),
    )


def refuse(counted: Sizes, form: Form, device: torch.device) -> None:
    """Raises an ArmError where an equivalent does not fit into the memory that is free.

    Raises:
        ArmError: With both sizes and the ways out.
    """
    free, needed = available_memory(device), counted.bytes(form)
    if needed <= free:
        return
    fcn = form == "fcn"
    held = counted.fcn_without_padding if fcn else counted.lcn
    local = (
        ", or locally_connected (--form lcn), which needs"
        f" {_size(counted.bytes('lcn'))}"
        if fcn
        else ""
    )
    raise ArmError(
        f"the {'fully' if fcn else 'locally'} connected equivalent fits into memory",
        f"its {held:,} parameters need {_size(needed)}, {_size(free)} are free",
        f"Take smaller inputs or a smaller network{local}; force=True (--allow-large)"
        " tries nevertheless.",
    )


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def available_memory(device: torch.device | str = "cpu") -> int:
    """Returns how many bytes can still be taken.

    On a CUDA device what its driver says. Otherwise on Linux what the kernel says,
    and no more than the control group leaves; elsewhere the memory that the machine
    has, or no bound where that cannot be known.

    Args:
        device: Where the memory is.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    kernel = Path("/proc/meminfo")
    if not kernel.is_file():
        return _installed()
    free = sys.maxsize
    for line in kernel.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            free = int(value.split()[0]) * 1024
    return min([free, *_left_in_groups()])


def _installed() -> int:
    known = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in known or "SC_PAGE_SIZE" not in known:
        return sys.maxsize
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# Where the two versions of control groups say their limit, and what is used of it.
_GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _left_in_groups(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Returns what each control group that the process is in leaves of its limit."""
    left = []
    lines = own.read_text().splitlines() if own.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        group = mounted / controllers / path.lstrip("/")
        # A container sees its own group as the root of all.
        for folder in (group, *group.parents):
            if folder.is_relative_to(mounted):
                left += _left(folder)
    return left


def _left(folder: Path) -> list[int]:
    for limit, used, inactive in _GROUPS:
        files = (folder / limit, folder / used, folder / "memory.stat")
        if all(file.is_file() for file in files):
            most, now, statistics = (file.read_text() for file in files)
            if most.strip() == "max":
                return []
            # Files that nobody reads give way to whoever needs memory.
            gives_way = dict(line.split() for line in statistics.splitlines())
            return [int(most) - int(now) + int(gives_way.get(inactive, 0))]
    return []
