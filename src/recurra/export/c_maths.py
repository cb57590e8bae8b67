"""The functions that a C header brings with it, and how each operation of a program is said in C.

`@` stands for the header's name. Whatever runs once for each unit is free of branches, so that
compilers turn its loop into vector instructions without -ffast-math; the polynomial of e^x is that
of Cephes (Moshier, expf.c).
"""

from __future__ import annotations

from collections.abc import Iterable

FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": (
        (),
        """\
typedef union { float number; uint32_t bits; int32_t order; } @_bits;""",
    ),
    "power": (
        ("bits",),
        """\
/* 2^n, -126 <= n <= 127 */
static inline float @_power(int32_t n)
{
    @_bits made;
    made.bits = (uint32_t)(n + 127) << 23;
    return made.number;
}""",
    ),
    "least": (
        ("bits",),
        """\
/* min(|x|, most); most where x is NaN */
static inline float @_least(float x, float most)
{
    @_bits here, there;
    here.number = x;
    there.number = most;
    here.bits &= 0x7FFFFFFFu;
    here.order = here.order < there.order ? here.order : there.order;
    return here.number;
}""",
    ),
    "known": (
        ("bits",),
        """\
/* y; NaN where x is NaN */
static inline float @_known(float y, float x)
{
    @_bits here, there;
    here.number = y;
    there.number = x;
    here.bits |= 0u - ((0x7F800000u - (there.bits & 0x7FFFFFFFu)) >> 31);
    return here.number;
}""",
    ),
    "choose": (
        ("bits",),
        """\
/* a where the sign of t is minus, else b */
static inline float @_choose(float t, float a, float b)
{
    @_bits sign, one, other;
    sign.number = t;
    one.number = a;
    other.number = b;
    other.bits ^= (other.bits ^ one.bits) & (0u - (sign.bits >> 31));
    return other.number;
}""",
    ),
    "left": (
        (),
        """\
/* x - n ln 2, ln 2 in two parts of which n times the first is exact */
static inline float @_left(float x, int32_t n)
{
    return x - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
}""",
    ),
    "curve": (
        (),
        """\
/* e^r - 1, |r| <= ln(2) / 2 */
static inline float @_curve(float r)
{
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return r + r * r * p;
}""",
    ),
    "exp": (
        ("least", "known", "left", "curve", "power"),
        """\
/* e^x */
static inline float @_exp(float x)
{
    const float c = copysignf(@_least(x, 104.0f), x);
    const int32_t n = (int32_t)(c * 1.44269504f + copysignf(0.5f, x));
    const int32_t half = n / 2;
    return @_known((1.0f + @_curve(@_left(c, n))) * @_power(half) * @_power(n - half), x);
}""",
    ),
    "sigmoid": (
        ("least", "known", "choose", "left", "curve", "power"),
        """\
/* 1 / (1 + e^-x), by e^-|x| */
static inline float @_sigmoid(float x)
{
    const float c = -@_least(x, 104.0f);
    const int32_t n = (int32_t)(c * 1.44269504f - 0.5f);
    const int32_t half = n / 2;
    const float e = (1.0f + @_curve(@_left(c, n))) * @_power(half) * @_power(n - half);
    return @_known(@_choose(x, e, 1.0f) / (1.0f + e), x);
}""",
    ),
    "tanh": (
        ("least", "known", "choose", "left", "curve", "power"),
        """\
/* tanh(|x|) = 1 - 2e / (1 + e), e = e^(-2|x|); (1 - e) / (1 + e) where that is more exact */
static inline float @_tanh(float x)
{
    const float c = -2.0f * @_least(x, 20.0f);
    const int32_t n = (int32_t)(c * 1.44269504f - 0.5f);
    const float s = @_power(n), p = s * @_curve(@_left(c, n));
    const float e = s + p, less = (s - 1.0f) + p, far = c + 1.1f;
    const float y = @_choose(far, 1.0f, 0.0f) - @_choose(far, 2.0f * e, less) / (1.0f + e);
    return @_known(copysignf(y, x), x);
}""",
    ),
    "relu": (
        (),
        """\
static inline float @_relu(float x)
{
    return x <= 0.0f ? 0.0f : x;
}""",
    ),
    "sign": (
        (),
        """\
static inline float @_sign(float x)
{
    return x != x ? x : (float)((x > 0.0f) - (x < 0.0f));
}""",
    ),
    "maximum": (
        (),
        """\
static inline float @_maximum(float x, float y)
{
    return x > y || x != x ? x : y;
}""",
    ),
    "minimum": (
        (),
        """\
static inline float @_minimum(float x, float y)
{
    return x < y || x != x ? x : y;
}""",
    ),
    "gelu": (
        (),
        """\
static inline float @_gelu(float x)
{
    return x / 2.0f * (1.0f + erff(x / 1.41421354f));
}""",
    ),
    "gelu_tanh": (
        ("tanh",),
        """\
static inline float @_gelu_tanh(float x)
{
    return x / 2.0f * (1.0f + @_tanh(0.797884583f * (x + 0.0447149985f * x * x * x)));
}""",
    ),
    "mean": (
        (),
        """\
/* the mean of x (n), summed in eight parts */
static inline float @_mean(const float* x, int n)
{
    float part[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    int j = 0;
    for (; j + 8 <= n; j += 8)
        for (int k = 0; k < 8; ++k) part[k] += x[j + k];
    for (int k = 0; j < n; ++j, ++k) part[k] += x[j];
    return (((part[0] + part[1]) + (part[2] + part[3])) +
            ((part[4] + part[5]) + (part[6] + part[7]))) / (float)n;
}""",
    ),
    "norm": (
        ("mean",),
        """\
/* v (n) = (v - mean) / sqrt(variance + eps), made smaller where squares would overflow;
   square (n) is working memory */
static inline void @_norm(float* v, float* square, int n, float eps)
{
    float most = 0.0f;
    for (int j = 0; j < n; ++j) most = fabsf(v[j]) > most ? fabsf(v[j]) : most;
    const float shrink = most > 1e15f ? 1e15f / most : 1.0f;
    for (int j = 0; j < n; ++j) v[j] *= shrink;
    const float mean = @_mean(v, n);
    for (int j = 0; j < n; ++j) v[j] -= mean;
    for (int j = 0; j < n; ++j) square[j] = v[j] * v[j];
    const float deviation = sqrtf(@_mean(square, n) + eps * shrink * shrink);
    for (int j = 0; j < n; ++j) v[j] /= deviation;
}""",
    ),
    "log_softmax": (
        ("exp",),
        """\
/* v (n) = v - log(sum exp(v)) + above */
static inline void @_log_softmax(float* v, int n, float above)
{
    float most = v[0];
    double sum = 0.0;
    for (int j = 1; j < n; ++j) most = v[j] > most ? v[j] : most;
    for (int j = 0; j < n; ++j) sum += (double)@_exp(v[j] - most);
    const float rest = logf((float)sum) - above;
    for (int j = 0; j < n; ++j) v[j] = v[j] - most - rest;
}""",
    ),
}
"""By name: the functions that it calls, and its text. A function comes after all that it calls."""

ADD = """\
/* y (n) += w x; w holds a row of n weights for each of the inputs, `stride` apart */
static inline void @_add_{precision}(float* @_RESTRICT y, int n, const {kept}* w, int stride,
                                        const float* x, int inputs)
{{
    int k = 0;
    for (; k + 4 <= inputs; k += 4) {{
        const {kept} *w0 = w, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
        const float x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
        for (int j = 0; j < n; ++j)
            y[j] += ({0} * x0 + {1} * x1) + ({2} * x2 + {3} * x3);
        w = w3 + stride;
    }}
    for (; k < inputs; ++k, w += stride)
        for (int j = 0; j < n; ++j) y[j] += {last} * x[k];
}}"""
KEPT = {"float32": "float", "bfloat16": "uint16_t", "int8": "int8_t"}
"""What holds a weight in C."""
READ = {"float32": "{}", "bfloat16": "@_wide({})", "int8": "(float){}"}
"""How a weight is read in C; an int8 is then scaled."""

FUNCTIONS["wide"] = (
    ("bits",),
    """\
/* a bfloat16 */
static inline float @_wide(uint16_t upper)
{
    @_bits made;
    made.bits = (uint32_t)upper << 16;
    return made.number;
}""",
)
for _precision, _kept in KEPT.items():
    _four = [READ[_precision].format(f"w{_number}[j]") for _number in range(4)]
    _text = ADD.format(
        *_four, precision=_precision, kept=_kept, last=READ[_precision].format("w[j]")
    )
    FUNCTIONS[f"add_{_precision}"] = (("wide",) if _precision == "bfloat16" else (), _text)

OPERATIONS = {
    "neg": "(-{0})",
    "abs": "fabsf({0})",
    "sign": "@_sign({0})",
    "exp": "@_exp({0})",
    "expm1": "expm1f({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sqrt": "sqrtf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "erf": "erff({0})",
    "tanh": "@_tanh({0})",
    "sigmoid": "@_sigmoid({0})",
    "relu": "@_relu({0})",
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "maximum": "@_maximum({0}, {1})",
    "minimum": "@_minimum({0}, {1})",
    "gt": "({0} > {1} ? 1.0f : 0.0f)",
    "ge": "({0} >= {1} ? 1.0f : 0.0f)",
    "lt": "({0} < {1} ? 1.0f : 0.0f)",
    "le": "({0} <= {1} ? 1.0f : 0.0f)",
    "eq": "({0} == {1} ? 1.0f : 0.0f)",
    "where": "({0} != 0.0f ? {1} : {2})",
}
"""How each operation of a program is said in C."""


def functions(used: Iterable[str]) -> list[str]:
    """The texts of the functions used and of all that they call, in an order that C takes.

    >>> [text.splitlines()[-4] for text in functions(["relu"])]
    ['static inline float @_relu(float x)']
    """
    wanted: dict[str, None] = {}

    def want(name: str) -> None:
        for other in FUNCTIONS[name][0]:
            want(other)
        wanted.setdefault(name)

    for name in sorted(used):
        want(name)
    return [FUNCTIONS[name][1] for name in wanted]
