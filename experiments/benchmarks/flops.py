"""Counts the floating-point operations of a JAX function's matrix products and convolutions.

XLA's own cost analysis counts the body of a scan once. This count walks the traced program
instead, before anything is compiled, and takes each scan as often as it runs.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr

COUNTED = ("dot_general", "conv_general_dilated")


def count(function: Callable, *arguments: Any) -> int:
    """Multiplications and additions in the products of ``function(*arguments)``.

    Element-wise work is not counted, nor are products that no result depends on. A product that
    stands in the program twice counts twice.

    Args:
        function: anything that ``jax.jit`` takes.
        *arguments: trees of arrays, or of ``jax.ShapeDtypeStruct``.

    Raises:
        ValueError: a while loop holds a product, so its number is unknown.
    """
    return sum(times * _operations(product) for product, times in _products(function, arguments))


def products(function: Callable, *arguments: Any) -> Callable[[], jax.Array]:
    """A compiled call of nothing but the products of ``function``, on arrays of ones.

    They wait for each other as they have to in the function, and no more: those of a scan run one
    after the other in each of its steps, and what follows a scan waits for it.
    """
    found = _products(function, arguments)
    groups = [(n, [p for p, _ in group]) for n, group in itertools.groupby(found, lambda x: x[1])]
    operands = [
        [[jnp.ones(x.aval.shape, x.aval.dtype) for x in product.invars] for product in group]
        for _, group in groups
    ]

    def multiply(product, pair, waited):
        left, right = pair
        out = product.primitive.bind(left + waited.astype(left.dtype), right, **product.params)
        # Without the barrier, XLA would compute no more than the element that is asked for.
        return jnp.minimum(jax.lax.optimization_barrier(out).ravel()[0], 0).astype(jnp.float32)

    def run(operands):
        waited = jnp.zeros(())
        for (times, group), pairs in zip(groups, operands, strict=True):
            pairs = list(zip(group, pairs, strict=True))
            if times == 1:
                waited = sum(multiply(*pair, waited) for pair in pairs)
                continue

            def step(waited, _, pairs=pairs):
                for pair in pairs:
                    waited = multiply(*pair, waited)
                return waited, None

            waited = jax.lax.scan(step, waited, length=times)[0]
        return waited

    compiled = jax.jit(run)
    return lambda: compiled(operands)


def _products(function, arguments) -> list[tuple[JaxprEqn, int]]:
    closed = jax.make_jaxpr(function)(*arguments)
    live, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return list(_walk(live, 1))


def _walk(jaxpr: Jaxpr, times: int) -> Iterator[tuple[JaxprEqn, int]]:
    """Products of a program that runs ``times`` times, each with how often it runs."""
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name in COUNTED:
            yield equation, times
        elif name == "cond":
            branches = [list(_walk(branch.jaxpr, times)) for branch in params["branches"]]
            yield from max(branches, key=lambda b: sum(n * _operations(p) for p, n in b))
        elif name == "while":
            if any(True for inner in _inside(equation) for _ in _walk(inner, 1)):
                raise ValueError("a while loop holds a matrix product; its repetitions are unknown")
        else:
            repeats = params["length"] if name == "scan" else 1
            for inner in _inside(equation):
                yield from _walk(inner, times * repeats)


def _inside(equation: JaxprEqn) -> Iterator[Jaxpr]:
    return jaxprs_in_params(equation.params)


def _operations(product: JaxprEqn) -> int:
    """Twice the multiplications of one product."""
    left, right = (x.aval.shape for x in product.invars)
    out = math.prod(product.outvars[0].aval.shape)
    params = product.params
    if product.primitive.name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return 2 * out * math.prod(left[axis] for axis in contracted)
    # Each output sums over the kernel and its input channels; the zeros that a dilated input
    # holds, as in the gradient of a stride, are no work.
    features = right[params["dimension_numbers"].rhs_spec[0]]
    return 2 * out * math.prod(right) // features // math.prod(params["lhs_dilation"])
