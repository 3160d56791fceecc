"""What serving targets can enforce, as far as a table's actions are concerned.

From the parameters of their requests: vLLM 0.33, SGLang 0.5.23, TensorRT-LLM 1.3, NVIDIA NIM,
its_hub 1.2 and the Python clients of OpenAI 3.54, Anthropic 2.12 and Gemini 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Engine:
    """The limits of one serving target.

    Attributes:
        thinking: how a cap on thinking tokens is kept: `hard`, `soft` (a hint, or with a window of
            grace), or None where there is none and only an effort can be asked for.
        least_thinking: the smallest cap but 0.
        most_samples: the most samples of one query, None where the deployment decides.
        efforts: the levels that a request may name; empty where there are none.
    """

    thinking: str | None
    least_thinking: int = 0
    most_samples: int | None = None
    efforts: tuple[str, ...] = ()


_ALL = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

ENGINES: Mapping[str, Engine] = {
    "anthropic": Engine("hard", least_thinking=1024, efforts=("low", "medium", "high", "xhigh", "max")),
    "gemini": Engine("soft", efforts=("minimal", "low", "medium", "high", "xhigh")),
    "its-hub": Engine(None, most_samples=1000),
    "nim": Engine("soft"),
    "openai": Engine(None, efforts=_ALL),
    "sglang": Engine("hard", efforts=_ALL),
    "tensorrt-llm": Engine("hard"),
    "vllm": Engine("hard", efforts=_ALL),
}  # fmt: skip
"""Serving targets whose limits are known, by the name that a table's `targets` gives."""


def violations(engine: str, action: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields of an action that a serving target cannot do, and why."""
    limits, cap = ENGINES[engine], action.get("max_thinking_tokens")
    if cap is not None and limits.thinking is None:
        yield "max_thinking_tokens", f"{engine} takes no cap on thinking tokens; {cap} is one."
    elif cap is not None and 0 < cap < limits.least_thinking:
        yield (
            "max_thinking_tokens",
            f"{engine} takes 0 or at least {limits.least_thinking}, not {cap}.",
        )
    if action.get("cap") == "hard" and limits.thinking == "soft":
        yield "cap", f"{engine} keeps a cap on thinking softly; this one is said to be hard."
    effort = action.get("effort")
    if effort is not None and effort not in limits.efforts:
        known = ", ".join(limits.efforts) or "none"
        yield "effort", f"{engine} knows no effort '{effort}'; it knows {known}."
    if limits.most_samples is not None and action["n_samples"] > limits.most_samples:
        yield (
            "n_samples",
            f"{engine} takes at most {limits.most_samples}, not {action['n_samples']}.",
        )
