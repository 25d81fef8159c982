"""Networks: importing them, the catalog of fetchable ones, their labelled data and metrics."""
