"""A recording to look at: one page with its signal, bouts, matches and a map of its windows."""
