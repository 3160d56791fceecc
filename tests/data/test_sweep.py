"""Groups, bins, filters, merge, save, describe."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from scaling.data import Counts, Points, looks_success_stopped, read
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.data import Sweep


def counts(**columns: object) -> Sweep:
    return read(pl.DataFrame(columns))


@pytest.fixture
def sweep() -> Sweep:
    """24 problems, two models, two levels, a number from 0 to 0.23."""
    return counts(
        task=["t"] * 48,
        model=["a", "b"] * 24,
        problem=[f"p{i // 2:02d}" for i in range(48)],
        level=["easy" if i < 24 else "hard" for i in range(48)],
        difficulty=[(i // 2) / 100 for i in range(48)],
        n=[10 + i // 2 for i in range(48)],
        c=[i % 11 for i in range(48)],
        tokens=[100.0 * (10 + i // 2) if i % 2 else 50.0 * (10 + i // 2) for i in range(48)],
    )


def only(groups: tuple[Counts | Points, ...]) -> Counts:
    (group,) = groups
    assert isinstance(group, Counts)
    return group


def test_default_groups_are_the_models(sweep: Sweep) -> None:
    groups = sweep.groups()
    assert [group.by for group in groups] == [{"model": "a"}, {"model": "b"}]
    for group in groups:
        assert isinstance(group, Counts)
        assert group.pooled == ()
        assert group.problem.tolist() == [f"p{i:02d}" for i in range(24)]
    a = groups[0]
    assert isinstance(a, Counts)
    assert a.n.tolist() == [10 + i for i in range(24)]
    assert a.c.tolist() == [2 * i % 11 for i in range(24)]
    assert a.resources["tokens"].mean == 50


def test_pooled_groups_add_attempts_of_a_problem(sweep: Sweep) -> None:
    group = only(sweep.groups([]))
    assert group.by == {}
    assert group.pooled == ("model",)
    assert group.n.tolist() == [2 * (10 + i) for i in range(24)]
    assert group.resources["tokens"].mean == 75


def test_bins_by_cut_points_hold_their_lower_end(sweep: Sweep) -> None:
    bins = {"difficulty": (0.05, 0.1)}
    groups = sweep.groups(["difficulty"], bins=bins)
    sizes = {group.by["difficulty"]: len(group.n) for group in groups if isinstance(group, Counts)}
    assert sizes == {0: 5, 1: 5, 2: 14}
    assert sweep.cuts(bins) == {"difficulty": (0.05, 0.1)}
    by_default = sweep.groups(bins=bins)
    assert by_default[0].by == {"model": "a", "difficulty": 0}


def test_quantile_bins_hold_equally_many_problems(sweep: Sweep) -> None:
    cuts = sweep.cuts({"difficulty": 4})["difficulty"]
    groups = sweep.groups(["difficulty"], bins={"difficulty": 4})
    assert [len(g.n) for g in groups if isinstance(g, Counts)] == [6, 6, 6, 6]
    again = sweep.groups(["difficulty"], bins={"difficulty": cuts})
    assert [g.by for g in again] == [g.by for g in groups]
    # a filter moves no cut
    filtered = sweep.groups(["difficulty"], bins={"difficulty": 4}, where={"level": "hard"})
    assert [g.by["difficulty"] for g in filtered] == [2, 3]


def test_filters(sweep: Sweep) -> None:
    assert len(only(sweep.groups([], where={"model": "a", "level": "hard"})).n) == 12
    assert only(sweep.groups([], where={"problem": ["p01", "p03"]})).problem.tolist() == [
        "p01",
        "p03",
    ]
    assert only(sweep.groups([], where={"difficulty": "0.03"})).problem.tolist() == ["p03"]


def test_few_attempts_are_dropped_and_counted(sweep: Sweep) -> None:
    group = only(sweep.groups([], where={"model": "b"}, min_attempts=20))
    assert group.n.min() == 20
    assert group.dropped == 10
    with pytest.raises(InputError, match="no problem has 99 attempts"):
        sweep.groups(min_attempts=99)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": ["modle"]}, "Did you mean 'model'"),
        ({"by": ["difficulty"]}, "24 values.*--bins difficulty:q4"),
        ({"by": [], "bins": {"difficulty": 4}}, "not in --by"),
        ({"by": ["level"], "bins": {"level": 4}}, "words"),
        ({"by": ["x"], "bins": {"x": 4}}, "no column 'x'"),
        ({"bins": {"difficulty": (0.3, 0.2)}}, "increasing"),
        ({"bins": {"difficulty": ()}}, "increasing"),
        ({"bins": {"difficulty": 1}}, "two or more"),
        ({"where": {"model": "A"}}, "there are a, b"),
        ({"where": {"levle": "easy"}}, "Did you mean 'level'"),
        ({"where": {"difficulty": "high"}}, "no such value"),
        ({"where": {"level": "easy", "problem": "p20"}}, "leaves no row"),
        ({"min_attempts": 0}, "at least 1"),
    ],
)
def test_groups_that_cannot_be(sweep: Sweep, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweep.groups(**options)  # type: ignore[arg-type]


def test_problems_of_two_tasks_are_two() -> None:
    group = only(counts(task=["s", "t"], problem=["1", "1"], n=[5, 5], c=[1, 2]).groups([]))
    assert group.n.tolist() == [5, 5]
    assert group.task.tolist() == ["s", "t"]


def test_resources_take_problems_or_clusters_as_units() -> None:
    """The mean over problems of each problem's mean use, residuals added up by unit."""
    rows = {"problem": list("abcd"), "n": [2, 4, 4, 10], "c": [1, 1, 1, 1]}
    use = {"tokens": [20.0, 80.0, 20.0, 80.0]}
    got = only(counts(**rows, **use).groups()).resources["tokens"]
    each = np.array([10.0, 20.0, 5.0, 8.0])
    assert got.mean == 10.75  # not the pooled 200 / 20
    assert got.n == 20
    assert got.se == pytest.approx(each.std(ddof=1) / 2)
    clustered = counts(**rows, **use, cluster=["x", "x", "y", "y"])
    got = only(clustered.groups()).resources["tokens"]
    residual = np.array([30 - 2 * 10.75, 13 - 2 * 10.75])
    assert got.se == pytest.approx(np.sqrt(2 * np.sum(residual**2)) / 4)
    single = counts(problem=["a"], n=[2], c=[1], tokens=[3.0])
    assert only(single.groups()).resources["tokens"].se is None


def test_problems_without_a_cluster_stand_alone() -> None:
    sweep = counts(problem=list("abc"), n=[1, 1, 1], c=[0, 1, 1], cluster=["x", "x", None])
    cluster = only(sweep.groups()).cluster
    assert cluster is not None
    assert cluster[0] == cluster[1] == "x"
    assert cluster[2] not in {"x", ""}


def test_stop_rules_do_not_mix() -> None:
    rows = {"problem": list("ab"), "n": [5, 5], "c": [1, 2]}
    batched = {"stop_batch": [5, 5], "stop_cap": [20, 20]}
    sweep = counts(**rows, stop_rule=["until_success_batched"] * 2, **batched)
    group = only(sweep.groups())
    assert (group.stop_rule, group.stop_batch, group.stop_cap) == ("until_success_batched", 5, 20)
    assert only(counts(**rows, stop_rule=["unknown", None]).groups()).stop_rule is None
    mixed = counts(**rows, stop_rule=["fixed", "until_success"])
    with pytest.raises(InputError, match="several stop rules"):
        mixed.groups()
    assert [g.by for g in mixed.groups(["stop_rule"])] == [
        {"stop_rule": "fixed"},
        {"stop_rule": "until_success"},
    ]
    assert mixed.describe()["groups"][1]["stop_rule"] == "until_success"


@pytest.mark.parametrize(
    ("n", "c", "stopped"),
    [
        ([10, 10, 10], [0, 1, 5], False),  # equal numbers
        ([3, 10, 10], [1, 0, 0], True),
        ([3, 10, 10], [0, 1, 0], False),  # an unsolved problem below the cap
        ([3, 7, 10], [1, 1, 1], True),  # all solved, once each
        ([3, 7, 10], [1, 4, 1], False),
        ([60, 120, 600], [2, 1, 0], True),  # by batches
    ],
)
def test_logs_that_look_success_stopped(n: list[int], c: list[int], stopped: bool) -> None:
    group = only(counts(problem=list("abc"), n=n, c=c).groups())
    assert looks_success_stopped(group) is stopped


@pytest.mark.reference
def test_real_logs_that_look_success_stopped(reference_data: Path) -> None:
    folder = reference_data / "coverage"
    for name, stopped in (
        ("bon_text_counts_sequential.csv", True),
        ("monkeys_pythia_math_counts.csv", False),
        ("pythia_checkpoints_math_counts.csv.gz", False),
    ):
        groups = read(folder / name).groups()
        assert {looks_success_stopped(g) for g in groups if isinstance(g, Counts)} == {stopped}


def test_points_of_curves() -> None:
    sweep = counts(
        model=["a", "a", "b", "b"],
        samples=[1, 8, 1, 8],
        score=[0.25, 0.5, 0.3, 0.75],
        queries=[40] * 4,
    )
    assert sweep.kind == "curve"
    groups = sweep.groups()
    assert [group.by for group in groups] == [{"model": "a"}, {"model": "b"}]
    b = groups[1]
    assert isinstance(b, Points)
    assert b.inputs["samples"].tolist() == [1, 8]
    assert b.value.tolist() == [0.3, 0.75]
    assert b.queries is not None
    assert b.queries.tolist() == [40, 40]
    with pytest.raises(UsageError, match="--by model"):
        sweep.groups([])
    with pytest.raises(UsageError, match="no attempts"):
        sweep.groups(min_attempts=3)
    assert sweep.describe()["points"] == 4


def test_runtimes_are_read_and_described_but_not_grouped() -> None:
    sweep = counts(model=["a"], hardware=["h"], num_input_tokens=[10], latency_s=[0.5])
    assert sweep.kind == "runtime"
    assert sweep.describe()["runtime_s"] == {"min": 0.5, "max": 0.5}
    with pytest.raises(UsageError, match="fitting costs"):
        sweep.groups()


def test_shards_merge_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "model": np.tile(["a", "b"], 120),
            "problem": np.repeat(np.arange(12), 20).astype(str),
            "attempt": np.tile(np.repeat(np.arange(10), 2), 12),
            "correct": rng.integers(0, 2, 240),
            "output_tokens": rng.integers(1, 9, 240),
            "level": np.repeat(["x", "y"], 120),
        }
    )
    whole = read(frame)
    halves = [read(frame.filter(pl.col("attempt") < 5)), read(frame.filter(pl.col("attempt") >= 5))]
    for merged in (halves[0].merge(halves[1]), halves[1].merge(halves[0])):
        assert merged.sha256 == whole.sha256
        assert merged.rows == 240
        for column, values in whole.statistics.numbers.items():
            np.testing.assert_array_equal(merged.statistics.numbers[column], values)
    by_problem = read(frame.filter(pl.col("problem") == "3"))
    rest = read(frame.filter(pl.col("problem") != "3"))
    assert rest.merge(by_problem).sha256 == whole.sha256
    with pytest.raises(InputError, match=r"attempts 0 to 4 .* 0 to 9"):
        halves[0].merge(whole)


def test_counts_add_and_kinds_do_not_mix() -> None:
    one = counts(problem=["a", "b"], n=[5, 5], c=[1, 2], tokens=[50.0, None])
    other = counts(problem=["b", "c"], n=[5, 5], c=[3, 4])
    merged = one.merge(other)
    assert merged.to_frame()["n"].tolist() == [5, 10, 5]
    assert merged.to_frame()["c"].tolist() == [1, 5, 4]
    assert only(merged.groups()).resources["tokens"].n == 5
    curve = counts(samples=[1], accuracy=[0.5])
    with pytest.raises(InputError, match="one kind"):
        one.merge(curve)
    with pytest.raises(InputError, match="samples=1 is in"):
        curve.merge(counts(samples=[1], accuracy=[0.6]))
    joined = curve.merge(counts(samples=[2], accuracy=[0.6]))
    assert len(joined.statistics) == 2


def test_saved_sweeps_come_back(sweep: Sweep, tmp_path: Path) -> None:
    path = sweep.save(tmp_path / "s.parquet")
    again = read(path)
    assert again.sha256 == sweep.sha256
    assert (again.kind, again.format, again.rows, again.sources) == (
        sweep.kind,
        sweep.format,
        sweep.rows,
        sweep.sources,
    )
    described = again.describe()
    assert described.pop("next").startswith(f"scaling fit {tmp_path / 's.parquet'} --law ")
    assert described == {k: v for k, v in sweep.describe().items() if k != "next"}
    shard = counts(task=["t"], model=["a"], problem=["new"], level=["hard"], n=[3], c=[1])
    shard.save(tmp_path / "t.parquet")
    assert read(str(tmp_path / "*.parquet")).sha256 == sweep.merge(shard).sha256
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s.parquet", "t.parquet"]


def test_sweeps_that_cannot_be_saved(sweep: Sweep, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"name it s\.parquet"):
        sweep.save(tmp_path / "s.csv")
    with pytest.raises(InputError, match="cannot be written"):
        sweep.save(tmp_path / "nowhere" / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_of_the_evidence(sweep: Sweep) -> None:
    frame = sweep.to_frame()
    kept = ["task", "model", "problem", "level", "difficulty", "n", "c", "tokens"]
    assert read(frame[kept].sample(frac=1, random_state=0)).sha256 == sweep.sha256
    for column, value in (("c", 9), ("problem", "other"), ("tokens", 1.0)):
        changed = frame[kept].copy()
        changed.loc[0, column] = value
        assert read(changed).sha256 != sweep.sha256


def test_description_is_a_document_that_ends_in_a_command(sweep: Sweep) -> None:
    document = sweep.describe()
    assert json.loads(sweep.to_json()) == json.loads(json.dumps(document, allow_nan=False))
    assert document["models"] == ["a", "b"]
    assert document["problems"] == 24
    assert document["attempts"] == 2 * sum(range(10, 34))
    assert document["attempts_per_problem"] == {"min": 10, "median": 21.5, "max": 33}
    assert document["class_columns"]["level"]["values"] == ["easy", "hard"]
    assert document["class_columns"]["difficulty"]["range"] == [0, 0.23]
    rates = [(i % 11) / (10 + i // 2) for i in range(0, 48, 2)]
    assert document["groups"][0]["mean_rate"] == pytest.approx(np.mean(rates))
    assert document["next"].startswith("scaling fit SWEEP --law beta-binomial --by model,")
    assert "--bins difficulty:q4" in document["next"]
    assert "one sample solves" in sweep._repr_html_()


def test_a_log_without_a_verdict_is_described() -> None:
    sweep = counts(problem=["a"], n=[0], c=[0])
    assert sweep.report.without_verdict == 1
    assert sweep.describe()["problems"] == 0
    assert "1 problems without any verdict" in sweep._repr_html_()
    assert "look at the column 'n'" in sweep.describe()["next"]
    with pytest.raises(InputError, match="no attempt has a verdict: the column 'n' is 0 in every"):
        sweep.groups()


def test_attempts_without_any_verdict_name_the_columns_to_look_at() -> None:
    log = counts(problem=["a", "b"], attempt=[0, 0], correct=[None, None], level=["x", "y"])
    assert log.describe()["next"].startswith("look at the column 'correct'")
    with pytest.raises(InputError, match=r"every row \(2 read\) the column 'correct' is empty"):
        log.groups()
    half = counts(problem=["a", "b"], attempt=[0, 0], correct=[None, 1], level=["x", "y"])
    with pytest.raises(InputError, match="--where level=x: no attempt that it keeps has a verdict"):
        half.groups(where={"level": "x"})
    with pytest.raises(InputError, match=r"no problem has 5 attempts .* is 1. Lower --min-att"):
        half.groups(min_attempts=5)


def test_points_know_their_model() -> None:
    points = {"samples": [1, 2, 1, 2], "accuracy": [0.1, 0.2, 0.3, 0.4]}
    two = counts(model=["a", "a", "b", "b"], **points)
    assert [group.model for group in two.groups()] == ["a", "b"]
    level = counts(model=["a", "b", "a", "b"], **{**points, "samples": [1, 2, 3, 4]})
    assert level.groups([])[0].model is None
    one = counts(model=["a"] * 2, samples=[1, 2], accuracy=[0.1, 0.2])
    assert one.groups()[0].model == "a"
    assert counts(samples=[1, 2], accuracy=[0.1, 0.2]).groups()[0].model is None


def test_the_next_command_can_be_typed(tmp_path: Path) -> None:
    path = tmp_path / "a log.csv"
    rows = "".join(f"p{i},0,0.{i},{'yes' if i % 2 else 'no'}\n" for i in range(4))
    path.write_text("question,attempt,correct,has code\n" + rows)
    sweep = read(path, rename={"question": "problem"}, threshold=0.5)
    command = shlex.split(sweep.describe()["next"])
    assert command[:7] == [
        *("scaling", "fit", str(path), "--map", "question=problem", "--threshold", "0.5")
    ]
    assert command[command.index("--by") + 1] == "has code"
    sweep.save(tmp_path / "s.parquet")
    saved = shlex.split(read(str(tmp_path / "*.parquet")).describe()["next"])
    assert saved[2:4] == [str(tmp_path / "*.parquet"), "--law"]
    other = tmp_path / "other.csv"
    other.write_text("problem,attempt,correct,has code\nz,0,1,yes\n")
    both = sweep.merge(read(other))  # no one command reads both
    assert both.describe()["next"].startswith("scaling fit SWEEP ")


def test_a_number_with_gaps_is_not_proposed_for_groups() -> None:
    sweep = counts(problem=list("abc"), n=[2] * 3, c=[1] * 3, size=[1, 2, None], of=[1, 2, 2])
    assert "--by of " in sweep.describe()["next"]


def test_use_is_described_by_problem_not_by_attempt() -> None:
    log = counts(
        problem=["a", "b", "b", "b"],
        attempt=[0, 0, 1, 2],
        correct=[1, 0, 0, 1],
        output_tokens=[100, 10, 20, 30],
    )
    assert log.describe()["groups"][0]["resources"]["tokens"]["mean"] == 60
