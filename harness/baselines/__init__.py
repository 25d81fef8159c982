"""Other engines: alternatives to TVM, and references for its results.

Nothing here imports TVM: these modules run in processes whose memory is measured.
"""
