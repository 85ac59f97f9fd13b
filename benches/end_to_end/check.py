"""Reads a table with DuckDB and prints what it holds as JSON: rows, distinct ids, late rows, a fingerprint."""

import json
import sys
import tempfile

import duckdb
from duckdb_extensions import import_extension

with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
    for extension in ("avro", "iceberg"):
        import_extension(extension)
        connection.execute(f"LOAD {extension}")
    connection.execute("SET memory_limit = '6GB'")
    connection.execute(f"SET temp_directory = '{folder}'")
    rows, ids, late, fingerprint = connection.execute(
        """
        SELECT count(*), count(DISTINCT hash(event_id)), count(*) FILTER (is_late_arrival),
               bit_xor(hash(event_id, event_time, kafka_partition, kafka_offset))
        FROM iceberg_scan(?)
        """,
        [sys.argv[1]],
    ).fetchone()
print(json.dumps({"rows": rows, "ids": ids, "late": late, "fingerprint": f"{fingerprint or 0:016x}"}))
