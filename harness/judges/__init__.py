"""Networks evaluated more exactly than by any engine, slowly: judges where engines differ.

Nothing here imports TVM. Each evaluation runs in a child process, see `harness.measure.judge`.
"""
