"""LayerEdge: which connections between layers matter, and the network without the others."""
