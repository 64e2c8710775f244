"""A batch of Spark's as one table of judged messages: what is plainly good by the JVM, the rest by `Judge`, here.

Key and value travel to the driver only for what the JVM did not find good. A batch of few messages is judged here
whole: for them planning the JVM's part, the same for one message and for a hundred thousand, would cost more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from wardstream.contracts.model import Contract
from wardstream.registry.client import SchemaSource
from wardstream.stream.commit import Slice
from wardstream.stream.decode import MESSAGE, Judge, judge_batches, judged_schema
from wardstream.stream.native_judge import NativeJudge

FEW = 2_000


class Collector:
    """Collects the batches of one query. It learns ids from the source once: later ones are judged by `Judge`."""

    def __init__(self, contracts: Mapping[str, Contract], source: SchemaSource) -> None:
        self._native = NativeJudge(contracts, source)
        self._judge = Judge(contracts, source)

    def __call__(self, messages: DataFrame, slices: Iterable[Slice]) -> pa.Table:
        """A table of `judged_schema` of the messages in these slices. RegistryUnavailableError; JudgeFailedError."""
        slices = list(slices)
        if sum(part.end - part.start for part in slices) > FEW:
            messages = self._native(messages, {part.topic for part in slices})
        return completed(messages.toArrow(), self._judge)


def completed(found: pa.Table, judge: Judge) -> pa.Table:
    """Messages, or what `NativeJudge` made of them, with `Judge`'s verdict on those that have none."""
    schema = judged_schema(judge.contracts)
    left = found
    parts = []
    if "content_hash" in found.column_names:
        good = pc.is_valid(found["content_hash"])
        left, done = found.filter(pc.invert(good)), found.filter(good)
        columns = [
            done[f.name].cast(f.type) if f.name in done.column_names else pa.nulls(len(done), f.type) for f in schema
        ]
        parts.append(pa.table(columns, schema=schema))
    judged = judge_batches(judge)(left.select(MESSAGE.names).cast(MESSAGE).to_batches())
    return pa.concat_tables([*parts, pa.Table.from_batches(judged, schema)])
