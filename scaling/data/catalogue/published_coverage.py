"""Published coverage of repeated sampling, what it cost, and flaws of the benchmarks behind it.

Everything is from Brown et al. (2024), Large Language Monkeys: Scaling Inference Compute with
Repeated Sampling, arXiv 2407.21787 (CC BY 4.0); `place` says where in it.
"""

from __future__ import annotations

from typing import NamedTuple

SOURCE = "https://arxiv.org/abs/2407.21787"
SWE_BENCH_LITE_ISSUES = 300


class Priced(NamedTuple):
    """A row of Table 1: dollars for SWE-bench Lite with the Moatless Tools agent.

    Attributes:
        model: as the paper names it.
        usd_per_attempt: dollars an attempt.
        attempts: attempts at each issue.
        solved: share of the issues that any attempt solves.
        total_usd: dollars for all issues, as printed.
        relative_cost: total over that of the first row, as printed.
        place: where in the paper.
    """

    model: str
    usd_per_attempt: float
    attempts: int
    solved: float
    total_usd: float
    relative_cost: float
    place: str = "Table 1"

    @property
    def assumes_oracle_verifier(self) -> bool:
        """Whether `solved` needs somebody who picks the right attempt: with more than one."""
        return self.attempts > 1


PRICED = (
    Priced("DeepSeek-Coder-V2-Instruct", 0.0072, 5, 0.2962, 10.8, 1.0),
    Priced("GPT-4o", 0.13, 1, 0.2400, 39.0, 3.6),
    Priced("Claude 3.5 Sonnet", 0.17, 1, 0.2670, 51.0, 4.7),
)


def total_usd(row: Priced, problems: int = SWE_BENCH_LITE_ISSUES) -> float:
    """Dollars for a whole benchmark, `usd_per_attempt attempts problems`."""
    return row.usd_per_attempt * row.attempts * problems


class Solved(NamedTuple):
    """A published share of problems solved.

    Attributes:
        model: as the paper names it; of several, what they have in common.
        task: the benchmark.
        samples: attempts at each problem.
        share: problems solved.
        place: where in the paper.
        selection: who picks among the samples: "oracle" for coverage, otherwise the method.
    """

    model: str
    task: str
    samples: int
    share: float
    place: str
    selection: str = "oracle"

    @property
    def assumes_oracle_verifier(self) -> bool:
        """Whether the share is reached only if every right answer is recognised."""
        return self.selection == "oracle" and self.samples > 1


_PICKED = "best of majority vote and reward model"

SOLVED = (
    Solved("DeepSeek-Coder-V2-Instruct", "SWE-bench Lite", 1, 0.159, "section 2.1"),
    Solved("DeepSeek-Coder-V2-Instruct", "SWE-bench Lite", 250, 0.56, "section 2.1"),
    Solved("CodeStory Aide", "SWE-bench Lite", 1, 0.43, "section 2.1"),
    Solved("Llama-3-8B-Instruct", "MATH", 100, 0.829, "section 1"),
    Solved("Llama-3-8B-Instruct", "MATH", 10_000, 0.9844, "section 1"),
    Solved("Llama-3-8B-Instruct", "MATH", 100, 0.4050, "section 1", _PICKED),
    Solved("Llama-3-8B-Instruct", "MATH", 10_000, 0.4141, "section 1", _PICKED),
    Solved("Gemma-2B", "CodeContests", 1, 0.0002, "section 2.2"),
    Solved("Gemma-2B", "CodeContests", 10_000, 0.071, "section 2.2"),
    Solved("Pythia-160M", "MATH", 1, 0.0027, "section 2.2"),
    Solved("Pythia-160M", "MATH", 10_000, 0.57, "section 2.2"),
    Solved("Pythia, all sizes", "CodeContests", 10_000, 0.0, "section 2.2"),
)


class Flaw(NamedTuple):
    """Problems of a benchmark whose verdicts are wrong or change from run to run.

    Attributes:
        task: the benchmark.
        affected: how many of its problems.
        of: how many were looked at.
        what: what is wrong.
        place: where in the paper.
    """

    task: str
    affected: int
    of: int
    what: str
    place: str


FLAWS = (
    Flaw("SWE-bench Lite", 34, 300, "flaky tests", "section 4.2.1 and appendix B"),
    Flaw("CodeContests", 35, 122, "tests fail correct solutions", "section 4.2.2"),
    Flaw("GSM8K", 1, 128, "wrong ground truth, which caps coverage", "section 4.1 and appendix E"),
)
