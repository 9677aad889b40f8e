"""The arms that are tried by default, from simple to complex, by the kind of data.

They are small, so that a short time pays for several of them, and each has one structure:
runs of one structure train side by side. What is searched is how they are trained. Which
is the simpler of two is a matter of judgement where neither is part of the other; the
order here is that in which a careful practitioner tries them.
"""

from collections.abc import Sequence

from archtrial.protocol import Arm

__all__ = ["ladder_of", "plain_of"]

_BOOSTING = {
    "classification": "sklearn:HistGradientBoostingClassifier",
    "regression": "sklearn:HistGradientBoostingRegressor",
}
_LINEAR = {
    "classification": "sklearn:LogisticRegression",
    "regression": "sklearn:Ridge",
}


def ladder_of(
    kind: str, task: str, *, texts: bool = False, unequal: bool = False
) -> Sequence[Arm]:
    """Returns the arms for a kind of data, the simplest first.

    Args:
        kind: "table", "array", "sequence" or "image".
        task: "classification" or "regression".
        texts: Whether inputs are ids of tokens.
        unequal: Whether series differ in length, which not every arm is told of.
    """
    if texts:
        return [
            _arm("words", _LINEAR[task]),
            _arm("gru", "gru(width=12)"),
            _arm("tcn", "tcn(depth=3,width=12)"),
            _arm("transformer", "transformer(depth=1,width=32)"),
        ]
    if kind in ("table", "array"):
        return [
            _arm("linear", "linear"),
            _arm("mlp", "mlp(depth=2,width=100)"),
            _arm("boosting", _BOOSTING[task]),
            _arm("residual_mlp", "residual_mlp(depth=2,width=64)"),
            _arm("ft_transformer", "ft_transformer(depth=1,width=16)"),
        ]
    if kind == "sequence" and unequal:
        return [
            _arm("rnn", "rnn(width=12)"),
            _arm("gru", "gru(width=12)"),
            _arm("tcn", "tcn(depth=3,width=12)"),
            _arm("inception_time", "inception_time(depth=3,width=8)"),
            _arm("transformer", "transformer(depth=1,width=32)"),
        ]
    if kind == "sequence":
        return [
            _arm("linear", "linear"),
            _arm("mlp", "mlp(depth=2,width=100)"),
            _arm("cnn", "cnn(depth=3,width=25)"),
            _arm("gru", "gru(width=12)"),
            _arm("resnet", "resnet(depth=1,width=8)"),
            _arm("inception_time", "inception_time(depth=3,width=8)"),
            _arm("transformer", "transformer(depth=1,width=32)"),
        ]
    return [
        _arm("linear", "linear"),
        _arm("mlp", "mlp(depth=2,width=100)"),
        _arm("lenet", "lenet(depth=2,width=6,activation=relu,pooling=max)"),
        _arm("cnn", "cnn(depth=3,width=12)"),
        _arm("resnet", "resnet(depth=1,width=8)"),
        _arm("mixer", "mixer(depth=2,width=24)"),
        _arm("vit", "vit(depth=2,width=24)"),
    ]


def plain_of(
    kind: str, task: str, *, texts: bool = False, unequal: bool = False
) -> str:
    """Returns the scikit-learn estimator that stands beside the arms, as it comes.

    Gradient boosting on tables, and on series that end before others, whose ends it reads
    as missing; a linear model of the flattened inputs elsewhere.
    """
    table = (kind in ("table", "array") or unequal) and not texts
    return (_BOOSTING if table else _LINEAR)[task]


def _arm(name: str, spec: str) -> Arm:
    return Arm.model_validate({"name": name, "architecture": spec})
