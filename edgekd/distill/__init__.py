"""Training: one loop for labels and for every teacher; what differs is the objective and the teacher source."""
