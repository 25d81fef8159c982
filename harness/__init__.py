"""LayerEdge: fuse, sparsify, tune and measure neural networks with Apache TVM."""

__version__ = "0.1.0"
