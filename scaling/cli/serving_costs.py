"""The cost options `roofline` and `idealized-runtime` of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.cli import options
from scaling.cli.cost_options import positive
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scaling.costs import CostModel, IdealizedRuntimeCosts, RooflineCosts, RuntimeProfile

OPTIONS = {
    "kinetics": (
        *("model_config", "hardware", "kv_budget", "block", "mode", "intensity", "composition"),
        *(
            "dtype",
            "weight_dtype",
            "kv_dtype",
            "n_share",
            "tensor_parallel",
            "price_per_hour",
            "head_dim",
        ),
    ),
    "roofline": (
        *(
            "model_config",
            "hardware",
            "batch",
            "dtype",
            "weight_dtype",
            "kv_dtype",
            "tensor_parallel",
        ),
        *("price_per_hour", "head_dim"),
    ),
    "idealized-runtime": ("runtimes", "accelerators", "price_per_hour"),
}
"""Cost model to the options that only cost models take."""


def refuse_foreign(cost: str | None) -> None:
    """Refuse options that belong to another cost model than the one asked for.

    Raises:
        UsageError: naming the cost models that take the option.
    """
    given = options.given()
    for name in dict.fromkeys(n for names in OPTIONS.values() for n in names):
        if name in given and (cost is None or name not in OPTIONS[cost]):
            takers = " or ".join(f"--cost {c}" for c, names in OPTIONS.items() if name in names)
            belongs = "a cost model" if cost is None else "another cost model"
            raise UsageError(f"{given[name][0]} belongs to {belongs}. Add {takers}.")


def roofline(
    definition: CostModel | dict[str, CostModel] | None,
    given: dict[str, Any],
    *,
    prompt_once: bool,
    prefill_each: bool,
) -> RooflineCosts:
    """The cost option `roofline`; the definitions say model, accelerator, precision and degree."""
    from scaling.costs import CostModel, RooflineCosts

    _refuse_shapes(given, "roofline")
    serving: Any = None
    if isinstance(definition, CostModel):
        serving = _serving(definition)
    elif definition is not None:
        serving = {name: _serving(each) for name, each in definition.items()}
    return RooflineCosts(
        **given, serving=serving, prompt_once=prompt_once, prefill_once=not prefill_each
    )


def _serving(cost: CostModel) -> Any:
    from scaling.costs import Serving
    from scaling.costs.work import Precision

    if cost.hardware is None:
        raise UsageError("--cost roofline needs an accelerator. Add --hardware.")
    precision = Precision(cost.weight_bytes, cost.kv_bytes)
    return Serving(cost.model, cost.hardware, cost.tensor_parallel, precision, cost.dtype)


def idealized(
    runtimes: str | None,
    price_per_hour: str | None,
    given: dict[str, Any],
    *,
    prompt_once: bool,
) -> IdealizedRuntimeCosts:
    """The cost option `idealized-runtime`, from a file of HELM's or a fit document."""
    from scaling.costs import IdealizedRuntimeCosts

    _refuse_shapes(given, "idealized-runtime")
    price = None if price_per_hour is None else positive(price_per_hour, "--price-per-hour")
    profile = None if runtimes is None else profiles(runtimes)
    return IdealizedRuntimeCosts(
        **given, profile=profile, price_per_hour=price, prompt_once=prompt_once
    )


def profiles(path: str) -> RuntimeProfile | dict[str, RuntimeProfile]:
    """Profiled runtimes, by model where the file names models.

    Raises:
        InputError: neither a fit of `idealized-runtime` nor a file of HELM's.
    """
    from scaling.costs.idealized_runtime import RuntimeProfile, read_helm

    if not Path(path).is_file() or options.stated_kind(Path(path)) != "scaling-fit":
        return read_helm(path)
    from scaling.fitting.result import FitResult

    fit = FitResult.load(path)
    if fit.law != "idealized-runtime":
        raise InputError(
            f"{path} is a fit of {fit.law}. --runtimes takes one of idealized-runtime: "
            "scaling fit LOG --law idealized-runtime."
        )
    found = {}
    for group in fit.groups:
        if group.usable:
            params = dict(zip(group.params, group.theta.tolist(), strict=True))
            monotone = fit.objective == "additive"
            found[group.model or ""] = RuntimeProfile.of_params(params, monotone=monotone)
    if not found:
        raise InputError(f"{path}: no group is usable. {fit.groups[0].why_not()}")
    if len(found) < sum(group.usable for group in fit.groups):
        raise InputError(
            f"{path} holds several fits of one model; keep one, for example with --where hardware=NAME."
        )
    return found[""] if set(found) == {""} else found


def _refuse_shapes(given: Iterable[str], cost: str) -> None:
    for name in ("parameters", "layers", "width"):
        if name in given:
            raise UsageError(f"--{name} is for FLOPs by hand, and --cost {cost} has no use for it.")
