"""A training written out in plain PyTorch: what a run is held to."""

import math

import torch
from torch import nn

from archtrial.training import recipe, run


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

    The order of examples is the run's own; of masks of dropout there may be none.

    Args:
        given: The problem, with a recipe of AdamW and a cosine.
        one: The job.
        outputs_of: Takes the outputs from what the module returns.
        evaluate_every: Steps between evaluations, which may change buffers, too.

    Returns:
        The module, its outputs for the test inputs, its state_dict before training, and
        the names of the parameters whose gradient was nothing but rounding all along.
    """
    wanted = recipe.settled(given.recipe, one.hyperparameters)
    x_train = torch.from_numpy(given.x_train)
    y_train = torch.from_numpy(given.y_train)
    if given.task == "regression":
        y_train = (y_train - y_train.mean()) / y_train.std(correction=0)
        y_train = y_train.float().unsqueeze(1)
    with run.own_noise(one.initial_seed, "cpu"):
        module = one.build()
        if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
            module(x_train[:2].clone())
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
    idle = {name for name, _ in module.named_parameters()}
    with run.own_noise(one.noise_seed, "cpu"):
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
            idle -= {
                name
                for name, parameter in module.named_parameters()
                if parameter.grad is not None
                and parameter.grad.norm() > 1e-6 * min(norm, given.recipe.gradient_clip)
            }
            optimizer.step()
            if (step + 1) % evaluate_every == 0:
                with torch.no_grad():
                    module.eval()(torch.from_numpy(given.x_validation.copy()))
        with torch.no_grad():
            outputs = outputs_of(module.eval()(torch.from_numpy(given.x_test.copy())))
    return module, outputs, before, idle
