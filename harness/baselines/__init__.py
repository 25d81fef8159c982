"""Other engines: what a user would pick instead of TVM, and what its results are checked against.

Nothing here imports TVM: these modules run in processes whose memory is measured.
"""
