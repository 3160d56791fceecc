"""Seconds, what laws of runtime give, and the inputs that they share."""

from __future__ import annotations

import numpy as np

from scaling.core.law import Input, Output

SECONDS = Output("seconds", "runtime of a request, or of what a row measured", (0.0, np.inf))

PROMPT_TOKENS = Input("p", column="input_tokens", unit="tokens", grid=(1.0, 2048.0))
GENERATED_TOKENS = Input("o", column="output_tokens", unit="tokens", grid=(1.0, 1024.0))

STEPS = Input("n", column="steps", unit="steps", grid=(1.0, 1024.0))
FLOPS = Input("F", column="flops", unit="FLOP", grid=(1e9, 1e15))
BYTES = Input("M", column="bytes", unit="bytes", grid=(1e6, 1e12))
WEIGHT_BYTES = Input("W", column="weight_bytes", unit="bytes", grid=(1e6, 1e12))
KV_BYTES = Input("K", column="kv_bytes", unit="bytes", grid=(1e6, 1e12))
