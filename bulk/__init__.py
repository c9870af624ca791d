"""Bulk jobs: files of queries with candidates, ranked by this machine's service or by a Ray cluster's."""
