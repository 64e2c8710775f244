"""Binary COPY of Arrow tables."""

from __future__ import annotations

import pgpq
import pyarrow as pa
from psycopg import sql

from wardstream.database.connection import Connection, names


def copy(conn: Connection, target: sql.Identifier, rows: pa.Table) -> None:
    """Binary COPY of an Arrow table into the columns of `target` that bear its names."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, names(rows.column_names))
    with conn.cursor() as cursor, cursor.copy(statement) as stream:
        stream.write(encoder.write_header())
        for batch in rows.to_batches():
            stream.write(encoder.write_batch(batch))
        stream.write(encoder.finish())
