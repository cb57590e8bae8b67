"""How the operations that torch records are said in the program's alphabet."""

from __future__ import annotations

from collections.abc import Callable

from recurra.program.derivative import Ops
from recurra.program.graph import BINARY, UNARY

Lower = Callable[..., int]


def _scaled(op: str) -> Lower:
    """x + alpha * y, x - alpha * y."""
    return lambda k, x, y, alpha=None: getattr(k, op)(x, y if alpha is None else k.mul(y, alpha))


def _clamp(k: Ops, x: int, low: int | None = None, high: int | None = None) -> int:
    if high is not None:
        x = k.where(k.gt(x, high), high, x)
    return x if low is None else k.where(k.lt(x, low), low, x)


def _hardtanh(k: Ops, x: int, low: int | None = None, high: int | None = None) -> int:
    """Like clamp, but a tie has no gradient, as in torch."""
    low, high = k.const(-1.0) if low is None else low, k.const(1.0) if high is None else high
    return k.where(k.ge(x, high), high, k.where(k.le(x, low), low, x))


def _hardsigmoid(k: Ops, x: int) -> int:
    line = k.add(k.div(x, k.const(6.0)), k.const(0.5))
    three, one, zero = k.const(3.0), k.const(1.0), k.const(0.0)
    return k.where(k.ge(x, three), one, k.where(k.le(x, k.neg(three)), zero, line))


def _softplus(k: Ops, x: int, beta: int | None = None, threshold: int | None = None) -> int:
    """log(1 + exp(beta x)) / beta, and x itself beyond the threshold, as in torch."""
    beta, threshold = (
        k.const(1.0) if beta is None else beta,
        k.const(20.0) if threshold is None else threshold,
    )
    scaled = k.mul(x, beta)
    beyond = k.gt(scaled, threshold)
    return k.where(beyond, x, k.div(k.log1p(k.exp(k.where(beyond, k.const(0.0), scaled))), beta))


def _log_sigmoid(k: Ops, x: int) -> int:
    """min(x, 0) - log(1 + exp(-|x|)); said with `where`, because relu and abs have no gradient at
    0.
    """
    negative = k.lt(x, k.const(0.0))
    return k.sub(k.where(negative, x, k.const(0.0)), k.log1p(k.exp(k.where(negative, x, k.neg(x)))))


def _detach(k: Ops, x: int) -> int:
    """Only of a constant, where torch writes it down by itself."""
    if k.builder.nodes[x].op != "const":
        raise NotImplementedError("a value whose gradient is stopped")
    return x


def _elu(
    k: Ops,
    x: int,
    alpha: int | None = None,
    scale: int | None = None,
    input_scale: int | None = None,
) -> int:
    one = k.const(1.0)
    alpha, scale, input_scale = (one if v is None else v for v in (alpha, scale, input_scale))
    inner = k.expm1(k.mul(k.where(k.gt(x, k.const(0.0)), k.const(0.0), x), input_scale))
    return k.mul(k.where(k.gt(x, k.const(0.0)), x, k.mul(alpha, inner)), scale)


def _power(k: Ops, x: int, exponent: int) -> int:
    """x to a constant: whole powers by multiplication, a half by the root."""
    power = k.builder.nodes[exponent].value
    if power == 0.5:
        return k.sqrt(x)
    if power != int(power) or not 1 <= abs(power) <= 8:
        raise NotImplementedError(f"pow with exponent {power}")
    result = x
    for _ in range(int(abs(power)) - 1):
        result = k.mul(result, x)
    return result if power > 0 else k.div(k.const(1.0), result)


LOWER: dict[str, Lower] = {
    **{name: lambda k, x, op=name: getattr(k, op)(x) for name in UNARY},
    **{
        name: lambda k, x, y, op=name: getattr(k, op)(x, y)
        for name in BINARY
        if name not in ("add", "sub")
    },
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "rsub": lambda k, x, y, alpha=None: k.sub(y, x if alpha is None else k.mul(x, alpha)),
    "sgn": lambda k, x: k.sign(x),
    "reciprocal": lambda k, x: k.div(k.const(1.0), x),
    "rsqrt": lambda k, x: k.div(k.const(1.0), k.sqrt(x)),
    "exp2": lambda k, x: k.exp(k.mul(x, k.const(0.6931471805599453))),
    "pow": _power,
    "where": lambda k, c, x, y: k.where(c, x, y),
    "clamp": _clamp,
    "clamp_min": lambda k, x, low: _clamp(k, x, low),
    "clamp_max": lambda k, x, high: _clamp(k, x, None, high),
    "hardtanh": _hardtanh,
    "hardsigmoid": _hardsigmoid,
    "silu": lambda k, x: k.mul(x, k.sigmoid(x)),
    "softplus": _softplus,
    "log_sigmoid_forward": _log_sigmoid,
    "elu": _elu,
    "celu": lambda k, x, alpha=None: _elu(
        k, x, alpha, None, None if alpha is None else k.div(k.const(1.0), alpha)
    ),
    "leaky_relu": lambda k, x, slope=None: k.where(
        k.gt(x, k.const(0.0)), x, k.mul(x, k.const(0.01) if slope is None else slope)
    ),
    "threshold": lambda k, x, limit, value: k.where(k.gt(x, limit), x, value),
    "gelu": lambda k, x: k.mul(
        k.mul(x, k.const(0.5)), k.add(k.const(1.0), k.erf(k.mul(x, k.const(0.7071067811865476))))
    ),
    "lerp": lambda k, x, y, share: k.add(x, k.mul(share, k.sub(y, x))),
    "addcmul": lambda k, x, y, z, value=None: k.add(x, _times(k, k.mul(y, z), value)),
    "addcdiv": lambda k, x, y, z, value=None: k.add(x, _times(k, k.div(y, z), value)),
    "logical_not": lambda k, x: k.eq(x, k.const(0.0)),
    "ne": lambda k, x, y: k.sub(k.const(1.0), k.eq(x, y)),
    **{name: lambda k, x: x for name in ("alias", "clone", "lift_fresh")},
    "detach": _detach,
    **{
        name: lambda k, x, fill=value: k.const(fill)
        for name, value in (("zeros_like", 0.0), ("ones_like", 1.0))
    },
    "full_like": lambda k, x, value: value,
    "scalar_tensor": lambda k, value: value,
}
"""torch's aten operations by name; those not here are refused."""


def _times(k: Ops, x: int, value: int | None) -> int:
    return x if value is None else k.mul(x, value)
