"""Reads a table with DuckDB and prints what it holds as JSON: rows, distinct ids, late rows, a fingerprint of what landed
and where from, and what the rows' values add up to.

    check.py conversions|trades|changes METADATA_FILE
"""

import json
import sys
import tempfile

import duckdb
from duckdb_extensions import import_extension

# The values of a row as one text, as `workload/` makes it of the record that was sent; none where that is not compared.
CONTENTS = {
    "conversions": None,
    "trades": """
        concat_ws('|', event_id, epoch_us(event_time), schema_id, decode(kafka_key), cardinality(kafka_headers), md5(value))
    """,
    # Behind the position, an engine may add to an id what tells changes of one position apart.
    "changes": """
        concat_ws('|', array_to_string(string_split(event_id, ':')[1:3], ':'), epoch_us(event_time),
            coalesce(event_type, ''), coalesce(aggregate_type, ''), coalesce(aggregate_id, ''), coalesce(payload, ''),
            coalesce(__op, ''), coalesce(__table, ''), coalesce(__schema, ''), epoch_us(__ts_ms), epoch_us(__source_ts_ms),
            __lsn, __deleted, coalesce(__before, ''), coalesce(__unavailable, ''))
    """,
}
# What tells whether two engines landed the same records, each the first of its id.
ORIGIN = {
    "conversions": "event_id, event_time, kafka_partition, kafka_offset",
    "trades": "event_id, event_time, kafka_partition, kafka_offset, value",
    "changes": "__lsn, event_time, kafka_partition, kafka_offset, payload",
}

what, metadata_file = sys.argv[1:]
contents = CONTENTS[what]
summed = f"sum(md5_number_lower({contents}))" if contents else "NULL"
with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
    for extension in ("avro", "iceberg"):
        import_extension(extension)
        connection.execute(f"LOAD {extension}")
    connection.execute("SET memory_limit = '6GB'")
    connection.execute(f"SET temp_directory = '{folder}'")
    rows, ids, late, fingerprint, total = connection.execute(
        f"""
        SELECT count(*), count(DISTINCT hash(event_id)), count(*) FILTER (is_late_arrival),
               bit_xor(hash({ORIGIN[what]})), {summed}
        FROM iceberg_scan(?)
        """,
        [metadata_file],
    ).fetchone()
print(
    json.dumps(
        {
            "rows": rows,
            "ids": ids,
            "late": late,
            "fingerprint": f"{fingerprint or 0:016x}",
            "contents": None if contents is None else str(total or 0),
        }
    )
)
