"""What everything else is made with: files, locks, names, errors, and the reach into Keras."""
