"""Image grids, plots, and self-contained HTML reports."""
