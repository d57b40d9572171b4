"""What a material is fitted to: samples, the files that they are read from, trajectories; needs numpy alone."""
