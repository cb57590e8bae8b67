"""How each operation of a program is said in ONNX."""

from __future__ import annotations

from collections.abc import Callable

from recurra.export.onnx_sheet import Sheet

DIRECT = {
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sin": "Sin",
    "cos": "Cos",
    "erf": "Erf",
    "tanh": "Tanh",
    "relu": "Relu",
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "maximum": "Max",
    "minimum": "Min",
}
"""One operator each; ONNX Runtime's Max, Min and Relu give NaN where an argument is NaN, as NumPy
does.
"""
COMPARISONS = {
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
}


def operation(sheet: Sheet, op: str, *args: str) -> str:
    """Write an operation of a program's alphabet; returns the name of its value."""
    if op in DIRECT:
        return sheet.add(DIRECT[op], *args)
    if op in COMPARISONS:
        return sheet.add("Cast", sheet.add(COMPARISONS[op], *args), to=sheet.onnx.TensorProto.FLOAT)
    return COMPOSED[op](sheet, *args)


def _expm1(sheet: Sheet, x: str) -> str:
    """2 sinh(x/2) exp(x/2) near zero, where exp(x) - 1 would lose digits."""
    half = sheet.add("Mul", x, sheet.number(0.5))
    near = sheet.add(
        "Mul", sheet.add("Mul", sheet.number(2), sheet.add("Sinh", half)), sheet.add("Exp", half)
    )
    far = sheet.add("Sub", sheet.add("Exp", x), sheet.number(1))
    return sheet.add("Where", _below(sheet, x, 1.0), near, far)


def _log1p(sheet: Sheet, x: str) -> str:
    """2 atanh(x / (2 + x)) near zero, where log(1 + x) would lose digits."""
    share = sheet.add("Div", x, sheet.add("Add", sheet.number(2), x))
    near = sheet.add("Mul", sheet.number(2), sheet.add("Atanh", share))
    far = sheet.add("Log", sheet.add("Add", sheet.number(1), x))
    return sheet.add("Where", _below(sheet, x, 0.5), near, far)


def _below(sheet: Sheet, x: str, limit: float) -> str:
    return sheet.add("Less", sheet.add("Abs", x), sheet.number(limit))


def _where(sheet: Sheet, k: str, x: str, y: str) -> str:
    return sheet.add("Where", sheet.add("Equal", k, sheet.number(0)), y, x)


def _sigmoid(sheet: Sheet, x: str) -> str:
    """1 / (1 + exp(-x)): right to the last digits where it is small too, as ONNX Runtime's own
    Sigmoid is not.
    """
    return sheet.add(
        "Reciprocal", sheet.add("Add", sheet.number(1), sheet.add("Exp", sheet.add("Neg", x)))
    )


COMPOSED: dict[str, Callable[..., str]] = {
    "expm1": _expm1,
    "log1p": _log1p,
    "where": _where,
    "sigmoid": _sigmoid,
}


def normalise(sheet: Sheet, x: str, gain: str, bias: str | None, eps: float) -> str:
    """Write a layer norm over the row.

    The mean is taken off first: a row far from zero would cost ONNX Runtime's LayerNormalization
    its digits.
    """
    centred = sheet.add("Sub", x, sheet.add("ReduceMean", x, axes=[-1], keepdims=1))
    return sheet.add(
        "LayerNormalization", centred, gain, *([bias] if bias else []), axis=-1, epsilon=eps
    )
