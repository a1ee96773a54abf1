"""Old names that pickles of users hold."""
