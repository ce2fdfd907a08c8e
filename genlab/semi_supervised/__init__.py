"""Classification from few labels and many unlabelled vectors, in closed form or by short iterations."""
