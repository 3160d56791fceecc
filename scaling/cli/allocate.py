"""`scaling allocate`: the table of budgets that buys the most."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import constraints as _constraints
from scaling.cli import cost_options, frontiers, options, serving_costs, show
from scaling.cli.allocated import report
from scaling.cli.frame import Command
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
            ("--model-config", "M|model=M,...", "Shape: a catalogue name or a config.json."),
            ("--hardware", "NAME", "Accelerator: seconds and joules become resources."),
            ("--kv-budget", "N|model=N,...", "Cached tokens that a step reads at most."),
            ("--block", "N|model=N,...", "Fill the KV budget by scoring blocks of N tokens."),
            ("--batch", "N|model=N,...", "Roofline: sequences that are decoded together."),
            ("--runtimes", "FILE", "Idealized runtime: a fit of it, or HELM's runtimes."),
            ("--accelerators", "N|model=N,...", "Idealized runtime: how many serve a request."),
        )
    ):
        command = click.option(flag, metavar=metavar, help=text)(command)
    return command


@click.command("allocate", cls=Command)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--budget", metavar="X", help="How much may be spent.")
@click.option("--unit", metavar="RESOURCE", help="Of what: tokens, samples, usd, seconds, ...")
@options.output("TABLE.json", "Write the budget table; of a frontier its JSON, or a chart.")
@options.as_json
@click.option(
    "--per",
    type=click.Choice(["query", "total"]),
    default="query",
    show_default=True,
    help="Whether the budget is the average of a query or a total.",
)
@click.option("--queries", type=click.IntRange(min=1), metavar="N", help="Queries of a total.")
@_constraints.given
@click.option(
    "--target-value",
    metavar="V",
    help="Spend the least of --unit for a mean value of at least V, in the place of a budget.",
)
@click.option(
    "--method",
    type=click.Choice(["price", "exact"]),
    default="price",
    show_default=True,
    help="Prices with a certified gap, or branch and bound for small problems.",
)
@click.option(
    "--frontier",
    "as_frontier",
    is_flag=True,
    help="Value against the budget of --unit, with the price at each point.",
)
@click.option("--budgets", metavar="X,Y,...", help="With --frontier: the budgets.")
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
@click.option(
    "--cost",
    "cost",
    type=click.Choice(["kinetics", "roofline", "idealized-runtime"]),
    help="Price samples by the shape of the model (FLOPs, bytes and eFLOPs become resources), by its "
    "roofline at a batch, or by profiled runtimes (seconds become one).",
)
@_cost_options
@cost_options.pricing
@click.option("--prompt-once", is_flag=True, help="The prompt is billed once a query.")
@click.option("--prefill-each", is_flag=True, help="FLOPs: the prompt is processed once a sample.")
@click.option(
    "--until-success",
    is_flag=True,
    help="A verifier stops sampling at the first success; actions cost what is used until then.",
)
@click.option(
    "--until-accepted",
    metavar="RIGHT,WRONG",
    help="The same for a verifier that errs: how often it accepts a right sample, and a wrong one.",
)
@click.option(
    "--cvar",
    type=float,
    metavar="LEVEL",
    help="Maximise the mean over the worst draws: 0.9 is the worst tenth.",
)
@click.option(
    "--cost-confidence",
    type=float,
    metavar="P",
    help="Keep the budget with this probability, given the error of the measured costs.",
)
@click.option(
    "--regret", "tell_regret", is_flag=True, help="Tell the regret also where classes are problems."
)
@click.option("--draws", type=int, metavar="D", help="Joint draws of the values.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="ENGINE",
    help="A serving target whose limits the table is checked against: vllm, anthropic, ... Repeatable.",
)
@click.option(
    "--explain",
    "explained",
    multiple=True,
    metavar="CLASS",
    help="Say why a class got what it got: level=hard. Repeatable; with --json, that is printed.",
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
    target_value: str | None,
    method: Any,
    as_frontier: bool,
    budgets: str | None,
    limits: tuple[str, ...],
    min_values: tuple[str, ...],
    floors: tuple[str, ...],
    max_shares: tuple[str, ...],
    min_shares: tuple[str, ...],
    constraints: str | None,
    classes: Any,
    values: Any,
    weights: str | None,
    allow_skip: bool,
    split: bool,
    extrapolate: bool,
    until_success: bool,
    until_accepted: str | None,
    cvar: float | None,
    cost_confidence: float | None,
    tell_regret: bool,
    draws: int | None,
    targets: tuple[str, ...],
    explained: tuple[str, ...],
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
    scaling allocate menu.csv --limit usd=0.01 --limit seconds:p95=2 --floor level=hard:0.5
    scaling allocate menu.csv --target-value 0.8 --unit usd
    scaling allocate fit.json --budget 4000 --unit tokens --explain level=hard
    scaling allocate fit.json --budget 4000 --unit tokens --cvar 0.9 --cost-confidence 0.95
    scaling allocate menu.csv --frontier --unit usd -o frontier.html
    scaling allocate counts.csv --values plugin --class problem --budget 16 --unit samples
    scaling allocate fit.json --budget 5e14 --unit flops --parameters 8e9 --layers 32 --width 4096 \
        --input-tokens 300
    scaling allocate fit.json --budget 1e16 --unit eflops --cost kinetics --input-tokens 300 \
        --model-config small=Qwen3-4B,large=Qwen3-32B --hardware h100_sxm

    INPUT is a fit document, a file of menu rows, a log, or - for standard input, told apart by
    content; several are merged. --budget X --unit U is short for --limit U:average=X. Exit code 4 where even the
    cheapest actions cost more than the budget, or limits contradict each other.
    """
    import scaling
    from scaling.allocators import Limit, Risk, explain, find_class
    from scaling.allocators.explain import document as explanations
    from scaling.core.files import write_text
    from scaling.curves import Menu

    amount = None if budget is None else options.finite(budget, "--budget")
    target = None if target_value is None else options.finite(target_value, "--target-value")
    at = None if budgets is None else options.numbers(budgets, "--budgets")
    if as_frontier or at is not None:
        _refuse_beside_frontier(unit, as_frontier=as_frontier)
    asked = _constraints.asked(
        limits=limits, min_values=min_values, floors=floors, max_shares=max_shares,
        min_shares=min_shares, constraints=constraints, queries=queries,
    )  # fmt: skip
    if budget is None and target is None and not asked and not as_frontier:
        raise UsageError(
            "no budget. Give --budget X --unit RESOURCE, --limit RESOURCE=X, or the least cost of a "
            "value: --target-value V --unit RESOURCE."
        )
    if amount is not None and unit is not None:
        Limit(unit, "average", amount)  # refuses what cannot be a budget before anything is read
    accepts = None if until_accepted is None else _accepts(until_accepted)
    risk = Risk(cvar, cost_confidence, True if tell_regret else None, draws)
    priced = _costs(**costs)
    files = [name for name in (weights, constraints) if name is not None]
    options.check_output(output, [*inputs, *files])
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
    how = {
        "limits": asked, "classes": classes, "values": values, "weights": traffic,
        "allow_skip": allow_skip, "split": split, "extrapolate": extrapolate,
        "until_success": until_success, "until_accepted": accepts, "costs": priced, "method": method, "seed": seed,
    }  # fmt: skip
    within_log = not (extrapolate or only_menus)
    if as_frontier:
        frontiers.give(
            sources,
            str(unit),
            at,
            how,
            output,
            as_json=as_json,
            inputs=inputs,
            within_log=within_log,
        )
        return
    with show.waiting("allocating"):
        allocation = scaling.allocate(
            sources,
            amount,
            unit=unit,
            per=per,
            queries=queries,
            target=target,
            risk=risk,
            gate=gate,
            **how,
        )
        reasons = [explain(allocation, find_class(allocation.ladder, text)) for text in explained]
        text = ""
        if output or targets or (as_json and not reasons):
            text = show.document(allocation.table(targets=targets).to_json())
    given = options.again("output", "as_json", "explained")
    following = (
        f"scaling table check {shlex.quote(str(output))}"
        if output
        else f"scaling allocate {shlex.join(inputs)} {given} -o table.json"
    )

    def further() -> None:
        from scaling.cli.explanation import engine_limits, explanation

        engine_limits(text if targets else "")
        for reason in reasons:
            explanation(reason, allocation.ladder.maximise.replace("_", " "))

    if reasons and as_json:
        if output:
            write_text(output, text)
            show.wrote(output, as_json=True)
        click.echo(show.document(explanations(allocation, reasons)), nl=False)
        return
    options.give(
        text,
        output,
        lambda: report(allocation, following, within_log=within_log, further=further),
        as_json=as_json,
    )


def _refuse_beside_frontier(unit: str | None, *, as_frontier: bool) -> None:
    """Refuse options that a frontier has no place for."""
    if not as_frontier:
        raise UsageError("--budgets: budgets in a row make a frontier. Add --frontier.")
    if unit is None:
        raise UsageError("--frontier: name the resource whose budget is varied, with --unit.")
    told = options.given()
    beside = ("gate", "cvar", "cost_confidence", "tell_regret", "draws", "targets", "explained")
    for name in ("budget", "target_value", "per", "queries", *beside):
        if name in told:
            raise UsageError(
                f"--frontier: {' '.join(told[name])} has no place beside it; a frontier is of average "
                "budgets: all from the least to the most, or those of --budgets X,Y,..."
            )


# --- reading -----------------------------------------------------------------------------------


def _accepts(text: str) -> tuple[float, float]:
    right, comma, wrong = text.partition(",")
    if not comma:
        raise UsageError(
            f"--until-accepted {text}: give two numbers, how often a right sample is accepted and how "
            "often a wrong one, such as 0.95,0.02."
        )
    return (
        options.finite(right, "--until-accepted, right samples"),
        options.finite(wrong, "--until-accepted, wrong samples"),
    )


_SHAPE = ("parameters", "layers", "width", "tokens_sd")


def _costs(*, prompt_once: bool, prefill_each: bool, **given: Any) -> SampleCosts | None:
    """The cost options, or None where none is given."""
    from scaling.costs import FlopsCosts, SampleCosts

    settings = {name: given.pop(name) for name in cost_options.SETTINGS}
    cost, shapes, hardware = (given.pop(name) for name in ("cost", "model_config", "hardware"))
    runtimes = given.pop("runtimes")
    serving_costs.refuse_foreign(cost)
    if not (prompt_once or prefill_each or cost) and all(v is None for v in given.values()):
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
    if cost == "idealized-runtime":
        price = settings["price_per_hour"]
        return serving_costs.idealized(runtimes, price, read, prompt_once=prompt_once)
    if cost:
        definition = cost_options.definitions(
            shapes, hardware, prefill="each" if prefill_each else "once", **settings
        )
        if cost == "roofline":
            return serving_costs.roofline(
                definition, read, prompt_once=prompt_once, prefill_each=prefill_each
            )
        return cost_options.kinetics(definition, read, prompt_once=prompt_once)
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
