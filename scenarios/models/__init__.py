"""Models of the studies: each a module with `measure(seed, **parameters)`, pure, that gives named figures.

Some are the equations of a paper, some are populations on a venue. A study file (catalogue/studies) names the
model, its parameters, the arms in which they differ, and what is claimed of the figures.
"""

PROMISE_BROKEN = "promise_broken"
"""Figure of a model whose venues promise zero debt: how many of its runs broke the promise. Every study with
such a figure answers for it beside its claims."""
