"""What is shown: image grids, curves, the self-contained HTML page."""
