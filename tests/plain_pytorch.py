"""A training written out in plain PyTorch: what a run is held to."""

import math

import torch
from torch import nn

from archtrial.training import recipe
from archtrial.training.noise import own_noise

# As a share of the whole gradient's norm: sums of float32 are known to about 1e-6 of it.
ROUNDING = 1e-5


def rate(step, steps, warmup=0.05):
    """The share of the learning rate in a step from 0: up in a line, down in a cosine."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def only(returned):
    return returned


def trained(given, one, outputs_of=only, evaluate_every=5):
    """Trains one run's module with torch's own AdamW, clipping and losses.

    The order of examples is the run's own, masks of dropout are torch's own.

    Args:
        given: The problem, with a recipe of AdamW and a cosine.
        one: The job.
        outputs_of: Takes the outputs from what the module returns.
        evaluate_every: Steps between evaluations, which may change buffers, too.

    Returns:
        The module, its outputs for the test inputs, its state_dict before training, and
        by parameter which of its values ever had a gradient that was more than rounding.
    """
    wanted = recipe.settled(given.recipe, one.hyperparameters)
    x_train = torch.from_numpy(given.x_train)
    y_train = torch.from_numpy(given.y_train)
    if given.task == "regression":
        y_train = (y_train - y_train.mean()) / y_train.std(correction=0)
        y_train = y_train.float().unsqueeze(1)
    with own_noise(one.initial_seed, "cpu"):
        module = one.build()
        if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
            module(x_train[:2].clone())
    for layer in module.modules():
        if isinstance(layer, nn.Dropout) and "dropout" in one.hyperparameters:
            layer.p = one.hyperparameters["dropout"]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.AdamW(
        module.parameters(),
        lr=wanted["learning_rate"],
        weight_decay=wanted["weight_decay"],
        betas=(wanted["momentum"], 0.999),
    )
    orders = recipe.batches(
        given.recipe, len(x_train), given.batch_size, one.order_seed
    )
    driven = {
        name: torch.zeros_like(parameter, dtype=torch.bool)
        for name, parameter in module.named_parameters()
    }
    with own_noise(one.noise_seed, "cpu"):
        for step in range(given.steps):
            rows = next(orders)
            for group in optimizer.param_groups:
                group["lr"] = wanted["learning_rate"] * rate(step, given.steps)
            optimizer.zero_grad()
            outputs = outputs_of(module.train()(x_train[rows]))
            if given.task == "regression":
                loss = nn.functional.mse_loss(outputs.view(-1, 1), y_train[rows])
            else:
                loss = nn.functional.cross_entropy(
                    outputs, y_train[rows], label_smoothing=wanted["label_smoothing"]
                )
            loss.backward()
            norm = nn.utils.clip_grad_norm_(
                module.parameters(), given.recipe.gradient_clip
            )
            least = ROUNDING * min(float(norm), given.recipe.gradient_clip)
            for name, parameter in module.named_parameters():
                if parameter.grad is not None:
                    driven[name] |= parameter.grad.abs() > least
            optimizer.step()
            if (step + 1) % evaluate_every == 0:
                with torch.no_grad():
                    module.eval()(torch.from_numpy(given.x_validation.copy()))
        with torch.no_grad():
            outputs = outputs_of(module.eval()(torch.from_numpy(given.x_test.copy())))
    return module, outputs, before, driven
