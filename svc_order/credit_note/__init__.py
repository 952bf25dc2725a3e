"""Credit notes: what each seller gives back of what it invoiced, numbered without a gap."""
