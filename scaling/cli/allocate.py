"""`scaling allocate`: the table of budgets that buys the most."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scaling.allocators.allocation import Allocation
    from scaling.costs import SampleCosts
    from scaling.curves import Menu, MenuSource
    from scaling.data.sweep import Sweep


def _cost_options(command: Any) -> Any:
    for flag, metavar, text in reversed(
        (
            ("--tokens-per-sample", "X|model=X,...", "Generated tokens of a sample."),
            ("--usd-per-sample", "X|model=X,...", "Dollars of a sample, prompt included."),
            ("--price-in", "X|model=X,...", "Dollars per million prompt tokens."),
            ("--price-out", "X|model=X,...", "Dollars per million generated tokens."),
            ("--input-tokens", "N|model=N,...", "Prompt tokens of a query."),
            ("--parameters", "N|model=N,...", "Weights of the model: FLOPs become a resource."),
            ("--layers", "N|model=N,...", "Transformer layers, for FLOPs."),
            ("--width", "N|model=N,...", "Model dimension, for FLOPs."),
            ("--tokens-sd", "X|model=X,...", "Spread of a sample's tokens, for FLOPs."),
        )
    ):
        command = click.option(flag, metavar=metavar, help=text)(command)
    return command


@click.command("allocate", cls=Command)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--budget", metavar="X", help="How much may be spent.")
@click.option("--unit", metavar="RESOURCE", help="Of what: tokens, samples, usd, seconds, ...")
@options.output("TABLE.json", "Write the budget table.")
@options.as_json
@click.option(
    "--per",
    type=click.Choice(["query", "total"]),
    default="query",
    show_default=True,
    help="Whether the budget is the average of a query or a total.",
)
@click.option("--queries", type=click.IntRange(min=1), metavar="N", help="Queries of a total.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="RESOURCE[:SCOPE]=X",
    help="A further limit; SCOPE is average, each or total. Repeatable.",
)
@click.option(
    "--class",
    "classes",
    type=click.Choice(["group", "problem"]),
    default="group",
    show_default=True,
    help="One budget a group of the fit, or one a problem.",
)
@click.option(
    "--values",
    type=click.Choice(["posterior", "plugin"]),
    default="posterior",
    show_default=True,
    help="What an action is worth: expected under the fit, or at raw rates.",
)
@click.option("--weights", metavar="FILE", help="CSV of class columns and weight: the traffic.")
@click.option("--allow-skip", is_flag=True, help="Doing nothing is on offer.")
@click.option("--split", is_flag=True, help="Divide one class between two actions.")
@click.option("--extrapolate", is_flag=True, help="Offer more samples than were ever logged.")
@_cost_options
@click.option("--prompt-once", is_flag=True, help="The prompt is billed once a query.")
@click.option("--prefill-each", is_flag=True, help="FLOPs: the prompt is processed once a sample.")
@click.option(
    "--until-success",
    is_flag=True,
    help="A verifier stops sampling at the first success; actions cost what is used until then.",
)
@click.option(
    "--gate",
    is_flag=True,
    help="Spend evenly unless held-out attempts show a gain over it.",
)
@options.reading
@options.seed
def command(
    inputs: tuple[str, ...],
    *,
    budget: str | None,
    unit: str | None,
    output: Path | None,
    as_json: bool,
    per: Any,
    queries: int | None,
    limits: tuple[str, ...],
    classes: Any,
    values: Any,
    weights: str | None,
    allow_skip: bool,
    split: bool,
    extrapolate: bool,
    until_success: bool,
    gate: bool,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
    seed: int,
    **costs: Any,
) -> None:
    r"""Choose an action for every class of query so that a budget buys the most.

    \b
    scaling allocate fit.json --budget 4000 --unit tokens -o table.json
    scaling allocate fit.json --budget 0.02 --unit usd --price-in 1 --price-out 4 \
        --input-tokens 300 -o table.json
    scaling allocate fit.json --budget 16 --unit samples --limit samples:each=64
    scaling allocate fit.json --class problem --budget 16 --unit samples --allow-skip --gate
    scaling allocate menu.csv --budget 0.01 --unit usd -o table.json
    scaling allocate counts.csv --values plugin --class problem --budget 16 --unit samples
    scaling allocate fit.json --budget 5e14 --unit flops --parameters 8e9 --layers 32 --width 4096 \
        --input-tokens 300

    INPUT is a fit document, a file of menu rows, a log, or - for standard input, told apart by
    content; several are merged. --budget X --unit U is short for --limit U:average=X. Exit code 4 where even the
    cheapest actions cost more than the budget.
    """
    import scaling
    from scaling.allocators import Limit
    from scaling.curves import Menu

    amount = None if budget is None else options.finite(budget, "--budget")
    if budget is None and not limits:
        raise UsageError("no budget. Give --budget X --unit RESOURCE, or --limit RESOURCE=X.")
    asked = [Limit.parse(text, queries=queries) for text in limits]
    if amount is not None and unit is not None:
        Limit(unit, "average", amount)  # refuses what cannot be a budget before anything is read
    priced = _costs(**costs)
    options.check_output(output, [*inputs, *([] if weights is None else [weights])])
    traffic = None if weights is None else _weights(weights)

    sources = list(
        _sources(
            inputs,
            values=values,
            seed=seed,
            reading={
                "rename": rename,
                "check_duplicates": check_duplicates,
                "threshold": threshold,
            },
        )
    )
    only_menus = all(isinstance(source, Menu) for source in sources)
    if only_menus:
        _refuse_for_menus()
    with show.waiting("allocating"):
        allocation = scaling.allocate(
            sources,
            amount,
            unit=unit,
            limits=asked,
            per=per,
            queries=queries,
            classes=classes,
            values=values,
            weights=traffic,
            allow_skip=allow_skip,
            split=split,
            extrapolate=extrapolate,
            until_success=until_success,
            costs=priced,
            gate=gate,
            seed=seed,
        )
        text = show.document(allocation.table().to_json()) if output or as_json else ""
    given = options.again("output", "as_json")
    following = (
        f"scaling table check {shlex.quote(str(output))}"
        if output
        else f"scaling allocate {shlex.join(inputs)} {given} -o table.json"
    )
    within_log = not (extrapolate or only_menus)
    options.give(
        text,
        output,
        lambda: report(allocation, following, within_log=within_log),
        as_json=as_json,
    )


# --- reading -----------------------------------------------------------------------------------


_SHAPE = ("parameters", "layers", "width", "tokens_sd")


def _costs(*, prompt_once: bool, prefill_each: bool, **given: str | None) -> SampleCosts | None:
    """The cost options, or None where none is given."""
    from scaling.costs import FlopsCosts, SampleCosts

    if not (prompt_once or prefill_each) and all(text is None for text in given.values()):
        return None
    read: dict[str, Any] = {}
    for name, text in given.items():
        flag = "--" + name.replace("_", "-")
        if text is None:
            continue
        if "=" in text:
            models = options.pairs(text, flag)
            read[name] = {m: options.finite(x, f"{flag} {m}") for m, x in models.items()}
        else:
            read[name] = options.finite(text, flag)
    if prefill_each or read.keys() & set(_SHAPE):
        return FlopsCosts(**read, prompt_once=prompt_once, prefill_once=not prefill_each)
    return SampleCosts(**read, prompt_once=prompt_once)


def _weights(path: str) -> list[dict[str, str]]:
    """Rows of class columns and `weight`."""
    import csv

    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            seen = list(reader.fieldnames or [])  # read while the file is open
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--weights {path}: {cause[:1].lower() + cause[1:]}. "
            "Give a CSV file of class columns and weight."
        ) from error
    if not seen:
        raise InputError(
            f"--weights {path}: the file is empty. Give a CSV file with a header of the class "
            "columns and weight, and one row a class."
        )
    if "weight" not in seen or not rows:
        what = "no column 'weight'" if "weight" not in seen else "no row"
        raise InputError(
            f"--weights {path}: {what}; columns seen: {', '.join(seen)}. "
            "Give one row a class: its columns, and weight."
        )
    for row in rows:
        if None in row or None in row.values():
            raise InputError(
                f"--weights {path}: a row has not as many fields as the header "
                f"({', '.join(seen)}): {', '.join(str(v) for v in row.values())}."
            )
    return rows


def _sources(
    inputs: Sequence[str], *, values: str, seed: int, reading: Mapping[str, Any]
) -> Iterator[Menu | MenuSource]:
    """What each input is; logs are read together, as one sweep."""
    from tempfile import TemporaryDirectory

    import scaling
    from scaling.data.read import paths_of
    from scaling.fitting.result import FitResult

    logs: list[str] = []
    with TemporaryDirectory(prefix="scaling-") as folder:
        for path in paths_of(list(inputs), Path(folder)):
            kind = _kind(path)
            if kind == "scaling-fit":
                yield FitResult.load(path)
            elif kind == "menu":
                names = options.renames(reading["rename"])
                yield scaling.read_menu(path, rename=names or None)
            elif kind == "log":
                logs.append(str(path))
            else:
                raise InputError(
                    f"{path} is a {kind.removeprefix('scaling-').replace('-', ' ')}; allocate "
                    "takes a fit document, menu rows or a log."
                )
        if logs:
            sweep = options.read_sweep(logs, **reading)
            options.notes(sweep)
            named = ["-" if Path(log).parent == Path(folder) else log for log in logs]
            yield sweep if values == "plugin" else _fitted(sweep, named, seed)


def _refuse_for_menus() -> None:
    """Refuse the options that say how a menu is made of a fit or a log, where all are made."""
    given = options.given()
    for name in ("classes", "values", "extrapolate", "check_duplicates", "threshold"):
        if name in given:
            raise UsageError(
                f"{' '.join(given[name])}: every input is a file of menu rows, whose classes, "
                f"actions and values are taken as they stand. Leave out {given[name][0]}, or give "
                "a fit document or a log."
            )


def _kind(path: Path) -> str:
    """`log`, `menu`, or the `kind` that a JSON document states."""
    from scaling.data.duck import connect
    from scaling.data.read import scans_of

    stated = options.stated_kind(path)
    if stated:
        return stated
    with connect() as con:
        columns = scans_of(con, (path,))[0].columns
    return "menu" if "value" in columns and "correct" not in columns else "log"


def _fitted(sweep: Sweep, paths: Sequence[str], seed: int) -> MenuSource:
    import scaling

    given = options.given()
    reading = ("rename", "check_duplicates", "threshold", "seed")
    repeated = shlex.join(word for name in reading for word in given.get(name, ()))
    named = shlex.join(paths)
    show.message(
        f"{named} is a log: fitting beta-binomial by task and model first; to choose the law and "
        f"the groups: scaling fit {' '.join(filter(None, (named, repeated)))} --law NAME --by COLS "
        "-o fit.json"
    )
    with show.progress("fitting beta-binomial") as progress:
        return scaling.fit(sweep, "beta-binomial", seed=seed, progress=progress)


# --- the report --------------------------------------------------------------------------------

_ONE = {
    "samples": "sample",
    "tokens": "token",
    "usd": "dollar",
    "flops": "FLOP",
    "bytes": "byte",
    "eflops": "equivalent FLOP",
    "seconds": "second",
    "joules": "joule",
}


def amount_of(amount: float, resource: str, digits: int = 6) -> str:
    """An amount in words."""
    if resource == "usd":
        return f"${show.amount(amount, digits)}"
    return f"{show.amount(amount, digits)} {_ONE[resource]}" + "s" * (amount != 1)


def report(allocation: Allocation, following: str, *, within_log: bool) -> None:
    """What a person reads of an allocation.

    Args:
        allocation: the answer.
        following: the command to type next.
        within_log: actions stop at the most attempts of a log, and --extrapolate offers more.
    """
    from scaling.allocators import funding

    menu = allocation.ladder
    what = menu.maximise.replace("_", " ")
    show.line("maximise", f"{what}, the mean a query over {_classes(menu)}")
    for limit in allocation.limits:
        show.line("budget", _limit(limit))
    used = ", ".join(amount_of(x, name, 4) for name, x in allocation.spent.items())
    show.line("spent", f"{used} a query")
    if allocation.unspent_cause:
        left = amount_of(allocation.unspent, allocation.priced_resource, 3)
        show.line("unspent", f"{left} a query: {_unspent(allocation, within_log)}")
    show.line("value", _value(allocation, what))
    price = _price(allocation, what, within_log)
    if price:
        show.line("more", price)
    _chosen(allocation)
    if menu.skip:
        got = funding(allocation)
        show.line("funded", f"{got.funded:,} of {got.funded + got.unfunded:,} classes")
    fallback = allocation.fallback
    if not fallback.nothing:
        cost = ", ".join(amount_of(x, name, 4) for name, x in fallback.cost.items())
        show.line(
            "fallback",
            f"{action_of(fallback.action)}, for queries of no class here: {what} "
            f"{show.number(fallback.value)}, {cost}",
        )
    if allocation.n_nonhull:
        named = "; ".join(action_of(each) for each in allocation.nonhull[:3])
        rest = allocation.n_nonhull - min(3, len(allocation.nonhull))
        show.line(
            "left out",
            f"{allocation.n_nonhull:,} of {allocation.n_menu:,} actions are off the concave hull, "
            f"so no price selects them: {named}" + (f" and {rest:,} more" if rest else ""),
        )
    for assumption in assumed(menu):
        show.line("assumed", assumption)
    show.cautions(
        (
            *(("", c["code"], c["message"]) for c in allocation.cautions),
            *(
                (_place("" if i < 0 else menu.class_name(i), c), c["code"], c["message"])
                for i, found in menu.cautions.items()
                for c in found
            ),
        )
    )
    show.following(following)


def _unspent(allocation: Allocation, within_log: bool) -> str:
    """Why something is left; best actions are the best of those on offer."""
    if allocation.price != 0 or not within_log:
        return str(allocation.unspent_cause)
    limited = any(limit.scope == "each" for limit in allocation.limits)
    return (
        f"{allocation.unspent_cause}, of those within the log{' and the limits' * limited}; "
        "--extrapolate offers more samples"
    )


def _place(name: str, caution: Mapping[str, Any]) -> str:
    """The class that a caution is about, and the group of it where the caution names one."""
    group = caution.get("group")
    if not group:
        return name
    said = show.place(group) if isinstance(group, dict) else str(group)
    return said if name in ("", said) else f"{name}: {said}"


def _classes(menu: Menu) -> str:
    if not menu.key:
        return "all queries"
    return f"{menu.weight.size:,} classes ({', '.join(menu.key)})"


def _limit(limit: Any) -> str:
    amount = amount_of(limit.amount, limit.resource)
    if limit.scope == "average":
        return f"{amount} a query, on average"
    if limit.scope == "each":
        return f"{amount} at most for any query"
    each = amount_of(limit.average, limit.resource)
    return f"{amount} in total over {limit.queries:,} queries, {each} a query"


def _value(allocation: Allocation, what: str) -> str:
    even = allocation.uniform_value
    text = f"{what} {show.number(allocation.value)}; "
    if even is None:
        text += "the even spend is not possible within this budget"
    else:
        gain = 100 * (allocation.value - even)
        text += f"{show.number(even)} if spent evenly ({gain:+.2f} points)"
    return (
        f"{text}; no allocation within the budget exceeds {show.number(allocation.bound)} "
        f"(relative gap {allocation.relative_gap:.1e})"
    )


def _price(allocation: Allocation, what: str, within_log: bool) -> str | None:
    """The shadow price for a round step of about the budget's size."""
    price = allocation.price
    budget = next(
        (
            limit.average
            for limit in allocation.limits
            if limit.scope != "each" and limit.resource == allocation.priced_resource
        ),
        0.0,
    )
    if price is None or budget <= 0:
        return None
    step = 10.0 ** math.floor(math.log10(budget))
    unit = amount_of(step, allocation.priced_resource)
    if price == 0:
        return f"{unit} more a query would buy nothing" + " within the log" * within_log
    each = f"{show.number(price, 3)} a {_ONE[allocation.priced_resource]}"
    return (
        f"{unit} more a query would buy about {show.number(price * step, 3)} {what} "
        f"(shadow price {each})"
    )


def _chosen(allocation: Allocation) -> None:
    from scaling.tables.build import MOST_ROWS

    key = list(allocation.ladder.key)
    resources = list(allocation.spent)
    rows = []
    for row in allocation.rows(show.MOST_ROWS):
        named = [str(row["class"][name]) for name in key] or ["all queries"]
        share = show.number(100 * row["weight"], 3) + "%"
        rows.append((*named, share, *_outcome(row, row["status"], resources)))
        if "split" in row:
            part = row["split"]
            of = f"{100 * part['share']:.3g}% of it"
            rows.append((*([""] * len(named)), of, *_outcome(part, "chosen", resources)))
    head = (*(key or ["class"]), "share", "action", allocation.ladder.maximise, "interval")
    numbers = ("share", allocation.ladder.maximise, *resources)
    show.table((*head, *resources), rows, numbers=numbers)
    classes = allocation.chosen.size
    in_table = classes <= MOST_ROWS
    show.more(classes, "classes", "--json" if in_table else "Allocation.to_frame() in Python")


def _outcome(row: Mapping[str, Any], status: str, resources: Sequence[str]) -> tuple[str, ...]:
    nothing = not row["action"] and not any(row["cost"].values())
    action = "nothing" if nothing else action_of(row["action"])
    return (
        action + " (fallback)" * (status == "fallback"),
        show.number(row["value"]),
        show.interval(row["interval"], 3),
        *(show.amount(row["cost"].get(name), 4) for name in resources),
    )


def action_of(action: Mapping[str, Any]) -> str:
    """An action in words: `large, 8 samples`."""
    parts = [str(action["model"])] if action.get("model") else []
    for name, value in action.items():
        if value == "first_accepted":
            parts.append("until one is right")
        elif name != "model" and value not in (None, ""):
            one = name.replace("_", " ")
            one = one.removesuffix("s") if value == 1 else one
            parts.append(f"{value} {one}" if isinstance(value, int) else f"{one} {value}")
    return ", ".join(parts) or "the only action"


def assumed(menu: Menu) -> Iterator[str]:
    """What must be true for the numbers to mean what they say."""
    if menu.maximise == "coverage":
        yield (
            "an oracle verifier: a query counts as solved when any of its samples is right, "
            "so something must recognise the right one"
        )
    if "first_accepted" in menu.action.get("stop_rule", ()):
        yield "sampling stops at the first right sample; a wrong one costs what a right one does"
    if menu.estimand == "population":
        yield "queries are like the problems of the log (the population estimand)"
    elif menu.estimand == "benchmark":
        yield "queries are these very problems, asked anew (the benchmark estimand)"
    cost = menu.provenance.get("cost_model")
    if cost and set(menu.cost) != {"samples"}:
        given = {k.replace("_", " "): v for k, v in cost.items() if k != "name"}
        named = ", ".join(f"{k} {_plainly(v)}" for k, v in given.items())
        rest = "a sample uses what it used on average in the log"
        yield f"{named}, as given; else {rest}" if given else rest


def _plainly(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={show.amount(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return show.amount(value) if isinstance(value, int | float) else str(value)
